"""slow-service: the service computes slower than it did for this run before.

Rule      three calls of one operation and size in a row computed 1.5 times their usual time or more, at least 25 ms and
          four spreads above it; it ends with two calls in a row that are usual again. Usual is the median of this run's
          earlier calls of the same operation, model and size, of which five are needed. A call whose bounds allow both
          neither begins, breaks nor ends a row.
Source    facts/partition.md §8: compute above history of the same type and size, no pause, the SDK's loop quiet, polls
          not answered at their timeout. Compared is the least that compute may have lasted (§7.1–4), less what sending
          took longer than usual: a stalled client makes both longer.
Wrong if  the work grew in a way that its size does not show (another sequence length at the same token count), or the
          interpreter was held so that only answers came late.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from tinkertape.context import Event
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.history import group_of, is_usual, median
from tinkertape.diagnosis.parts import COMPUTE, SEND
from tinkertape.diagnosis.records import Operation
from tinkertape.diagnosis.segments import OperationCut
from tinkertape.diagnosis.words import seconds

LISTENS = (SETTLED, "telemetry.session.stop")
HISTORY_MIN = 5
HISTORY_MAX = 256
IN_A_ROW = 3
USUAL_AGAIN = 2
FACTOR = 1.5
EXCESS_MIN_NS = 25_000_000
SPREADS = 4
GROWTH = 1.05  # told anew when it grew so much: a finding names all its calls


@dataclass
class _Call:
    cut: OperationCut
    compute_ns: int
    usual_ns: int
    certain: bool  # slow even at the least that it may have computed


@dataclass
class _Group:
    """Calls of one operation and size: what was usual, and the slow ones of late."""

    compute: list[int] = field(default_factory=list)  # sorted
    send: list[int] = field(default_factory=list)  # sorted
    above: list[_Call] = field(default_factory=list)  # slow or unclear, since the last usual one


@dataclass
class _Stretch:
    opened_by: Hashable
    calls: list[_Call]  # those that surely belong to it
    tail: list[_Call] = field(default_factory=list)  # since its last sure one: a stall looks like them
    usual: int = 0  # calls of the group that opened it, usual since the last sure one
    row: int = 0  # and slow ones since the last usual one
    told: int = 0  # calls in its last finding

    def above(self, call: _Call, *, opening: bool) -> None:
        """A slow or unclear call. After a usual one, only two slow ones of the opening group go on with the stretch."""
        self.tail.append(call)
        if opening and call.certain:
            self.row += 1
            if self.usual == 0 or self.row >= USUAL_AGAIN:
                self.calls += self.tail
                self.tail, self.usual = [], 0

    def usual_again(self, operation: Operation) -> bool:
        """A usual call of the opening group: is the stretch over?"""
        if self.usual == 0:
            self.calls += [call for call in self.tail if call.cut.operation.began_ns < operation.began_ns]
            self.tail = []
        self.usual, self.row = self.usual + 1, 0
        return self.usual >= USUAL_AGAIN


class Detector:
    """Keeps, for each process, the usual times by operation and size, and the stretch of slow calls that is open."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._groups: dict[Hashable, _Group] = {}
        self._stretches: dict[str, _Stretch] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when a stretch begins, as it grows by a twentieth, and when it or the recording ends."""
        for cut in self._book.settled:
            if is_usual(cut.operation):
                yield from self._call(event.process, cut)
        stretch = self._stretches.get(event.process)
        if event.name == "telemetry.session.stop" and stretch is not None:
            yield _finding(event.process, stretch, goes_on=True)

    def _call(self, process: str, cut: OperationCut) -> Iterator[Finding]:
        key = (process, group_of(cut.operation))
        group = self._groups.setdefault(key, _Group())
        compute, sent = cut.nanoseconds(COMPUTE), cut.nanoseconds(SEND)
        kind = _kind(group, cut, compute, sent)
        stretch = self._stretches.get(process)
        if kind == "usual":
            _remember(group, compute, sent)
            group.above.clear()
            if stretch is not None and stretch.opened_by == key and stretch.usual_again(cut.operation):
                del self._stretches[process]
                yield _finding(process, stretch, goes_on=False)
            return
        call = _Call(cut, compute, median(group.compute), kind == "slow")
        if stretch is not None:
            stretch.above(call, opening=stretch.opened_by == key)
        else:
            group.above.append(call)
            if sum(each.certain for each in group.above) >= IN_A_ROW:
                stretch = self._stretches[process] = _Stretch(key, self._above_since(process, group.above))
        if stretch is not None and len(stretch.calls) >= GROWTH * stretch.told:
            stretch.told = len(stretch.calls)
            yield _finding(process, stretch, goes_on=True)

    def _above_since(self, process: str, row: list[_Call]) -> list[_Call]:
        """The calls above usual of every operation since the first certain one of this row."""
        began = next(call for call in row if call.certain).cut.operation.began_ns
        calls = [call for _, group in self._groups_of(process) for call in group.above]
        return sorted(
            (call for call in calls if (call.cut.operation.ended_ns or 0) > began),
            key=lambda call: call.cut.operation.began_ns,
        )

    def _groups_of(self, process: str) -> Iterator[tuple[tuple[str, Hashable], _Group]]:
        for key, group in self._groups.items():
            if isinstance(key, tuple) and key[0] == process:
                yield key, group


def _kind(group: _Group, cut: OperationCut, compute: int, sent: int) -> Literal["usual", "slow", "unclear"]:
    if len(group.compute) < HISTORY_MIN:
        return "usual"
    usual = median(group.compute)
    less, more = cut.doubt_ns(COMPUTE, in_order=True)
    least = max((FACTOR - 1) * usual, EXCESS_MIN_NS)
    if compute + more - usual < least:
        return "usual"
    spread = median(sorted(abs(value - usual) for value in group.compute))
    excess = max(least, SPREADS * spread)
    if compute - less - max(0, sent - median(group.send)) - usual >= excess:
        return "slow"
    return "unclear" if compute + more - usual >= excess else "usual"


def _remember(group: _Group, compute: int, sent: int) -> None:
    for values, value in ((group.compute, compute), (group.send, sent)):
        insort(values, value)
        if len(values) > HISTORY_MAX:
            del values[0], values[-1]


def _finding(process: str, stretch: _Stretch, *, goes_on: bool) -> Finding:
    costs = {call.cut.operation.key: max(0, call.compute_ns - call.usual_ns) for call in stretch.calls}
    by_name: dict[str, list[_Call]] = {}
    for call in stretch.calls:
        by_name.setdefault(call.cut.operation.name, []).append(call)
    names = sorted(by_name, key=lambda name: -sum(costs[call.cut.operation.key] for call in by_name[name]))
    worst = by_name[names[0]]
    usual = median(sorted(call.usual_ns for call in worst)) / 1e9
    now = median(sorted(call.compute_ns for call in worst)) / 1e9
    times = sum(call.compute_ns for call in worst) / max(1, sum(call.usual_ns for call in worst))
    ends = [call.cut.operation.ended_ns or 0 for call in stretch.calls]
    return Finding(
        "service",
        summary=f"Compute of `{names[0]}` rose from {seconds(usual)} to {seconds(now)} at the same size.",
        evidence=Evidence(
            began_ns=min(call.cut.operation.began_ns for call in stretch.calls),
            ended_ns=None if goes_on else max(ends),
            process=process,
            request_ids=tuple(r for call in stretch.calls for r in call.cut.operation.request_ids)[:20],
            operations=tuple(names),
            figures={
                "usual_s": usual,
                "now_s": now,
                "factor": times,
                "calls": len(stretch.calls),
            },
            part=COMPUTE,
            costs_ns=costs,
        ),
        confidence=0.9,
        cost_s=sum(costs.values()) / 1e9,
        advice="Nothing to change in your code: the same work takes the service longer.",
    )
