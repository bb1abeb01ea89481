"""A `Source` of made runs, served with a live stream on a real socket. Test data and its server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from tests.dashboard.made_runs import made_events, made_row, made_run

from tinkertape.dashboard import routes

SICK = "01KASW3T4V9Q2M7R8X5Y6Z0ABC"
LIVE = "01KASX00000000000000000LIV"


def sick() -> dict[str, Any]:
    return made_run(run=SICK, seed=7, pause_at=12, slow_from=20, error_at=7, rate_at=23)


def healthy_live(steps: int = 17) -> dict[str, Any]:
    began = datetime.now(UTC) - timedelta(seconds=42)
    return made_run("haiku-lora-2", LIVE, seed=21, steps=steps, live=True, began=began)


class FakeSource:
    """Holds reports by run; `put` changes one and wakes the stream."""

    def __init__(self, reports: list[dict[str, Any]] = ()) -> None:  # type: ignore[assignment]
        self.reports = {report["run"]: report for report in reports}
        self.listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = []
        self.events: dict[str, list[dict[str, Any]]] = {}

    def put(self, report: dict[str, Any]) -> None:
        self.reports[report["run"]] = report
        for loop, queue in self.listeners:
            loop.call_soon_threadsafe(
                queue.put_nowait, {"run": report["run"], "events": report["events"], "state": report["state"]}
            )

    def runs(self, limit: int = 100, before: str | None = None) -> list[dict[str, Any]]:
        return [made_row(report) for report in self.reports.values()][:limit]

    def report(self, run: str) -> dict[str, Any] | None:
        return self.reports.get(run)

    def last_events(self, run: str, limit: int) -> list[dict[str, Any]]:
        return (self.events.get(run) or made_events(self.reports[run]))[-limit:]

    def ledger(self, run: str | None) -> dict[str, Any]:
        if run is not None:
            return dict(self.reports[run]["ledger"])
        ledgers = [report["ledger"] for report in self.reports.values()]
        return {
            **{key: sum(ledger[key] for ledger in ledgers) for key in ("recorded", "stored", "pending", "rejected")},
            "dropped": {},
        }

    async def stream(self, request: Request) -> Response:
        wanted, queue = request.query_params.get("run"), asyncio.Queue[dict[str, Any]]()
        listener = (asyncio.get_running_loop(), queue)
        self.listeners.append(listener)

        async def body() -> AsyncIterator[str]:
            try:
                yield ": here\n\n"
                while True:
                    said = await queue.get()
                    if wanted in (None, said["run"]):
                        yield f"event: run\ndata: {json.dumps(said)}\n\n"
            finally:
                self.listeners.remove(listener)

        return StreamingResponse(body(), media_type="text/event-stream")


class Served:
    def __init__(self, source: FakeSource, port: int = 0) -> None:
        self.source = source
        app = Starlette(routes=[Route("/api/v1/stream", source.stream), *routes(source)])
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()  # before the thread is up: who comes sooner waits
        self.port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


@contextlib.contextmanager
def served(source: FakeSource, port: int = 0) -> Iterator[Served]:
    server = Served(source, port)
    try:
        yield server
    finally:
        server.close()
