"""uvicorn's HTTP protocol with the limits that it lacks: how long and how large the head of a request may be; and a
short way for the usual request (`direct`).

uvicorn bounds the time between two requests, not that of a request which never ends its head, nor its length
(docs/facts/performance.md §5). What is no HTTP is answered in silence: a line in the log for each would be as many as
somebody likes.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tinkertape.collector.direct import PATH, DirectCycle, Usual

CONNECTIONS_MAX = 500  # then 503; a page holds one, a sender one
HEAD_TIME_S = 15.0  # from the connection, or the first byte of the next request, to the end of the head
HEAD_MAX = 64_000  # bytes, looked at after each piece that the socket gave


class LimitedProtocol(HttpToolsProtocol):
    """One connection. Which requests are usual is in the `usual` of the server's configuration, if anything is."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _direct: DirectCycle | None = None  # whose body comes just now

    def __init__(self, *arguments: Any, usual: Usual | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._usual = usual

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._direct is not None:
            self._direct.wait(self.loop, self._leave_to_app)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX:
                self._hang_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._begin_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        self._direct = self._direct_cycle()
        if self._direct is None:
            super().on_headers_complete()
        else:
            self.cycle = self._direct  # type: ignore[assignment]  # in its place: what follows it waits

    def on_body(self, body: bytes) -> None:
        if self._direct is None:
            super().on_body(body)
        else:
            self._direct.add(body)

    def on_message_complete(self) -> None:
        direct = self._direct
        if direct is None:
            super().on_message_complete()
        elif direct.complete():
            self._direct = None
        else:
            self._leave_to_app()
            super().on_message_complete()

    def _direct_cycle(self) -> DirectCycle | None:
        """What answers the request whose head is here, if it is a usual one and nothing is answered before it."""
        usual = self._usual
        if usual is None or self.url != PATH or self.parser.get_method() != b"POST":
            return None
        if self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return None
        limit = self.limit_concurrency or CONNECTIONS_MAX
        is_free = self.cycle is None or self.cycle.response_complete
        if not is_free or len(self.connections) >= limit or len(self.tasks) >= limit:
            return None
        size = usual.size(self.headers, self.server)
        if size is None:
            return None
        cycle = DirectCycle(usual.ingest, self.transport, size, self.on_response_complete)
        return cycle if cycle.has_room else None

    def _leave_to_app(self) -> None:
        """The app answers, with as much of the body as is here."""
        direct, self._direct = self._direct, None
        if direct is not None:
            body = direct.give_up()
            super().on_headers_complete()
            self.cycle.body += body
            self.cycle.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        if self._direct is not None:
            self._direct.give_up()
            self._direct = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._hang_up(HTTPStatus.BAD_REQUEST)

    def _unsupported_upgrade_warning(self) -> None:
        """It is answered as any other request."""

    def _begin_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_TIME_S, self._hang_up, HTTPStatus.REQUEST_TIMEOUT)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _hang_up(self, status: HTTPStatus) -> None:
        self._end_head()
        if self.transport.is_closing():
            return
        line = f"{status.phrase}\n"
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        head += f"content-length: {len(line)}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        self.transport.write((head + line).encode("ascii"))
        self.transport.close()
