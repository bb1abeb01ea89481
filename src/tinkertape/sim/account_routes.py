"""Who asks, what it cost, and sessions as a list: what the SDK's RestClient and AdminClient ask beside training.

Stubs where there is nothing to simulate: usage is empty, and everybody is the same user.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from tinkertape.sim import bodies
from tinkertape.sim.checkpoint_routes import BEGAN, ELSEWHERE, page
from tinkertape.sim.errors import RequestRefused
from tinkertape.sim.service import Service

Answer = dict[str, Any]
TOKEN_LASTS_S = 3600
USER, ORGANIZATION = "tml:user:simulated", "simulated"


def auth_token(_service: Service, _request: Request, _body: bytes) -> Answer:
    """A token for a key, as JWT mode wants it. Unsigned: the SDK reads its claims only."""
    now = int(time.time())
    claims = {"sub": USER, "org_id": ORGANIZATION, "iat": now, "exp": now + TOKEN_LASTS_S}
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    head, payload = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return {"jwt": f"{head}.{payload}."}


def api_key(_service: Service, _request: Request, _body: bytes) -> Answer:
    return {"api_key": {"id": "simulated", "name": "simulated", "created_at": BEGAN}}


def sessions(service: Service, request: Request, _body: bytes) -> Answer:
    return {"sessions": page(request, sorted(service.shelf.sessions))[0]}


def session(service: Service, request: Request, _body: bytes) -> Answer:
    session_id = _session_id(service, request)
    runs = [model_id for model_id in service.shelf.runs if model_id.startswith(session_id)]
    samplers = [sampler_id for sampler_id in service.shelf.samplers if sampler_id.startswith(session_id)]
    return {"training_run_ids": runs, "sampler_ids": samplers}


def _session_id(service: Service, request: Request) -> str:
    session_id = str(request.path_params["session_id"])
    if session_id not in service.shelf.sessions:
        raise RequestRefused(404, f"there is no session {session_id!r}")
    return session_id


def assign_project(service: Service, request: Request, body: bytes) -> Answer:
    project_id = bodies.read_json(body, bodies.OfProject).project_id
    service.shelf.projects[_session_id(service, request)] = project_id
    return {}


def trace_export(service: Service, request: Request, _body: bytes) -> Answer:
    return {"status": "ready", "url": f"{ELSEWHERE}{_session_id(service, request)}.pftrace"}


def search_sessions(service: Service, _request: Request, body: bytes) -> Answer:
    """All of them, or the one that is named; the other filters find nothing out."""
    wanted = bodies.read_json(body, bodies.SearchSessions)
    found = [name for name in sorted(service.shelf.sessions) if wanted.session_id in (None, name)]
    return {"sessions": [_summary(service, session_id) for session_id in found[: wanted.limit]], "next_cursor": None}


def _summary(service: Service, session_id: str) -> Answer:
    shelf = service.shelf
    count = sum(path.startswith(f"tinker://{session_id}") for path in (*shelf.weights, *shelf.sampler_weights))
    facts = {"session_id": session_id, "created_at": BEGAN, "owner": USER, "checkpoints_count": count}
    return {**facts, "project_id": shelf.projects.get(session_id, "simulated")}


def audit(_service: Service, _request: Request, _body: bytes) -> Answer:
    return {"entries": []}


def usage(_service: Service, _request: Request, _body: bytes) -> Answer:
    return {"data": []}


ROUTES: dict[tuple[str, str], Callable[[Service, Request, bytes], Answer]] = {
    ("POST", "/auth/token"): auth_token,
    ("GET", "/auth/apikey/me"): api_key,
    ("POST", "/sessions/search"): search_sessions,
    ("GET", "/sessions"): sessions,
    ("GET", "/sessions/{session_id}"): session,
    ("PUT", "/sessions/{session_id}/project"): assign_project,
    ("GET", "/sessions/{session_id}/trace_export"): trace_export,
    ("GET", "/audit"): audit,
    ("GET", "/billing/usage/events"): usage,
    ("GET", "/billing/usage/checkpoints/current"): usage,
}
