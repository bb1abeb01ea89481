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

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinkertape.context import Event
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.connections import KIND_WORDS, Spell
from tinkertape.diagnosis.detectors.unreachable import is_unreachable
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.losses import NETWORK, is_due, is_settled, lost_ns
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.words import count, listed

LISTENS = ("tinker.http.request.exception", "tinker.retry", "clock.tick", "telemetry.session.stop", SETTLED)
TIMES_MIN = 3
COST_MIN_NS = 5_000_000_000
SAME_STRETCH_NS = 60_000_000_000
SAME_TIME_NS = 250_000_000  # the SDK waits longer before it sends anything again


@dataclass
class _Stretch:
    """Spells close to each other."""

    number: int
    answers_before: int
    told_ns: int = 0
    is_known: bool = False  # what it cost, as well as it will be
    spells: list[Spell] = field(default_factory=list)

    @property
    def times(self) -> int:
        number, last = 0, -SAME_TIME_NS
        for spell in sorted(self.spells, key=lambda spell: spell.began_ns):
            if spell.began_ns - last >= SAME_TIME_NS:
                number, last = number + 1, spell.began_ns
        return number

    @property
    def began_ns(self) -> int:
        return min(spell.began_ns for spell in self.spells)

    @property
    def ended_ns(self) -> int:
        return max(spell.answered_ns or spell.last_ns for spell in self.spells)


class Detector:
    """Keeps the stretches of each process that may still change."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._read: dict[str, int] = {}  # spells of a process that are over and were read
        self._watched: dict[str, list[_Stretch]] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when a stretch is worth one, again as it grows, and as what it cost gets known."""
        process = self._book.fold.processes[event.process]
        is_over = event.name == "telemetry.session.stop"
        grown = self._take_in(process, is_over=is_over)
        watched = self._watched.get(process.id, [])
        for stretch in list(watched):
            is_last = stretch is watched[-1]
            stretch.is_known = stretch.is_known and not (grown and is_last)
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
        spells, grown = process.connections.spells, False
        while self._read.get(process.id, 0) < len(spells):
            read = self._read.get(process.id, 0)
            spell = spells[read]
            if spell.answered_ns is None and not is_over:
                break
            self._read[process.id] = read + 1
            if not is_unreachable(spell, process.last_ns):
                self._add(process, spell)
                grown = True
        return grown

    def _add(self, process: Process, spell: Spell) -> None:
        watched = self._watched.setdefault(process.id, [])
        if not watched or spell.began_ns - watched[-1].ended_ns > SAME_STRETCH_NS:
            watched.append(_Stretch(spell.number, process.connections.answers))
        watched[-1].spells.append(spell)

    def _told(self, process: Process, stretch: _Stretch) -> Iterator[Finding]:
        costs = lost_ns(self._book.cutter(process), stretch.spells, process.last_ns)
        if stretch.times >= TIMES_MIN or sum(costs.values()) >= COST_MIN_NS:
            yield _finding(process, stretch, costs)


def _finding(process: Process, stretch: _Stretch, costs: dict[tuple[str, int], int]) -> Finding:
    broken = sum(spell.breaks for spell in stretch.spells)
    kinds = _counted([spell.kinds for spell in stretch.spells])
    operations = [process.operations[number] for _, number in costs if number in process.operations]
    figures = {
        "broken": broken,
        "times": stretch.times,
        "answered": process.connections.answers - stretch.answers_before,
        "how": {KIND_WORDS[kind]: number for kind, number in kinds.most_common()},
        "errors": dict(_counted([spell.error_types for spell in stretch.spells])),
        "paths": dict(_counted([spell.paths for spell in stretch.spells]).most_common(5)),
    }
    how = listed([f"{number} {KIND_WORDS[kind]}" for kind, number in kinds.most_common()])
    return Finding(
        "network",
        summary=f"{count(broken, 'connection')} to Tinker broke ({how}), while others were answered.",
        evidence=Evidence(
            began_ns=stretch.began_ns,
            ended_ns=stretch.ended_ns,
            process=process.id,
            request_ids=tuple(request for operation in operations for request in operation.requests)[:20],
            operations=tuple(dict.fromkeys(operation.name for operation in operations)),
            figures=figures,
            costs_ns=costs,
            parts=NETWORK,
        ),
        confidence=0.9,
        cost_s=sum(costs.values()) / 1e9,
        advice="Look at the proxy, the VPN or the connection of this machine; the SDK sends again by itself.",
        key=f"{process.id}:{stretch.number}",
    )


def _counted(counters: Sequence[Counter[Any]]) -> Counter[Any]:
    return sum(counters, Counter())
