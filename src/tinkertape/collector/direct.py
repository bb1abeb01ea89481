"""The usual body, answered without the ASGI app: half of what receiving it costs would be the way there and back.

Usual is `POST /api/v1/telemetry` over HTTP/1.1 with a `Content-Length`, a body that is neither packed nor large, from a
program: no header that a browser sends. Whatever else it is, and whatever is wrong with it, is the app's to answer
(`ingest`), which gets the same bytes.

Threads  the event loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers

from tinkertape.collector.inbox import InboxFull, Place
from tinkertape.collector.ingest import LARGE, Ingest
from tinkertape.collector.intake import BadBody, Intake, take_in
from tinkertape.collector.limits import RETRY_AFTER_S, foreign
from tinkertape.wire import ACCEPTED, OURS, TELEMETRY_PATH

UNUSUAL = frozenset(
    {b"origin", b"sec-fetch-site", b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"}
)  # headers
PATH = TELEMETRY_PATH.encode()
HOSTS_MAX = 64
PATIENCE_S = 0.25  # for the rest of a body; then the app waits for it

_END = b"x-content-type-options: nosniff\r\n\r\n"
_ACCEPTED = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\n%s: 1\r\n" % (
    len(ACCEPTED),
    OURS.lower().encode(),
)
ANSWER = _ACCEPTED + _END + ACCEPTED
_REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: %d\r\ncontent-length: %d\r\n"
_TEXT = b"content-type: text/plain; charset=utf-8\r\n"

Server = tuple[str, int | None] | None


class Usual:
    """Which requests are usual, for one collector."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest = ingest
        self._hosts: set[tuple[bytes, Server]] = set()  # that were looked at, and are ours

    def size(self, headers: Sequence[tuple[bytes, bytes]], server: Server) -> int | None:
        """The length of the body of a usual request; None for another one."""
        by_name = dict(headers)
        length = by_name.get(b"content-length", b"")
        if len(by_name) != len(headers) or not length.isdigit() or len(length) > 6 or int(length) > LARGE:
            return None
        if not UNUSUAL.isdisjoint(by_name) or not self.ingest.is_ready():
            return None
        host = by_name.get(b"host", b""), server
        if host not in self._hosts:
            if foreign(Headers(raw=list(headers)), server) is not None:
                return None
            if len(self._hosts) >= HOSTS_MAX:
                self._hosts.clear()
            self._hosts.add(host)
        return int(length)


class DirectCycle:
    """One such request, in the place of uvicorn's own cycle; `ended` is called when it is answered."""

    def __init__(self, ingest: Ingest, transport: asyncio.Transport, size: int, ended: Callable[[], None]) -> None:
        self.response_complete = False
        self.keep_alive = True  # uvicorn says otherwise when it ends
        self.disconnected = False
        self.message_event = asyncio.Event()  # uvicorn's, for a cycle that waits
        self._ingest = ingest
        self._transport = transport
        self._ended = ended
        self._chunks: list[bytes] = []
        self._share = ingest.flight.new_share()
        self._timer: asyncio.TimerHandle | None = None
        self.has_room = self._share.grow(size)

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def wait(self, loop: asyncio.AbstractEventLoop, late: Callable[[], None]) -> None:
        """More of the body is to come: `late` is called if it does not in time."""
        if self._timer is None:
            self._timer = loop.call_later(PATIENCE_S, late)

    def give_up(self) -> bytes:
        """It is the app's from here: what came of the body."""
        self.response_complete = True
        self._stop_waiting()
        self._share.give_back()
        return b"".join(self._chunks)

    def complete(self) -> bool:
        """The whole body is here: bring it to the inbox, and then answer. False: it is the app's to answer."""
        self._stop_waiting()
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        try:
            intake = take_in(body)
            written = self._ingest.put(intake)
        except (BadBody, InboxFull):
            return False
        if written is None:
            self._answer(intake, len(body))
        else:
            written.add_done_callback(lambda written: self._written(written, intake, len(body)))
        return True

    def _written(self, written: asyncio.Future[Place], intake: Intake, size: int) -> None:
        error = written.exception()
        if error is None:
            self._answer(intake, size)
        else:
            self._ingest.counters.bodies["inbox_full"] += 1
            line = f"{error}\n".encode()
            self._end(_REFUSED % (RETRY_AFTER_S, len(line)) + _TEXT + _END + line)

    def _answer(self, intake: Intake, size: int) -> None:
        self._ingest.count(intake, size)
        self._end(ANSWER)

    def _end(self, answer: bytes) -> None:
        self.response_complete = True
        self._share.give_back()
        if not self._transport.is_closing():
            self._transport.write(answer)
            if not self.keep_alive:
                self._transport.close()
        self._ended()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
