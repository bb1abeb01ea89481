"""Which endpoint a URL is, with the ids taken out (pure). Endpoints: facts/sdk.md §5."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

Kind = Literal["poll", "heartbeat", "session_create", "session_finish", "background", "call"]

PREFIX = "/api/v1/"  # a service may stand behind any path before it

_POOLS = {
    "retrieve_future": "retrieve_promise",
    "retrieve_futures": "retrieve_futures",
    "cancel_future": "retrieve_promise",
    "telemetry": "telemetry",
    "asample": "sample",
    "create_session": "session",
    "session_heartbeat": "session",
    "client/config": "session",
    "client/dynamic_config": "session",
    "create_sampling_session": "session",
    "join_sampling_session": "session",
    "auth/token": "auth",
}
_BACKGROUND = frozenset(
    {"telemetry", "client/config", "client/dynamic_config", "retrieve_futures", "auth/token", "cancel_future"}
)  # sent by tasks that live on, or for the whole client: they inherit the context of the call that started them
_COLLECTIONS = frozenset({"training_runs", "samplers", "sessions", "checkpoints", "models", "projects"})
_VERBS = frozenset({"archive", "finish", "project", "publish", "search", "trace_export", "ttl", "url"})


class Route(msgspec.Struct, frozen=True):
    """One endpoint: `path` has its ids replaced, `kind` says what the exchange is for."""

    path: str
    pool: str
    kind: Kind
    session_id: str | None = None


@lru_cache(maxsize=1024)
def route_of(url_path: str) -> Route | None:
    """The endpoint that a path belongs to; None when it is none of Tinker's."""
    _, found, tail = url_path.partition(PREFIX)
    if not found:
        return None
    kind: Kind = "call"
    session_id = None
    if tail == "retrieve_future":
        kind = "poll"
    elif tail == "session_heartbeat":
        kind = "heartbeat"
    elif tail == "create_session":
        kind = "session_create"
    elif tail.startswith("sessions/") and tail.endswith("/finish"):
        kind, session_id = "session_finish", tail.split("/")[1]
    elif tail in _BACKGROUND:
        kind = "background"
    return Route(PREFIX + _without_ids(tail), _POOLS.get(tail, "train"), kind, session_id)


def _without_ids(tail: str) -> str:
    """Replace what follows a collection's name, up to a verb or the next collection, by `{id}`."""
    kept: list[str] = []
    for segment in tail.split("/"):
        if kept and kept[-1] == "{id}" and segment not in _COLLECTIONS and segment not in _VERBS:
            continue  # a checkpoint's id may itself contain slashes
        kept.append("{id}" if kept and kept[-1] in _COLLECTIONS and segment not in _VERBS else segment)
    return "/".join(kept)
