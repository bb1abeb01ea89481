"""A collector's door on a real socket, before the real inbox: it takes what it is sent as the collector does, and fails
as networks and servers do.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests import loopback

from tinkertape.collector.counters import Counters
from tinkertape.collector.inbox import Inbox
from tinkertape.collector.ingest import Ingest

FAULTS = (
    "refuses",  # 503
    "hangs up before",
    "hangs up after",  # it took it, and nobody hears so
    "answers half",
    "answers twice",
    "takes it twice",
    "takes it and says 503",
)
ACCEPTED = b'{"status":"accepted"}'


class Door:
    """`faults`: what it does with the next bodies, one each; then it works. `inbox`: None while the collector is down.

    `promised`: (process, index) of what the inbox said is on its disk.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.promised: set[tuple[str, int]] = set()
        self.inbox: Inbox | None = None
        door = self

        class Handler(loopback.Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if door.inbox is None:
                    self.close_connection = True
                else:
                    self._answer(200)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                door.serve(body, self)

            def _answer(self, status: int, *, times: int = 1, part: int | None = None) -> None:
                head = f"HTTP/1.1 {status} x\r\nTinkertape-Collector: 1\r\nContent-Length: {len(ACCEPTED)}\r\n\r\n"
                self.wfile.write((head.encode() + ACCEPTED)[:part] * times)

        self._server = loopback.Server(Handler)
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def serve(self, body: bytes, handler: Any) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if self.inbox is None or fault == "hangs up before":
            handler.close_connection = True
            return
        if fault == "refuses":
            handler._answer(503)
            return
        status = self._take(body)
        if fault == "takes it twice":
            status = self._take(body)
        match fault:
            case "hangs up after":
                handler.close_connection = True
            case "answers half":
                handler._answer(status, part=30)
                handler.close_connection = True
            case "answers twice":
                handler._answer(status, times=2)
            case "takes it and says 503":
                handler._answer(503)
            case _:
                handler._answer(status)

    def _take(self, body: bytes) -> int:
        """What the collector does with a body, by its own code; the status of its answer."""
        assert self.inbox is not None
        status = asyncio.run(_asked(self.inbox, body))
        if status == 200:
            events = json.loads(body)["events"]
            self.promised |= {(event["process"], event["event_session_index"]) for event in events}
        return status


async def _asked(inbox: Inbox, body: bytes) -> int:
    said: list[Any] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/v1/telemetry", "headers": [], "query_string": b""}
    await Ingest(inbox, Counters())(scope, receive, send)
    return int(said[0]["status"])
