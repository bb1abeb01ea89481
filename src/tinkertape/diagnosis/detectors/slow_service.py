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

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from tinkertape.context import Event
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.history import group_of, is_usual, keep_sorted, median, newest
from tinkertape.diagnosis.parts import COMPUTE, SEND
from tinkertape.diagnosis.records import Operation, OperationKey
from tinkertape.diagnosis.segments import OperationCut
from tinkertape.diagnosis.tallies import IDS_SHOWN, Costs, RequestIds
from tinkertape.diagnosis.words import seconds

LISTENS = (SETTLED, "telemetry.session.stop")
HISTORY_MIN = 5
HISTORY_MAX = 256
ABOVE_MAX = 256
IN_A_ROW = 3
USUAL_AGAIN = 2
FACTOR = 1.5
EXCESS_MIN_NS = 25_000_000
SPREADS = 4
GROWTH = 1.05  # told anew when it grew so much: a finding names all its calls


@dataclass(slots=True)
class _Call:
    """A call above usual; not its records, which may be many and are forgotten."""

    key: OperationKey
    name: str
    request_ids: tuple[str, ...]
    began_ns: int
    ended_ns: int
    compute_ns: int
    usual_ns: int
    certain: bool  # slow even at the least that it may have computed


@dataclass
class _Group:
    """Calls of one operation and size: what was usual, and the slow ones of late."""

    compute: list[int] = field(default_factory=list)  # sorted
    send: list[int] = field(default_factory=list)  # sorted
    above: deque[_Call] = field(default_factory=lambda: deque(maxlen=ABOVE_MAX))  # since the last usual one


@dataclass
class _Named:
    """The calls of one operation in a stretch."""

    compute: list[int] = field(default_factory=list)  # sorted
    usual: list[int] = field(default_factory=list)  # sorted
    compute_ns: int = 0
    usual_ns: int = 0
    cost_ns: int = 0


@dataclass
class _Stretch:
    """Calls above usual, one after the other."""

    opened_by: Hashable
    costs: Costs
    requests: RequestIds = field(default_factory=RequestIds)
    named: dict[str, _Named] = field(default_factory=dict)
    began_ns: int = 1 << 62
    ended_ns: int = 0
    calls: int = 0  # that surely belong to it
    tail: deque[_Call] = field(default_factory=lambda: deque(maxlen=ABOVE_MAX))  # since: a stall looks like them
    usual: int = 0  # calls of the group that opened it, usual since the last sure one
    row: int = 0  # and slow ones since the last usual one
    told: int = 0  # calls in its last finding

    def take(self, calls: Iterable[_Call]) -> None:
        """These belong to it."""
        for call in calls:
            cost = max(0, call.compute_ns - call.usual_ns)
            named = self.named.setdefault(call.name, _Named())
            keep_sorted(named.compute, call.compute_ns, HISTORY_MAX)
            keep_sorted(named.usual, call.usual_ns, HISTORY_MAX)
            named.compute_ns += call.compute_ns
            named.usual_ns += call.usual_ns
            named.cost_ns += cost
            self.calls += 1
            self.costs.add(call.key, cost)
            self.requests.add(call.request_ids)
            self.began_ns, self.ended_ns = min(self.began_ns, call.began_ns), max(self.ended_ns, call.ended_ns)

    def above(self, call: _Call, *, opening: bool) -> None:
        """A slow or unclear call. After a usual one, only two slow ones of the opening group go on with the stretch."""
        self.tail.append(call)
        if opening and call.certain:
            self.row += 1
            if self.usual == 0 or self.row >= USUAL_AGAIN:
                self.take(self.tail)
                self.tail.clear()
                self.usual = 0

    def usual_again(self, operation: Operation) -> bool:
        """A usual call of the opening group: is the stretch over?"""
        if self.usual == 0:
            self.take(call for call in self.tail if call.began_ns < operation.began_ns)
            self.tail.clear()
        self.usual, self.row = self.usual + 1, 0
        return self.usual >= USUAL_AGAIN


class Detector:
    """Keeps, for each process, the usual times by operation and size, and the stretch of slow calls that is open."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._groups: dict[str, dict[Hashable, _Group]] = {}  # by process, operation and size
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
        key = group_of(cut.operation)
        group = newest(self._groups.setdefault(process, {}), key, _Group)
        compute, sent = cut.nanoseconds(COMPUTE), cut.nanoseconds(SEND)
        kind = _kind(group, cut, compute, sent)
        stretch = self._stretches.get(process)
        if kind == "usual":
            keep_sorted(group.compute, compute, HISTORY_MAX)
            keep_sorted(group.send, sent, HISTORY_MAX)
            group.above.clear()
            if stretch is not None and stretch.opened_by == key and stretch.usual_again(cut.operation):
                del self._stretches[process]
                yield _finding(process, stretch, goes_on=False)
            return
        call = _call(cut.operation, compute, median(group.compute), certain=kind == "slow")
        if stretch is not None:
            stretch.above(call, opening=stretch.opened_by == key)
        else:
            group.above.append(call)
            if sum(each.certain for each in group.above) >= IN_A_ROW:
                stretch = self._stretches[process] = _Stretch(key, Costs(self._book.most_named))
                stretch.take(self._above_since(process, group.above))
        if stretch is not None and stretch.calls >= GROWTH * stretch.told:
            stretch.told = stretch.calls
            yield _finding(process, stretch, goes_on=True)

    def _above_since(self, process: str, row: Iterable[_Call]) -> list[_Call]:
        """The calls above usual of every operation since the first certain one of this row."""
        began = next(call for call in row if call.certain).began_ns
        calls = [call for group in self._groups[process].values() for call in group.above]
        return sorted((call for call in calls if call.ended_ns > began), key=lambda call: call.began_ns)


def _call(operation: Operation, compute_ns: int, usual_ns: int, *, certain: bool) -> _Call:
    ids, ended_ns = operation.request_ids, operation.ended_ns or 0
    return _Call(
        operation.key, operation.name, ids[:IDS_SHOWN], operation.began_ns, ended_ns, compute_ns, usual_ns, certain
    )


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


def _finding(process: str, stretch: _Stretch, *, goes_on: bool) -> Finding:
    names = sorted(stretch.named, key=lambda name: -stretch.named[name].cost_ns)
    worst = stretch.named[names[0]]
    usual, now = median(worst.usual) / 1e9, median(worst.compute) / 1e9
    return Finding(
        "service",
        summary=f"Compute of `{names[0]}` rose from {seconds(usual)} to {seconds(now)} at the same size.",
        evidence=Evidence(
            began_ns=stretch.began_ns,
            ended_ns=None if goes_on else stretch.ended_ns,
            process=process,
            request_ids=tuple(stretch.requests.first),
            operations=tuple(names),
            figures={
                "usual_s": usual,
                "now_s": now,
                "factor": worst.compute_ns / max(1, worst.usual_ns),
                "calls": stretch.calls,
            },
            part=COMPUTE,
            costs_ns=stretch.costs.by_operation,
        ),
        confidence=0.9,
        cost_s=stretch.costs.total_ns / 1e9,
        advice="Nothing to change in your code: the same work takes the service longer.",
    )
