"""The parts of time as they are drawn: always in this order, in their owner's hue, each with its texture.

The order is the stack's, from the axis up: yours, the network's, the service's, idle; what is lost stands on top of
what is usual.
"""

from __future__ import annotations

import msgspec

OVER = "compute:over"  # compute above its usual: an estimate, drawn apart; no part of a report


class Look(msgspec.Struct, frozen=True):
    part: str
    label: str
    owner: str
    fill: str  # a paint for SVG: a token of theme.css, or a pattern of the page


_YOU, _NET, _TINKER = "you", "network", "tinker"
LOOKS = (
    Look("your_code", "your code", _YOU, "var(--part-your-code)"),
    Look("your_loss_fn", "your loss function", _YOU, "var(--part-your-loss-fn)"),
    Look("call", "call", _YOU, "var(--part-call)"),
    Look("serialise", "serialise", _YOU, "var(--part-serialise)"),
    Look("wait_local", "wait_local", _YOU, "var(--part-wait-local)"),
    Look("wait_local:sdk_loop", "wait_local: SDK loop", _YOU, "var(--part-wait-local)"),
    Look("deliver", "deliver", _YOU, "var(--part-deliver)"),
    Look("send", "send", _NET, "url(#send)"),
    Look("send:resubmit", "send: again", _NET, "url(#send)"),
    Look("retrieve", "retrieve", _NET, "url(#retrieve)"),
    Look("compute", "compute", _TINKER, "var(--part-compute)"),
    Look("compute:behind", "compute: behind another", _TINKER, "var(--part-compute-behind)"),
    Look("queue:rate_limit", "queue: rate limit", _TINKER, "url(#rate)"),
    Look("queue:unknown", "queue: no reason given", _TINKER, "url(#hatch)"),
    Look(OVER, "above usual", _TINKER, "var(--part-compute-over)"),
    Look("queue:capacity", "queue: capacity", _TINKER, "url(#hatch)"),
    Look("idle", "idle", "idle", "var(--bg)"),
)
_BY_PART = {look.part: look for look in LOOKS}
_RANK = {look.part: rank for rank, look in enumerate(LOOKS)}


def look_of(part: str) -> Look:
    """How a part is drawn; a finer part that is not known is drawn as the one before its colon, an unknown one as
    idle."""
    known = _BY_PART.get(part) or _BY_PART.get(part.partition(":")[0])
    if known is None and part.startswith("queue:"):
        known = _BY_PART["queue:unknown"]
    if known is None:
        return Look(part, part, "idle", "var(--bg)")
    return known if known.part == part else Look(part, part, known.owner, known.fill)


def rank_of(part: str) -> tuple[int, str]:
    base = part if part in _RANK else part.partition(":")[0]
    return (_RANK.get(base, _RANK["queue:unknown"] if base == "queue" else len(LOOKS)), part)


def with_over(parts: dict[str, float], over_s: float) -> dict[str, float]:
    """The parts with what is above usual taken out of compute, and in drawing order; the sum stays."""
    split = dict(parts)
    over_s = min(max(over_s, 0.0), split.get("compute", 0.0))
    if over_s > 0:
        split["compute"] -= over_s
        split[OVER] = over_s
    return {part: split[part] for part in sorted(split, key=rank_of) if split[part] > 0}


def owner_class(owner: str) -> str:
    """The style sheet's class for an owner: a finite set, whatever comes in."""
    return {
        "you": "you",
        "user": "you",
        "client": "you",
        "network": "network",
        "service": "tinker",
        "tinker": "tinker",
        "idle": "idle",
    }.get(owner, "none")


def owner_name(owner: str) -> str:
    return {"you": "You", "network": "Network", "tinker": "Tinker", "idle": "Idle"}.get(owner_class(owner), "Nobody")
