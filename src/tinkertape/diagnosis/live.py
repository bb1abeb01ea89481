"""The diagnosis of a program that runs: what is found is told once, and what is settled is forgotten.

Told is each finding when it is first seen, when it ends or goes on again, and each time its cost has doubled: so a
pause of an hour is told a dozen times, and a detector may yield as often as it likes. What needs the whole run is the
report's alone: the share, the steps that a finding touched, what of its cost the run waited for (`cost_s` here is the
detector's own figure), and the costs of more than the last `NAMED_KEPT` operations.

Threads  one at a time; `watcher.Watcher` is the adapter for a live bus.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.findings import TOLD_LIVE, Finding
from tinkertape.diagnosis.fold import FAMILIES, FOLDED
from tinkertape.diagnosis.forgetting import leave_out
from tinkertape.diagnosis.runner import Runner
from tinkertape.diagnosis.sdk_faults import NAMES
from tinkertape.diagnosis.steps import step_now
from tinkertape.events import is_declared

FORGET_EVERY = 2000  # events
NAMED_KEPT = 1000
FINDINGS_KEPT = 256
DOUBLED_MIN_S = 1.0  # a cost that doubles below this is not worth a word
State = Literal["open", "over"]


class Told(msgspec.Struct, frozen=True):
    """A finding, worth telling: it goes on (`open`) or has ended, and the step that is being taken."""

    finding: Finding
    state: State
    step: int | None


class LiveDiagnoser:
    """A run's events as they come, in bounded memory. `only` is one cause to watch for, or several; None is all.

    Raises `ConfigError` for a cause that nobody watches for.
    """

    def __init__(self, only: str | Iterable[str] | None = None) -> None:
        self._book = Book(most_named=NAMED_KEPT)
        self._runner = Runner(self._book, only, most=FINDINGS_KEPT)
        self._told: dict[tuple[str, str], tuple[State, float]] = {}  # its state and cost when it was told last

    def feed(self, event: Event) -> list[Told]:
        """Take one event; what is worth telling comes back."""
        if event.name.startswith(TOLD_LIVE):
            return []
        self._book.feed(event)
        found = self._runner.feed(event)
        if self._book.fold.events % FORGET_EVERY == 0:
            self.forget()
        return [told for finding in found if (told := self._tell(event, finding)) is not None] if found else []

    def forget(self) -> None:
        """Drop what nothing asks for any more; `feed` does so each `FORGET_EVERY` events."""
        self._book.forget(self._runner.held())

    @property
    def findings(self) -> list[Finding]:
        """What was found up to now, the newest `FINDINGS_KEPT` of it."""
        return self._runner.findings

    @property
    def listens(self) -> tuple[set[str], set[str]]:
        """What must be fed: events of these names, and all events below these; no event is in both."""
        below = {f"tinker.{family}" for family in FAMILIES}
        names = set(FOLDED)
        for listened in self._runner.listens - set(NAMES):  # the SDK's own events are on no bus
            prefix, star, _ = listened.partition(".*")
            (names if not star and is_declared(listened) else below).add(prefix)
        below = {prefix for prefix in below if not _is_below(prefix, below - {prefix})}
        return {name for name in names if name not in below and not _is_below(name, below)}, below

    def leave_out(self, names: Collection[str] | None, mask: int) -> None:
        """Forget open calls whose number has a bit of `mask`: nobody is going to tell how they end. `names`: only of
        these operations.
        """
        for process in self._book.fold.processes.values():
            leave_out(process, names, mask)

    @property
    def kept(self) -> int:
        """How many operations are remembered."""
        return sum(len(process.order) for process in self._book.fold.processes.values())

    def _tell(self, event: Event, finding: Finding) -> Told | None:
        state: State = "open" if finding.evidence.ended_ns is None else "over"
        cost_s = finding.cost_s or 0.0
        known = self._told.get(finding.identity)
        if known is not None and known[0] == state and cost_s < max(2 * known[1], DOUBLED_MIN_S):
            return None
        self._told[finding.identity] = (state, cost_s)
        if len(self._told) > FINDINGS_KEPT:
            del self._told[next(iter(self._told))]
        return Told(finding, state, step_now(self._book.fold.processes[event.process]))


def _is_below(name: str, prefixes: Iterable[str]) -> bool:
    return any(not prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
