"""The collector's HTTP API, read side: runs, one run, its events, its diagnosis, the ledger, the news, the collector
itself.

Answers are JSON, or one line of text that says what is wrong. Blocking work runs in Starlette's worker threads.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tinkertape.collector.source import BadParameter, StoreSource
from tinkertape.collector.stream import Hub, stream_response
from tinkertape.wire import OURS

OURS_HEADER = {  # a sender that sees it sends whole lines, packed (RFC 7694: what is taken in requests)
    OURS: "1",
    "Accept-Encoding": "gzip",
}
NUMBER_MAX = 2**63 - 1
NO_STORE = {"cache-control": "no-store"}
_encode = msgspec.json.Encoder(enc_hook=str).encode


def api_routes(source: StoreSource, hub: Hub, metrics_text: Callable[[], str], content_type: str) -> list[BaseRoute]:
    """The routes below `/api/v1`, and `/healthz` and `/metrics`."""

    async def healthz(request: Request) -> Response:
        return json_response({"status": "ok"}, headers=OURS_HEADER)

    async def metrics(request: Request) -> Response:
        return Response(await run_in_threadpool(metrics_text), media_type=content_type)

    async def runs(request: Request) -> Response:
        limit = whole_number(request, "limit", 100)
        return json_response(await run_in_threadpool(source.runs, limit, request.query_params.get("before")))

    async def run(request: Request) -> Response:
        return found(await run_in_threadpool(source.run, request.path_params["run"]))

    async def diagnosis(request: Request) -> Response:
        return found(await run_in_threadpool(source.diagnosis, request.path_params["run"]))

    async def events(request: Request) -> Response:
        name = request.path_params["run"]
        after, limit = whole_number(request, "after", 0), whole_number(request, "limit", 1_000)
        lines = await run_in_threadpool(lambda: b"".join(source.events(name, after, limit)))
        if not lines and not await run_in_threadpool(source.has_run, name):
            return found(None)
        return Response(lines, media_type="application/jsonl", headers=NO_STORE)

    async def ledger(request: Request) -> Response:
        return found(await run_in_threadpool(source.ledger_of_known, request.query_params.get("run") or None))

    async def stream(request: Request) -> Response:
        name = request.query_params.get("run") or None
        return stream_response(hub, name) if await run_in_threadpool(source.knows, name) else found(None)

    return [
        Route("/healthz", healthz),
        Route("/metrics", metrics),
        Route("/api/v1/runs", runs),
        Route("/api/v1/runs/{run}/events", events),
        Route("/api/v1/runs/{run}/diagnosis", diagnosis),
        Route("/api/v1/runs/{run}", run),
        Route("/api/v1/ledger", ledger),
        Route("/api/v1/stream", stream),
    ]


def json_response(content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(content), media_type="application/json", headers={**NO_STORE, **(headers or {})})


def found(content: Any) -> Response:
    """The content, or 404 in one line where there is none."""
    if content is None:
        return PlainTextResponse("no such run; /api/v1/runs lists them\n", HTTPStatus.NOT_FOUND)
    return json_response(content)


def whole_number(request: Request, name: str, default: int) -> int:
    """A query parameter that is a whole number from 0 on. Raises `BadParameter`."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > NUMBER_MAX:
        raise BadParameter(f"{name} must be a whole number")
    return int(text)
