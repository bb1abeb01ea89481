"""The collector as an ASGI app: inbox, loader, reports and routes put together, and taken down again in order.

What comes in is on disk before it is acknowledged; all else follows in its own threads, and none of it can hold up
the receiving.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tinkertape.collector.api import api_routes
from tinkertape.collector.books import Books
from tinkertape.collector.counters import CONTENT_TYPE, Counters, family
from tinkertape.collector.giving_way import Receiving
from tinkertape.collector.inbox import Inbox
from tinkertape.collector.ingest import Ingest
from tinkertape.collector.keeping import Keep, Keeping
from tinkertape.collector.limits import LocalOnly
from tinkertape.collector.loader import Loader
from tinkertape.collector.reports import Reports
from tinkertape.collector.source import BadParameter, StoreSource
from tinkertape.collector.stored import Stored
from tinkertape.collector.stream import Hub
from tinkertape.errors import StoreError
from tinkertape.guard import count_failure
from tinkertape.store import Store
from tinkertape.wire import TELEMETRY_PATH

Ack = Literal["durable", "stored"]
KEEP = Keep()
Pages = Callable[[StoreSource], Sequence[BaseRoute]]


class Collector:
    """The parts of one collector, from `open` to `close`."""

    def __init__(self, store: Store, inbox: Path, tapes: Path | None, ack: Ack, keep: Keep) -> None:
        self.counters = Counters()
        self.hub = Hub()
        self.store = store
        self.inbox = Inbox(inbox)
        self.receiving = Receiving(lambda: self.stored is None and self.inbox.is_busy)
        self.loader = Loader(
            store,
            inbox,
            tapes,
            on_stored=self._on_stored,
            on_moving=self._on_moving,
            on_loaded=self._on_loaded,
            receiving=self.receiving,
        )
        self.keeping = Keeping(
            inbox,
            store.id,
            keep,
            current=lambda: self.inbox.current,
            is_receiving=lambda: self.inbox.is_busy,
        )
        self.stored = Stored(self.loader.hurry) if ack == "stored" else None
        self.books = Books(store, self.loader)
        self.reports = Reports(
            store,
            self.books.ledger,
            self.hub.publish,
            is_receiving=lambda: self.inbox.is_busy,
            is_loading=self.loader.is_loading,
        )
        self.source = StoreSource(store, self.reports, self.books)

    def _on_stored(self, runs: list[str]) -> None:
        self.reports.grown(runs)

    def _on_moving(self, session_id: str) -> None:
        self.reports.forget(session_id)

    def _on_loaded(self, segment: Path, offset: int) -> None:
        if self.stored is not None:
            self.stored.reached(segment, offset)

    def open(self) -> None:
        """Start the threads; in the event loop's thread."""
        self.hub.open()
        self.receiving.begin()
        self.loader.start()
        self.reports.start()
        self.keeping.start()

    def close(self) -> None:
        """Write and load what is here, for a few seconds at most, then stop."""
        self.inbox.close()
        self.loader.close()
        self.keeping.close()
        self.reports.close()

    def metrics_text(self) -> str:
        """The collector's own counts for Prometheus."""
        counters, loader, inbox = self.counters, self.loader, self.inbox
        name = "tinkertape_collector_"
        bodies = [({"outcome": outcome}, float(count)) for outcome, count in sorted(counters.bodies.items())]
        plain: list[tuple[str, str, str, float]] = [
            ("events_received_total", "counter", "Events in accepted bodies.", counters.events),
            ("events_set_aside_total", "counter", "Received events that cannot be a line.", counters.rejected),
            ("body_bytes_total", "counter", "Bytes of accepted bodies, unpacked.", counters.bytes),
            ("inbox_commits_total", "counter", "Group commits: one write, one sync.", inbox.commits),
            ("inbox_bytes_total", "counter", "Bytes written to the inbox.", inbox.bytes_written),
            ("inbox_failures_total", "counter", "Commits that the disk refused.", inbox.failures),
            ("loaded_rows_total", "counter", "Events inserted into the store.", loader.rows),
            ("loaded_duplicates_total", "counter", "Events met again and left out.", loader.duplicates),
            ("loaded_set_aside_total", "counter", "Lines that were set aside.", loader.set_aside),
            ("loader_failures_total", "counter", "Times that the store refused.", loader.failures),
            ("backlog_bytes", "gauge", "Bytes of tapes and inbox not loaded yet.", loader.backlog_bytes()),
            ("stream_listeners", "gauge", "Open event streams.", self.hub.listeners),
        ]
        texts = [family(f"{name}bodies_total", "counter", "Bodies by outcome.", bodies)] if bodies else []
        texts += [family(name + short, kind, text, [({}, float(value))]) for short, kind, text, value in plain]
        return "".join(texts)


def app(
    store: Store | str,
    inbox: Path | str,
    tapes: Path | str | None = None,
    *,
    pages: Pages | None = None,
    ack: Ack = "durable",
    keep: Keep = KEEP,
) -> Starlette:
    """The collector's ASGI app.

    `store` is an open store, or the address of one, which is then opened here and closed with the app. `inbox` is the
    folder for what is received, `tapes` the folder of this machine's runs, None: only what is received. `pages` makes
    the routes of a page from a source. `ack` is when a sender is answered: "durable", when its events are on the disk,
    or "stored", when they are in the store; `keep` is for how long what was received is kept once it is stored. Raises
    `StoreError`, `CollectorError`.
    """
    opened = Store.open(store) if isinstance(store, str) else store
    try:
        collector = Collector(opened, Path(inbox), Path(tapes) if tapes is not None else None, ack, keep)
    except BaseException:
        if isinstance(store, str):
            opened.close()
        raise

    @contextlib.asynccontextmanager
    async def lifespan(made: Starlette) -> AsyncIterator[None]:
        collector.open()
        try:
            yield
        finally:
            collector.hub.close()
            collector.close()
            if isinstance(store, str):
                opened.close()

    ingest = Ingest(collector.inbox, collector.counters, collector.stored)
    routes: list[BaseRoute] = [
        Route(TELEMETRY_PATH, ingest, methods=["POST"]),
        *api_routes(collector.source, collector.hub, collector.metrics_text, CONTENT_TYPE),
        *(pages(collector.source) if pages is not None else ()),
    ]
    made = Starlette(
        routes=routes,
        middleware=[Middleware(LocalOnly)],
        exception_handlers={StoreError: _store_away, BadParameter: _bad_parameter, Exception: _unexpected},
        lifespan=lifespan,
    )
    made.state.collector, made.state.ingest = collector, ingest
    return made


async def _store_away(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", HTTPStatus.SERVICE_UNAVAILABLE, {"retry-after": "1"})


async def _bad_parameter(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", HTTPStatus.BAD_REQUEST)


async def _unexpected(request: Request, error: Exception) -> Response:
    count_failure("collector.api", error)
    return PlainTextResponse("the collector failed here; its log says how\n", HTTPStatus.INTERNAL_SERVER_ERROR)
