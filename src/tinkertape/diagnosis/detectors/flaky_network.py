"""flaky-network: connections to the service broke, while other exchanges were answered.

Rule      connections broke three times or more within a minute of each other, or what they cost is 5 s or more: reset,
          answered by half, not answered in time, or refused for a moment. Breaks that begin within 0.25 s of each
          other are one time: one lost connection may carry many exchanges. Where nothing at all got through it is
          `unreachable`. One broken connection an hour is usual, and the SDK sends again: no finding, but the report
          counts it.
Source    facts/sdk.md §4: an attempt without an answer, and the wait before it is sent again (0.5 to 10 s for a call, 1
          to 30 s for a poll). facts/partition.md §7.3: what the SDK's own busy loop, a want of processors or a
          suspended machine held up is not counted.
Wrong if  the service, or something before it, closes connections on purpose: a deployment, an idle limit shorter than
          it holds polls.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinkertape.context import Event
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.connections import KIND_WORDS, Kind, Spell
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.losses import NETWORK, is_due, is_settled, lost_ns, touched
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import OperationKey
from tinkertape.diagnosis.segments import Cutter
from tinkertape.diagnosis.tallies import Costs, RequestIds
from tinkertape.diagnosis.words import count, listed

LISTENS = ("tinker.http.request.exception", "tinker.retry", "clock.tick", "telemetry.session.stop", SETTLED)
TIMES_MIN = 3
COST_MIN_NS = 5_000_000_000
SAME_STRETCH_NS = 60_000_000_000
SPELLS_KEPT = 50  # of a stretch, with what they may still cost
BEGINS_KEPT = 256
SAME_TIME_NS = 250_000_000  # the SDK waits longer before it sends anything again


@dataclass
class _Stretch:
    """Spells close to each other. What the older ones cost is added up, and they are forgotten."""

    number: int
    answers_before: int
    costs: Costs  # of spells that are forgotten
    began_ns: int = 1 << 62
    ended_ns: int = 0
    told_ns: int = 0
    is_known: bool = False  # what it cost, as well as it will be
    broken: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    error_types: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    requests: RequestIds = field(default_factory=RequestIds)
    names: dict[str, None] = field(default_factory=dict)  # of operations
    spells: list[Spell] = field(default_factory=list)  # the newest
    _begins: list[int] = field(default_factory=list)  # sorted
    _times_before: int = 0

    def add(self, spell: Spell) -> None:
        """A spell that is over."""
        self.spells.append(spell)
        self.began_ns = min(self.began_ns, spell.began_ns)
        self.ended_ns = max(self.ended_ns, spell.answered_ns or spell.last_ns)
        self.broken += spell.breaks
        self.kinds.update(spell.kinds)
        self.error_types.update(spell.error_types)
        self.paths.update(spell.paths)
        insort(self._begins, spell.began_ns)
        if len(self._begins) > BEGINS_KEPT:
            self._times_before += self._begins[1] - self._begins[0] >= SAME_TIME_NS
            del self._begins[0]
        self.is_known = False

    @property
    def times(self) -> int:
        number, last = self._times_before, -SAME_TIME_NS
        for began_ns in self._begins:
            if began_ns - last >= SAME_TIME_NS:
                number, last = number + 1, began_ns
        return number

    def forget(self, cutter: Cutter, now_ns: int) -> None:
        """Add up what the older spells cost, as far as it is known."""
        while len(self.spells) > SPELLS_KEPT and is_settled(cutter.process, self.spells[:1]):
            for key, cost in lost_ns(cutter, [self.spells.pop(0)], now_ns).items():
                self.costs.add(key, cost)


class Detector:
    """Keeps the stretches of each process that may still change."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._read: dict[str, int] = {}  # the number of the next spell of a process
        self._watched: dict[str, list[_Stretch]] = {}

    def held(self) -> Iterator[OperationKey]:
        """The operations that it may still ask for."""
        for process, watched in self._watched.items():
            for stretch in watched:
                if not stretch.is_known:
                    yield from touched(self._book.fold.processes[process], stretch.spells)

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when a stretch is worth one, again as it grows, and as what it cost gets known."""
        process = self._book.fold.processes[event.process]
        is_over = event.name == "telemetry.session.stop"
        grown = self._take_in(process, is_over=is_over)
        watched = self._watched.get(process.id, [])
        for stretch in list(watched):
            is_last = stretch is watched[-1]
            if stretch.is_known:
                continue
            stretch.is_known = is_settled(process, stretch.spells)
            if grown or stretch.is_known or is_over or is_due(stretch.told_ns, stretch.began_ns, process.last_ns):
                stretch.told_ns = process.last_ns
                yield from self._told(process, stretch)
            if stretch.is_known and not is_last:
                watched.remove(stretch)

    def _take_in(self, process: Process, *, is_over: bool) -> bool:
        """Read the spells that are over; was there one that counts?"""
        grown = False
        for spell in process.connections.spells_since(self._read.get(process.id, 0)):
            if spell.answered_ns is None and not is_over:
                break
            self._read[process.id] = spell.number + 1
            if not spell.is_unreachable(process.last_ns):
                self._add(process, spell)
                grown = True
        return grown

    def _add(self, process: Process, spell: Spell) -> None:
        watched = self._watched.setdefault(process.id, [])
        if not watched or spell.began_ns - watched[-1].ended_ns > SAME_STRETCH_NS:
            watched.append(_Stretch(spell.number, process.connections.answers, Costs(self._book.most_named)))
        watched[-1].add(spell)
        watched[-1].forget(self._book.cutter(process), process.last_ns)

    def _told(self, process: Process, stretch: _Stretch) -> Iterator[Finding]:
        newest = lost_ns(self._book.cutter(process), stretch.spells, process.last_ns)
        cost_ns = stretch.costs.total_ns + sum(newest.values())
        if stretch.times >= TIMES_MIN or cost_ns >= COST_MIN_NS:
            costs = Counter(stretch.costs.by_operation)
            costs.update(newest)
            yield _finding(process, stretch, costs, cost_ns)


def _finding(process: Process, stretch: _Stretch, costs: dict[OperationKey, int], cost_ns: int) -> Finding:
    operations = [process.operations[number] for _, number in costs if number in process.operations]
    stretch.requests.add(request for operation in operations for request in operation.requests)
    stretch.names.update(dict.fromkeys(operation.name for operation in operations))
    figures = {
        "broken": stretch.broken,
        "times": stretch.times,
        "answered": process.connections.answers - stretch.answers_before,
        "how": {KIND_WORDS[kind]: number for kind, number in stretch.kinds.most_common()},
        "errors": dict(stretch.error_types),
        "paths": dict(stretch.paths.most_common(5)),
    }
    how = listed([f"{number} {KIND_WORDS[kind]}" for kind, number in stretch.kinds.most_common()])
    return Finding(
        "network",
        summary=f"{count(stretch.broken, 'connection')} to Tinker broke ({how}), while others were answered.",
        evidence=Evidence(
            began_ns=stretch.began_ns,
            ended_ns=stretch.ended_ns,
            process=process.id,
            request_ids=tuple(stretch.requests.first),
            operations=tuple(stretch.names),
            figures=figures,
            costs_ns=costs,
            parts=NETWORK,
        ),
        confidence=0.9,
        cost_s=cost_ns / 1e9,
        advice="Look at the proxy, the VPN or the connection of this machine; the SDK sends again by itself.",
        key=f"{process.id}:{stretch.number}",
    )
