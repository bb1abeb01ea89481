"""slow-service: the service computes slower than it did for this run before.

Rule      three calls of one operation and size in a row computed 1.5 times their usual time or more, at least 25 ms and
          four spreads above it; it ends with two calls in a row that are usual again. Usual is the median of this run's
          earlier calls of the same operation, model and size, of which five are needed.
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

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.history import group_of, is_usual, median
from tinkertape.diagnosis.parts import COMPUTE, SEND
from tinkertape.diagnosis.segments import OperationCut
from tinkertape.diagnosis.words import seconds

LISTENS = ("",)  # any event may be the one that settles an operation
HISTORY_MIN = 5
HISTORY_MAX = 256
IN_A_ROW = 3
USUAL_AGAIN = 2
FACTOR = 1.5
EXCESS_MIN_NS = 25_000_000
SPREADS = 4


@dataclass
class _Call:
    cut: OperationCut
    compute_ns: int
    usual_ns: int


@dataclass
class _Group:
    """Calls of one operation and size: what was usual, and the slow ones of late."""

    compute: list[int] = field(default_factory=list)  # sorted
    send: list[int] = field(default_factory=list)  # sorted
    slow: list[_Call] = field(default_factory=list)  # in a row, the last ones
    usual_in_a_row: int = 0


@dataclass
class _Stretch:
    opened_by: Hashable
    calls: list[_Call]


class Detector:
    """Keeps, for each process, the usual times by operation and size, and the stretch of slow calls that is open."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._groups: dict[Hashable, _Group] = {}
        self._stretches: dict[str, _Stretch] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding at each call that belongs to a slow stretch, its cost growing."""
        for cut in self._book.settled:
            if is_usual(cut.operation):
                yield from self._call(event.process, cut)

    def _call(self, process: str, cut: OperationCut) -> Iterator[Finding]:
        key = (process, group_of(cut.operation))
        group = self._groups.setdefault(key, _Group())
        compute, sent = cut.nanoseconds(COMPUTE), cut.nanoseconds(SEND)
        usual = median(group.compute) if group.compute else 0
        stretch = self._stretches.get(process)
        if len(group.compute) >= HISTORY_MIN and _is_slow(group, cut, compute, sent):
            group.usual_in_a_row = 0
            group.slow.append(_Call(cut, compute, usual))
            if stretch is not None:
                stretch.calls.append(group.slow[-1])
            elif len(group.slow) >= IN_A_ROW:
                stretch = self._stretches[process] = _Stretch(key, self._slow_since(process, group.slow[0]))
            if stretch is not None:
                yield _finding(process, stretch, goes_on=True)
            return
        _remember(group, compute, sent)
        group.slow.clear()
        group.usual_in_a_row += 1
        if stretch is not None and stretch.opened_by == key and group.usual_in_a_row >= USUAL_AGAIN:
            del self._stretches[process]
            yield _finding(process, stretch, goes_on=False)

    def _slow_since(self, process: str, first: _Call) -> list[_Call]:
        """The slow calls of every operation since the first of this stretch."""
        began = first.cut.operation.began_ns
        calls = [call for (where, _), group in self._groups_of(process) for call in group.slow]
        return sorted(
            (call for call in calls if call.cut.operation.ended_ns and call.cut.operation.ended_ns > began),
            key=lambda call: call.cut.operation.began_ns,
        )

    def _groups_of(self, process: str) -> Iterator[tuple[tuple[str, Hashable], _Group]]:
        for key, group in self._groups.items():
            if isinstance(key, tuple) and key[0] == process:
                yield key, group


def _is_slow(group: _Group, cut: OperationCut, compute: int, sent: int) -> bool:
    usual = median(group.compute)
    spread = median(sorted(abs(value - usual) for value in group.compute))
    less, _ = cut.doubt_ns(COMPUTE)
    least = compute - less - max(0, sent - median(group.send))
    return least >= FACTOR * usual and least - usual >= max(EXCESS_MIN_NS, SPREADS * spread)


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
                "last_ns": max(ends),
            },
            part=COMPUTE,
            costs_ns=costs,
        ),
        confidence=0.9,
        cost_s=sum(costs.values()) / 1e9,
        advice="Nothing to change in your code: the same work takes the service longer.",
    )
