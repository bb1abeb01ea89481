"""The parts that a time is cut into: their order, their owners, and what is not known of a cut.

A `Segment` is a stretch with one part. A `Doubt` says that the boundary between two parts was put at `at_ns` and may
lie anywhere from `low_ns` to `high_ns`: that is where every bound and every "inferred" comes from.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Quality = Literal["measured", "bounded", "inferred"]
PartOwner = Literal["you", "network", "service", "idle"]

CALL = "call"
WAIT_LOCAL = "wait_local"
SDK_LOOP = "wait_local:sdk_loop"
SERIALISE = "serialise"
SEND = "send"
RESUBMIT = "send:resubmit"
QUEUE = "queue:"
COMPUTE = "compute"
BEHIND = "compute:behind"
RETRIEVE = "retrieve"
DELIVER = "deliver"
UNCLAIMED = "unclaimed"
YOUR_CODE = "your_code"
YOUR_LOSS_FN = "your_loss_fn"
IDLE = "idle"

PARTS = (
    CALL,
    SERIALISE,
    WAIT_LOCAL,
    SDK_LOOP,
    SEND,
    RESUBMIT,
    "queue:capacity",
    "queue:rate_limit",
    "queue:unknown",
    COMPUTE,
    BEHIND,
    RETRIEVE,
    DELIVER,
    YOUR_CODE,
    YOUR_LOSS_FN,
    IDLE,
)
"""Every part of a step and of a run, in the order in which they are listed."""

OWNERS: dict[str, PartOwner] = {
    SEND: "network",
    RESUBMIT: "network",
    RETRIEVE: "network",
    "queue:capacity": "service",
    "queue:rate_limit": "service",
    "queue:unknown": "service",
    COMPUTE: "service",
    BEHIND: "service",
    IDLE: "idle",
}
"""The owner of each part; what is not listed is yours (docs: whose fault)."""

# How far a request is, the furthest behind first (facts/partition.md §3).
_RANKS = {
    CALL: 0,
    WAIT_LOCAL: 1,
    SERIALISE: 2,
    SEND: 3,
    RESUBMIT: 3,
    "queue:capacity": 4,
    "queue:rate_limit": 4,
    "queue:unknown": 4,
    BEHIND: 5,
    COMPUTE: 6,
    RETRIEVE: 7,
    YOUR_LOSS_FN: 7,
    DELIVER: 8,
}


def owner_of(part: str) -> PartOwner:
    """Who owns the time of a part."""
    return OWNERS.get(part, "you")


def rank_of(part: str) -> int:
    """How far a request is that is in this part; 0 is the furthest behind."""
    return _RANKS[part]


class Segment(NamedTuple):
    """A stretch of time with one part; the end is not in it."""

    part: str
    began_ns: int
    ended_ns: int


class Doubt(NamedTuple):
    """The boundary between two parts, put at `at_ns`, lies in [`low_ns`, `high_ns`]."""

    before: str
    after: str
    low_ns: int
    at_ns: int
    high_ns: int
    quality: Quality
    method: str


def joined(segments: list[Segment]) -> list[Segment]:
    """Without the empty ones, and with neighbours of one part made one."""
    out: list[Segment] = []
    for segment in segments:
        if segment.ended_ns <= segment.began_ns:
            continue
        if out and out[-1].part == segment.part and out[-1].ended_ns == segment.began_ns:
            out[-1] = Segment(segment.part, out[-1].began_ns, segment.ended_ns)
        else:
            out.append(segment)
    return out


def clipped(segments: list[Segment], began_ns: int, ended_ns: int) -> list[Segment]:
    """What of the segments lies in [began, ended)."""
    out = []
    for segment in segments:
        part, low, high = segment
        if low >= began_ns and high <= ended_ns:
            out.append(segment)
        elif high > began_ns and low < ended_ns:
            out.append(Segment(part, max(low, began_ns), min(high, ended_ns)))
    return out
