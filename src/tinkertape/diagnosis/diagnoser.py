"""Events in, answer out: the fold that a live run, a tape and the page all use.

`Diagnoser.feed` takes events of one run, in order within each process; `report` may be called at any time, and costs
what is new since the last call. `diagnose` reads a whole tape. Neither looks at a clock: "now" is the last event, or
what the caller says.

Threads  one at a time; `watcher.Watcher` is the adapter for a live bus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.compose import Identity, compose, settled
from tinkertape.diagnosis.findings import TOLD_LIVE, Finding
from tinkertape.diagnosis.report import Report, State, as_dict
from tinkertape.diagnosis.runner import Runner
from tinkertape.diagnosis.view import View, Viewer
from tinkertape.tape import Tape, open_tape


class Diagnoser:
    """A run's events, folded. `only` is one cause to watch for, or several; None is all."""

    def __init__(self, only: str | Iterable[str] | None = None) -> None:
        self._book = Book()
        self._runner = Runner(self._book, only)
        self._viewer = Viewer(self._book)
        self._identity = Identity()
        self._findings: list[Finding] = []

    def feed(self, event: Event) -> None:
        """Take one event. What was found live and recorded is counted, and found anew."""
        if event.name.startswith(TOLD_LIVE):
            self._book.fold.events += 1
            return
        self._book.feed(event)
        self._runner.feed(event)

    def describe(self, header: object) -> None:
        """Take what a tape's header says of the run: its name, project, Python and SDK."""
        known = header if isinstance(header, Mapping) else msgspec.to_builtins(header)
        if not isinstance(known, Mapping):
            return
        identity = self._identity
        for key in ("run", "name", "project", "python", "sdk_version"):
            if known.get(key) and not getattr(identity, key):
                setattr(identity, key, str(known[key]))
        session = known.get("session_id")
        if session and session not in (*identity.sessions, known.get("run")):
            identity.sessions.append(str(session))

    def report(
        self, now_ns: int | None = None, ledger: object = None, state: State | None = None, set_aside: int = 0
    ) -> Report:
        """The report as of `now_ns` (wall time, ns since the epoch; None: the last event).

        `ledger` is the run's, if it is known. `state` is what the caller knows of the process (running, killed, …);
        without it, the run goes on until its recording stopped. `set_aside` lines of it could not be read.
        """
        live = None if state is None else state in ("running", "paused", "stuck")
        view = self._viewer.view(now_ns, live)
        self._findings = settled(view, self._runner.findings)
        return compose(
            self._book.fold,
            view,
            self._findings,
            self._runner.causes,
            self._identity,
            state,
            _plain(ledger),
            set_aside,
        )

    def view(self, now_ns: int | None = None, live: bool | None = None) -> View | None:
        """The cut run as of `now_ns`, for whoever needs nanoseconds: None before the first event."""
        return self._viewer.view(now_ns, live)

    @property
    def findings(self) -> list[Finding]:
        """The findings of the last report: with steps, cost and share."""
        return self._findings


class Diagnosis:
    """What a run died, or suffered, of. Iterates over its findings."""

    def __init__(self, report: Report, findings: list[Finding]) -> None:
        self.report = report
        self.findings = findings

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def healthy(self) -> bool:
        """Was nothing found, as far as a whole record of a run that called Tinker shows?"""
        return self.report.healthy

    @property
    def partition(self) -> dict[str, float]:
        """Seconds by part; they add up to the run's wall time."""
        return {part.part: part.seconds for part in self.report.parts}

    @property
    def ledger(self) -> dict[str, Any] | None:
        """How many events were recorded and where they are, if the tape says."""
        return self.report.ledger

    def to_json(self) -> dict[str, Any]:
        """The stable shape of `diagnose --json`."""
        plain = as_dict(self.report)
        return {
            "run": self.report.run,
            "healthy": self.healthy,
            "findings": plain["findings"],
            "partition": self.partition,
            "ledger": plain["ledger"],
        }


def diagnose(
    tape_or_events: str | Path | Iterable[Event], only: str | Iterable[str] | None = None, *, state: State | None = None
) -> Diagnosis:
    """Say where the time of a run went and what was wrong.

    `tape_or_events` is a tape (`open_tape`), its path, or events in the order of their index. `only` is one cause, or
    several. `state` is what is known of the process (None: as its recording ended). Raises `TapeNotFound` for a path
    without a tape, `ConfigError` for an unknown cause. Reads to the end, in the caller's thread.
    """
    events = _opened(tape_or_events)
    diagnoser = Diagnoser(only)
    for event in events:
        diagnoser.feed(event)
    headers = getattr(events, "headers", None)
    for header in (headers.values() if isinstance(headers, Mapping) else headers) or ():
        diagnoser.describe(header)
    set_aside = events.damaged if isinstance(events, Tape) else 0
    report = diagnoser.report(ledger=_ledger_of(events), state=state, set_aside=set_aside)
    return Diagnosis(report, diagnoser.findings)


def _ledger_of(events: object) -> object:
    """What is known of how many there are; of a tape, of how many it has: what a collector refused is there to read."""
    if isinstance(events, Tape):
        return events.ledger(refused_apart=False)
    ledger = getattr(events, "ledger", None)
    return ledger() if callable(ledger) else ledger


def _opened(tape_or_events: str | Path | Iterable[Event]) -> Iterable[Event]:
    if isinstance(tape_or_events, str | Path):
        return open_tape(tape_or_events)
    return tape_or_events


def _plain(ledger: object) -> Mapping[str, Any] | None:
    if ledger is None or isinstance(ledger, Mapping):
        return ledger
    plain: Mapping[str, Any] = msgspec.to_builtins(ledger)
    return plain
