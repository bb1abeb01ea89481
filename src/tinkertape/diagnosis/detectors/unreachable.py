"""unreachable: nothing got through to the service.

Rule      two exchanges or more in a row broke with no answer to anything between them, for 1 s or more where one of
          them was refused, not connected, without a name or not answered in time, for 10 s or more else; or two, the
          second sent 5 s after the first, have no answer 20 s after the first, and nothing else was answered either.
          It begins when the first one failed, and ends with the next answer. The cost is what the run spent sending, or
          waiting to fetch a result, in it and until it was sent again.
Source    facts/sdk.md §5 and §4: the SDK tries again after a back-off, polls for ever; an answer with any status proves
          that the service is reached. facts/partition.md §7.3: what the SDK's own busy loop, a want of processors or a
          suspended machine held up is not counted.
Wrong if  the service itself is down, or takes nobody in: from here that looks the same. A client that talks to a wrong
          address finds it so, too. The SDK's loop, held for 20 s by a program's callback between two sends, looks
          silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinkertape.context import Event
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.connections import KIND_WORDS, Spell
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.losses import NETWORK, is_due, is_settled, lost_ns, touched
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import OperationKey
from tinkertape.diagnosis.words import count, listed, seconds

LISTENS = ("tinker.http.request.exception", "tinker.retry", "clock.tick", "telemetry.session.stop", SETTLED)
ADVICE = "Check the address, this machine's connection and proxy, and whether Tinker is up; the SDK goes on trying."


@dataclass
class _Watched:
    """A spell that may still change, when it was told, and whether it had ended then."""

    spell: Spell
    told_ns: int = 0
    answered_ns: int | None = None


class Detector:
    """Keeps the spells of each process that may still change."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._seen: dict[str, int] = {}  # spells of a process that were taken in
        self._watched: dict[str, list[_Watched]] = {}

    def held(self) -> Iterator[OperationKey]:
        """The operations that it may still ask for."""
        for process, watched in self._watched.items():
            yield from touched(self._book.fold.processes[process], [each.spell for each in watched])

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when a spell is long enough, again as it grows, and as what it cost gets known."""
        process = self._book.fold.processes[event.process]
        watched = self._watched.setdefault(process.id, [])
        for spell in process.connections.spells_since(self._seen.get(process.id, 0)):
            watched.append(_Watched(spell))
            self._seen[process.id] = spell.number + 1
        for each in list(watched):
            now, spell = process.last_ns, each.spell
            is_over = is_settled(process, [spell])
            ended = event.name == "telemetry.session.stop" or is_over or spell.answered_ns != each.answered_ns
            if spell.is_unreachable(now) and (ended or is_due(each.told_ns, spell.began_ns, now)):
                each.told_ns, each.answered_ns = now, spell.answered_ns
                yield _finding(self._book, process, spell)
            if is_over:
                watched.remove(each)


def _finding(book: Book, process: Process, spell: Spell) -> Finding:
    now = process.last_ns
    costs = lost_ns(book.cutter(process), [spell], now)
    goes_on = spell.answered_ns is None and process.session_ended_ns is None
    length_s = spell.length_ns(now) / 1e9
    names = {process.operations[number].name: None for _, number in costs if number in process.operations}
    requests = [r for _, number in costs if number in process.operations for r in process.operations[number].requests]
    how = listed([f"{number} {KIND_WORDS[kind]}" for kind, number in spell.kinds.most_common()])
    broke = f"{count(spell.breaks, 'attempt')} broke"
    figures = {
        "length_s": length_s,
        "length_min_s": (spell.last_ns - spell.began_ns) / 1e9,
        "length_max_s": (spell.length_ns(now) + spell.began_ns - spell.answered_before_ns) / 1e9,
        "broken": spell.breaks,
        "how": {KIND_WORDS[kind]: number for kind, number in spell.kinds.most_common()},
        "errors": dict(spell.error_types),
        "paths": dict(spell.paths.most_common(5)),
    }
    return Finding(
        "network",
        summary=f"Nothing {'gets' if goes_on else 'got'} through to Tinker for {seconds(length_s)}: {broke} ({how}).",
        evidence=Evidence(
            began_ns=spell.began_ns,
            ended_ns=None if goes_on else spell.began_ns + spell.length_ns(now),
            process=process.id,
            request_ids=tuple(requests[:20]),
            operations=tuple(names),
            figures=figures,
            costs_ns=costs,
            parts=NETWORK,
        ),
        severity="error" if goes_on else "warning",
        confidence=0.7 if set(spell.kinds) == {"silent"} else 0.95,
        cost_s=sum(costs.values()) / 1e9,
        advice=ADVICE,
        key=f"{process.id}:{spell.number}",
    )
