"""uvicorn's HTTP protocol with the limits that it lacks: how long and how large the head of a request may be.

uvicorn bounds the time between two requests, not that of a request which never ends its head, nor its length
(docs/facts/performance.md §5). What is no HTTP is answered in silence: a line in the log for each would be as many as
somebody likes.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIME_S = 15.0  # from the connection, or the first byte of the next request, to the end of the head
HEAD_MAX = 64_000  # bytes, looked at after each piece that the socket gave


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
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
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
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
