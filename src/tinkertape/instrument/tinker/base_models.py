"""Which base model a client was made from, by the ids that the service gave it.

Clients of SDKs up to 0.36 do not hold their base model, those of 0.38 do; whoever makes one names it in most cases.
Bounded: a program may make a sampler a step. Threads  any; one operation of a dict at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEPT_MAX = 4096  # ids; beyond them the oldest is forgotten

_IDS = ("sampling_session_id", "model_id")
_known: dict[str, str] = {}


def remember(result: Mapping[str, Any], base_model: object) -> None:
    """The ids of what a call came to, and the base model that the call knew."""
    if not isinstance(base_model, str):
        return
    for key in _IDS:
        if isinstance(found := result.get(key), str):
            _known[found] = base_model
    while len(_known) > KEPT_MAX:
        _known.pop(next(iter(_known), ""), None)


def base_model_of(client: Mapping[str, Any]) -> str | None:
    """Of a client with these ids; None when nobody said."""
    return next((model for key in _IDS if (model := _known.get(client.get(key, ""))) is not None), None)


def forget() -> None:
    _known.clear()
