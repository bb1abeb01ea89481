"""The partition of a run, stretch by stretch, kept between two looks at a live run.

`Windows.cut` gives one `Partition` a stretch. A stretch that is over, in which nothing was open when it was cut, is
never cut again; so a look at a live run costs what is new, not what is long ago. Not thread-safe.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

from tinkertape.diagnosis.instants import Overlap
from tinkertape.diagnosis.partition import Partition, partition
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Claim, Operation
from tinkertape.diagnosis.segments import Cutter
from tinkertape.diagnosis.steps import Stretch
from tinkertape.diagnosis.waits import Waits

T = TypeVar("T")
_began = attrgetter("began_ns")


@dataclass(slots=True)
class _Kept:
    """A stretch that is cut, and what reaches out of it into the next."""

    began_ns: int
    ended_ns: int
    partition: Partition
    operations: list[Operation]
    claims: list[Claim]


class Windows:
    """Cuts the stretches of one thread of one process, in order."""

    def __init__(self, process: Process, thread: int) -> None:
        self.process = process
        self.thread = thread
        self._kept: list[_Kept] = []
        self._told = 0  # sampled waits that were known at the last look

    def cut(self, stretches: Sequence[Stretch], cutter: Cutter) -> list[Partition]:
        """One partition a stretch; `stretches` must tile their time, in order."""
        fresh: list[_Kept] = []
        waits = self.process.waits.get(self.thread, Waits())
        known_until = min(waits.told[self._told :], default=None)  # a wait is told when it is over
        self._told = len(waits.told)
        for index, stretch in enumerate(stretches):
            kept = self._kept[index] if index < len(self._kept) else None
            late = kept is not None and known_until is not None and kept.ended_ns > known_until
            if kept is None or late or not _holds(kept, stretch):
                kept = self._cut(stretch, waits, fresh[-1] if fresh else None, cutter)
            fresh.append(kept)
        self._kept = fresh
        return [kept.partition for kept in fresh]

    def _cut(self, stretch: Stretch, waits: Waits, before: _Kept | None, cutter: Cutter) -> _Kept:
        began, ended = stretch.began_ns, stretch.ended_ns
        since = 0 if before is None else began
        operations = [] if before is None else before.operations
        claims = [] if before is None else before.claims
        inside = [*operations, *_between(self.process.order, since, ended)]
        claims = [*claims, *_between(self.process.claims, since, ended)]
        cuts = [cutter.cut(operation) for operation in inside]
        overlap = Overlap(cuts, claims, waits.between(began, ended))
        result = partition(self.process, self.thread, overlap, began, ended, cutter)
        return _Kept(
            began,
            ended,
            result,
            [operation for operation in inside if operation.ended_ns is None or operation.ended_ns > ended],
            [claim for claim in claims if claim.ended_ns is None or claim.ended_ns > ended],
        )


def _holds(kept: _Kept, stretch: Stretch) -> bool:
    """Is what was cut before still the whole truth of this stretch?"""
    same = kept.began_ns == stretch.began_ns and kept.ended_ns == stretch.ended_ns
    return same and kept.partition.final and not stretch.open


def _between(items: Sequence[T], began_ns: int, ended_ns: int) -> Sequence[T]:
    """Those that began in [began, ended), of a list sorted by begin."""
    return items[bisect_left(items, began_ns, key=_began) : bisect_left(items, ended_ns, key=_began)]
