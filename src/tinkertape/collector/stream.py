"""Server-sent events: who looks at a run hears at once that it grew.

`event: run` with `{"run","events","state"}`, at most four a second for each listener, the latest of each run. A
listener that does not read loses nothing but figures in between: what is sent is always the newest.

Threads  `Hub.publish` may be called from any thread; listeners live in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import PlainTextResponse, Response, StreamingResponse

PERIOD_S = 0.25  # between two messages to one listener
SILENCE_S = 15.0  # then a comment, which finds out that the listener has gone
LISTENERS_MAX = 200
_encode = msgspec.json.Encoder().encode


class Listener:
    """One open page: the newest state of each run that changed and was not told yet."""

    def __init__(self, run: str | None) -> None:
        self.run = run
        self.changed = asyncio.Event()
        self._news: dict[str, Mapping[str, Any]] = {}

    def hear(self, news: Mapping[str, Any]) -> None:
        if self.run in (None, news["run"]):
            self._news[news["run"]] = news
            self.changed.set()

    def take(self) -> list[Mapping[str, Any]]:
        news, self._news = list(self._news.values()), {}
        self.changed.clear()
        return news


class Hub:
    """Carries news of runs from the loader's threads to the listeners of one event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[Listener] = set()
        self._closed = False

    def open(self) -> None:
        """Bind to the running loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Let every listener end; from the loop's thread."""
        self._closed = True
        for listener in self._listeners:
            listener.changed.set()

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def publish(self, run: str, events: int, state: str) -> None:
        """Tell whoever listens that a run has so many events now."""
        loop = self._loop
        if loop is None or not self._listeners:
            return
        with contextlib.suppress(RuntimeError):  # the loop has just been closed
            loop.call_soon_threadsafe(self._spread, {"run": run, "events": events, "state": state})

    def _spread(self, news: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener.hear(news)

    async def messages(self, run: str | None) -> AsyncIterator[bytes]:
        """What one listener is sent, until it goes or the collector stops."""
        listener = Listener(run)
        self._listeners.add(listener)
        try:
            yield b": tinkertape\n\n"
            while not self._closed:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        await listener.changed.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                for news in listener.take():
                    yield b"event: run\ndata: " + _encode(news) + b"\n\n"
                await asyncio.sleep(PERIOD_S)
        finally:
            self._listeners.discard(listener)


def stream_response(hub: Hub, run: str | None) -> Response:
    """The answer to `GET /api/v1/stream[?run=RUN]`."""
    if hub.listeners >= LISTENERS_MAX:
        return PlainTextResponse("too many pages listen; close some\n", HTTPStatus.SERVICE_UNAVAILABLE)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(hub.messages(run), media_type="text/event-stream", headers=headers)
