"""The ledger: recorded = stored + pending + rejected + dropped, as an identity that can fail.

`recorded` and the other four are counted apart. For a tape, `recorded` is what its process said in its end line, or,
where it was killed, what the highest index on the tape proves; `pending` and `stored` are lines that could be read;
`dropped` is what the process said; `rejected` are lines that stand where an event should, and events that the collector
refused. What else is missing between the lines of a closed tape was damaged after it was written, and is lost
(`damaged`). A line that is there twice, or an end line that says what cannot be, leaves the ledger unbalanced, and so
does what a collector was told of and never got: nothing is made up to fill that difference.

A killed process said no more than stands at the end of its earlier segments. What else is missing between its lines is
lost for a reason nobody wrote down (`unknown`), a line cut short at the end is one more event (`torn`), and what it had
only in memory is in no count.

Who removes a segment for lack of room (`space`) counts as lost what nobody said to have, and a process counts what was
in files of its own that somebody deleted (`deleted`). A collector may have had it all the same, and not been able to
say so: what arrived is not lost. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

GONE = ("space", "deleted")  # what was on the tape before it was lost: somebody may have it all the same
UNEXPLAINED = frozenset({"damaged", "unknown"})  # what was lost for no reason that its process gave


class Ledger(msgspec.Struct, frozen=True):
    """How many events were recorded, and where each of them is.

    recorded: their index was used · stored: in the store, once · pending: on a tape or in an inbox, or in memory on the
    way there · rejected: set aside with a reason · dropped: lost, by reason.
    """

    recorded: int = 0
    stored: int = 0
    pending: int = 0
    rejected: int = 0
    dropped: dict[str, int] = {}

    @property
    def accounted(self) -> int:
        return self.stored + self.pending + self.rejected + sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Is every recorded event accounted for, and none twice?"""
        return self.recorded == self.accounted

    @property
    def never_written(self) -> str:
        """What was lost on its way to the tape, in words: `disk_full 12, memory_full 3`."""
        return ", ".join(f"{reason} {number}" for reason, number in sorted(self.dropped.items()) if reason not in GONE)

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            recorded=self.recorded + other.recorded,
            stored=self.stored + other.stored,
            pending=self.pending + other.pending,
            rejected=self.rejected + other.rejected,
            dropped=dict(Counter(self.dropped) + Counter(other.dropped)),
        )


class ProcessCount(msgspec.Struct):
    """What was found on the tape of one process, over all its segments.

    `pending`, `stored` and `refused` (by a collector) are events read, `repeated` those of them that came before;
    `top_index` the highest index met, -1 for none; `set_aside` lines that could not be read; `torn` a last line without
    an end. `said` is (recorded, dropped) of the end line, None: there is none; `said_before` is that of an earlier
    segment's. `space` are events of segments that were removed.
    """

    pending: int = 0
    stored: int = 0
    refused: int = 0
    top_index: int = -1
    set_aside: int = 0
    torn: int = 0
    said: tuple[int, Mapping[str, int]] | None = None
    said_before: tuple[int, Mapping[str, int]] | None = None
    repeated: int = 0
    space: int = 0


def ledger_of(count: ProcessCount, *, whole: bool = False) -> Ledger:
    """The ledger of one process. `whole`: every line that its tape has was counted, so what is missing is lost."""
    read = count.pending + count.stored + count.refused - count.repeated
    said, known = count.said or count.said_before or (0, {})
    dropped = {reason: number for reason, number in known.items() if reason not in GONE}
    recorded = said
    if count.said is None:
        recorded = max(count.top_index + 1, said) + count.torn
        if count.torn:
            dropped["torn"] = count.torn
    missing = recorded - read - sum(dropped.values())
    for reason in GONE:
        number = max(known.get(reason, 0), count.space if reason == "space" else 0)
        lost = min(number, max(missing, 0))  # what is read after all is not lost
        if lost:
            dropped[reason] = lost
            missing -= lost
    rejected = min(count.set_aside, max(missing, 0))  # a bad line beyond that never was an event
    if missing > rejected and (whole or count.said is None):
        reason = "unknown" if count.said is None else "damaged"
        dropped[reason] = dropped.get(reason, 0) + missing - rejected
    return Ledger(
        recorded=recorded,
        stored=count.stored,
        pending=count.pending,
        rejected=rejected + count.refused,
        dropped=dropped,
    )


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """The sum of ledgers."""
    return sum(ledgers, start=Ledger())
