"""Tinker's HTTP interface, as far as its SDK needs it (facts/sdk.md §5): one short function a route.

Each takes the service, the request's body and its exchange, and returns what is answered as JSON; polls answer for
themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tinkertape.sim import account_routes, bodies, checkpoint_routes, sampling_routes, training_routes
from tinkertape.sim.errors import RequestRefused
from tinkertape.sim.exchange import Exchanges
from tinkertape.sim.payloads import PROTOBUF
from tinkertape.sim.service import PREFIX, Refusal, Service

Handler = Callable[[Service, Request, bytes], dict[str, Any]]
RETRIEVE_FUTURES_S = 30.0  # the client's own limit is above it


def app(service: Service) -> Starlette:
    routes: list[BaseRoute] = [
        Route(PREFIX + "/retrieve_future", retrieve_future, methods=["POST"]),
        Route(PREFIX + "/retrieve_futures", retrieve_futures, methods=["POST"]),
        Route(PREFIX + checkpoint_routes.CHECKPOINT + "/archive", archive, methods=["GET"]),
    ]
    routes += [Route(PREFIX + path, endpoint(handler), methods=[method]) for (method, path), handler in ROUTES.items()]
    handlers: dict[Any, Any] = {RequestRefused: refused, HTTPException: unknown}
    starlette = Starlette(
        routes=routes, middleware=[Middleware(Exchanges, service=service)], exception_handlers=handlers
    )
    starlette.state.service = service
    return starlette


def endpoint(handler: Handler) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        body = await request.body()
        answer = handler(request.app.state.service, request, body)
        if request.method != "GET" and handler not in LEAVE_ALL_AS_IT_WAS:
            request.app.state.service.keep()
        return JSONResponse(answer)

    return answer


async def retrieve_future(request: Request) -> Response:
    service: Service = request.app.state.service
    wanted = bodies.read_json(await request.body(), bodies.RetrieveFuture)
    exchange = request.scope["exchange"]
    exchange.request_id = wanted.request_id
    protobuf = PROTOBUF in request.headers.get("accept", "")
    metadata = wanted.allow_metadata_only
    answer = await service.poll(wanted.request_id, exchange, allow_metadata_only=metadata, protobuf=protobuf)
    headers = {} if answer.retry_after_s is None else {"retry-after": str(answer.retry_after_s)}
    if isinstance(answer.body, bytes):
        return Response(answer.body, answer.status, headers, media_type=answer.content_type)
    return JSONResponse(answer.body, answer.status, headers)


async def retrieve_futures(request: Request) -> Response:
    """All of a sampling session's, in a long poll of its own; `timeout` 0 only says what was seen."""
    service: Service = request.app.state.service
    wanted = bodies.read_json(await request.body(), bodies.RetrieveFutures)
    target = (wanted.target.sampling_session_id, wanted.target.cloned_sampler_id)
    hold_s = service.scenario.poll_hold_s if wanted.timeout is None else min(wanted.timeout, RETRIEVE_FUTURES_S)
    completions, cursor = await service.completions(target, wanted.prev_cursor, hold_s)
    return JSONResponse({"completions": completions, "cursor": cursor})


async def archive(request: Request) -> Response:
    return Response(
        status_code=302, headers={"location": checkpoint_routes.archive_url(request.app.state.service, request)}
    )


async def refused(_request: Request, refusal: RequestRefused) -> Response:
    retry_after_s = refusal.retry_after_s if isinstance(refusal, Refusal) else None
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return JSONResponse({"detail": refusal.message}, refusal.status, headers)


async def unknown(request: Request, error: HTTPException) -> Response:
    what = f"{request.method} {request.url.path}"
    return JSONResponse({"detail": f"the simulated service does not know {what}"}, error.status_code)


def create_session(service: Service, _request: Request, body: bytes) -> dict[str, Any]:
    bodies.read_json(body, bodies.CreateSession)
    return {"type": "create_session", "session_id": service.new_session()}


def session_heartbeat(service: Service, _request: Request, body: bytes) -> dict[str, Any]:
    session_id = bodies.read_json(body, bodies.OfSession).session_id
    if session_id not in service.shelf.sessions or session_id in service.shelf.lost_sessions:
        raise RequestRefused(410, f"the session {session_id!r} is over")
    return {"type": "session_heartbeat"}


def client_config(service: Service, _request: Request, _body: bytes) -> dict[str, Any]:
    return dict(service.scenario.client_config)


def nothing(_service: Service, _request: Request, _body: bytes) -> dict[str, Any]:
    return {}


def telemetry(_service: Service, _request: Request, body: bytes) -> dict[str, Any]:
    bodies.read_json(body, dict[str, Any])
    return {"status": "accepted"}  # exactly this: another answer, and the SDK complains (facts/sdk.md §1)


def capabilities(service: Service, _request: Request, _body: bytes) -> dict[str, Any]:
    context = service.scenario.max_datum_tokens
    model = {
        "model_name": service.scenario.base_model,
        "max_context_length": context,
        "trainable": True,
        "sampleable": True,
    }
    return {"supported_models": [model]}


def healthz(_service: Service, _request: Request, _body: bytes) -> dict[str, Any]:
    return {"status": "ok"}


LEAVE_ALL_AS_IT_WAS = (nothing, client_config, session_heartbeat, telemetry, sampling_routes.asample)
ROUTES: dict[tuple[str, str], Handler] = {
    ("POST", "/client/config"): client_config,
    ("POST", "/client/dynamic_config"): nothing,
    ("POST", "/create_session"): create_session,
    ("POST", "/session_heartbeat"): session_heartbeat,
    ("POST", "/sessions/{session_id}/finish"): nothing,
    ("POST", "/telemetry"): telemetry,
    ("POST", "/cancel_future"): nothing,
    ("GET", "/get_server_capabilities"): capabilities,
    ("GET", "/healthz"): healthz,
    **training_routes.ROUTES,
    **sampling_routes.ROUTES,
    **checkpoint_routes.ROUTES,
    **account_routes.ROUTES,
}
