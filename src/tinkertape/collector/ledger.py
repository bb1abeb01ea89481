"""The ledger of a run: recorded = stored + pending + rejected + dropped; pure.

Each number is counted where it is known: *recorded* and *dropped* by the process itself (the end of its tape; while
that is missing, the highest index on its tape), *stored*
by the store, *pending* on tapes and inbox beyond what is loaded, *rejected* in the table of what was set aside.
Nothing is computed as the rest of a subtraction, so a
difference shows; with two exceptions, each for what nobody can have counted: a hole in the indexes of a process that
never closed its tape (`dropped`, "never declared"), and a
line that is no line, which nobody recorded (it stands on both sides).
A plain SDK declares nothing: of its events recorded are those that came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

UNDECLARED = "never declared"


class ProcessCounts(msgspec.Struct):
    """What was counted of one process. `ours` and `highest` are of events with an index that the process gave once
    (-1: none)."""

    stored: int = 0
    ours: int = 0
    highest: int = -1
    pending: int = 0
    pending_ours: int = 0
    rejected: int = 0
    declared: int = 0
    dropped: Mapping[str, int] = {}
    closed: bool = False


class Ledger(msgspec.Struct):
    """The sum over processes."""

    recorded: int = 0
    stored: int = 0
    pending: int = 0
    rejected: int = 0
    dropped: dict[str, int] = {}

    @property
    def balanced(self) -> bool:
        return self.recorded == self.stored + self.pending + self.rejected + sum(self.dropped.values())

    def to_json(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)


def ledger_of(processes: Iterable[ProcessCounts]) -> Ledger:
    """The ledger of all these processes together."""
    total = Ledger()
    dropped: Counter[str] = Counter()
    for counts in processes:
        recorded, pending, lost = _one(counts)
        total.recorded += recorded
        total.stored += counts.stored
        total.pending += pending
        total.rejected += counts.rejected
        dropped.update(lost)
    total.dropped = {reason: number for reason, number in sorted(dropped.items()) if number}
    return total


def _one(counts: ProcessCounts) -> tuple[int, int, Mapping[str, int]]:
    """Recorded, pending and dropped of one process."""
    foreign = counts.stored - counts.ours + counts.pending - counts.pending_ours
    ours = counts.ours + counts.pending_ours
    dropped = Counter(counts.dropped)
    recorded = max(counts.declared, counts.highest + 1)
    pending = counts.pending
    if not counts.closed:
        with_sender = max(0, counts.declared - counts.highest - 1)  # it said so; the events themselves are still there
        pending += with_sender
        holes = recorded - with_sender - ours - counts.rejected - sum(dropped.values())
        if holes > 0:
            dropped[UNDECLARED] += holes
        ours += with_sender
    surplus = ours + counts.rejected + sum(dropped.values()) - recorded
    recorded += min(max(surplus, 0), counts.rejected)
    return recorded + foreign, pending, dropped
