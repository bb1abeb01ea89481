"""One header of a request that the SDK sends, out of some twenty (pure)."""

from __future__ import annotations

from typing import Any


def header(request: Any, name: bytes) -> bytes | None:
    """Its value, by its name in lower case. From the end, where the SDK puts what it says of this one request; as httpx
    keeps them: five of its functions run to look up one, and a dict of all takes 5 us in an exchange's midst.
    """
    kept: list[tuple[bytes, bytes, bytes]] | None = getattr(request.headers, "_list", None)
    if kept is None:
        return next((value for known, value in request.headers.raw if known.lower() == name), None)
    for _, known, value in reversed(kept):
        if known == name:
            return value
    return None
