"""What lies inside the futures that the SDK hands out, without waking anything.

Never `hasattr` or `getattr` on them: a future of a client forwards every attribute to the client, waiting for it on
the network and warning the user (facts/sdk.md §4, traps). Only instance dictionaries are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

_DEPTH_MAX = 5


def layers(future: object) -> Iterator[Any]:
    """The object itself, then what it wraps as `_future`, inwards."""
    for _ in range(_DEPTH_MAX):
        yield future
        future = instance_dict(future).get("_future")
        if future is None:
            return


def concurrent_future(future: object) -> Future[Any] | None:
    """The innermost `concurrent.futures.Future`; None when there is none."""
    innermost = None
    for layer in layers(future):
        innermost = layer
    return innermost if isinstance(innermost, Future) else None


def instance_dict(thing: object) -> dict[str, Any]:
    """The object's own attributes, by no way that it could intercept."""
    try:
        found: dict[str, Any] = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return {}
    return found
