"""What lies inside the futures that the SDK hands out, without waking anything.

Never `hasattr` or `getattr` on them: a future of a client forwards every attribute to the client, waiting for it on
the network and warning the user (facts/sdk.md §4, traps). Only their own attributes are read; and those of futures
not by `__dict__`, for which the interpreter makes a dict that slows every later look at the object, the SDK's, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

_DEPTH_MAX = 5
_own = object.__getattribute__


def layers(future: object) -> Iterator[Any]:
    """The object itself, then what it wraps as `_future`, inwards."""
    for _ in range(_DEPTH_MAX):
        yield future
        try:
            future = _own(future, "_future")
        except AttributeError:
            return
        if future is None:
            return


def concurrent_future(future: object) -> Future[Any] | None:
    """The innermost `concurrent.futures.Future`; None when there is none."""
    for _ in range(_DEPTH_MAX - 1):
        if type(future) is Future:  # nothing is inside
            return future
        try:
            inside = _own(future, "_future")
        except AttributeError:
            break
        if inside is None:
            break
        future = inside
    return future if isinstance(future, Future) else None


def combined_futures(future: object) -> list[Future[Any]]:
    """The parts of a future that waits for several and has none of its own until it is claimed (SDK up to 0.36)."""
    parts = instance_dict(future).get("futures")
    if not isinstance(parts, list):
        return []
    return [found for part in parts if (found := concurrent_future(part)) is not None]


def is_future(result: object) -> bool:
    """Did a public call hand out a future, and not a value?"""
    return concurrent_future(result) is not None or bool(combined_futures(result))


def instance_dict(thing: object) -> dict[str, Any]:
    """The object's own attributes, by no way that it could intercept."""
    try:
        found: dict[str, Any] = _own(thing, "__dict__")
    except AttributeError:
        return {}
    return found
