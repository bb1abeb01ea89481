"""A cut: contiguous segments, and the doubts about their boundaries; and what the cutting of one line must know.

Plain records, filled by `lines.py` and `waiting.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tinkertape.diagnosis.parts import Doubt, Quality, Segment
from tinkertape.diagnosis.records import BusyRuns


@dataclass(slots=True)
class Surroundings:
    """What one line must know of the rest of its process."""

    busy: BusyRuns = field(default_factory=BusyRuns)
    usual_compute_ns: int | None = None  # the median of same operation and size in this run
    hold_ns: int | None = None  # how long the service holds a poll that it answers as pending
    round_trip_ns: int = 0
    behind_until: int | None = None  # the predecessors' h: until then the model worked for them
    behind_from: int = 0  # the earliest that it may have been free of them: their h may be late
    held_until: int | None = None  # the end of the predecessors' pause, as best known
    given_up: bool = False  # the call before it was, and may have been computed on
    silent_from: Sequence[int] = ()  # when spells began in which nothing got through, while a poll was out
    next_submit: dict[int, int] = field(default_factory=dict)  # e → the next e of any request
    stalls: BusyRuns = field(default_factory=BusyRuns)  # times in which the GIL was held


@dataclass(slots=True)
class Cut:
    """The segments of a line or an operation, and what is not known of them."""

    segments: list[Segment] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    split_by_history: bool = False
    ready_ns: int | None = None  # when the result was ready, where that is not when its answer came

    @property
    def began_ns(self) -> int:
        return self.segments[0].began_ns

    @property
    def ended_ns(self) -> int:
        return self.segments[-1].ended_ns

    def add(self, part: str, began_ns: int, ended_ns: int) -> int:
        if ended_ns > began_ns:
            self.segments.append(Segment(part, began_ns, ended_ns))
        return max(began_ns, ended_ns)

    def doubt(self, before: str, after: str, low: int, at: int, high: int, quality: Quality, method: str) -> None:
        if high > low:
            self.doubts.append(Doubt(before, after, min(low, at), at, max(at, high), quality, method))
