"""The live adapter: a handler on the bus that keeps events for whoever asks for a report.

Threads  `_keep` runs in the thread that executes the event: it appends to a deque, and nothing else. `report` runs in
         the caller's thread, folds what came, and composes.
Locks    `_lock`: one report at a time; never taken by `_keep`.
Fork     a child's events are its own run's business: call `watch` there again.
Exit     nothing to wait for.
Bounds   what nobody asked about is folded by nobody: above `MOST` events waiting, new ones are counted in `missed`
         instead, so a program is never held up and memory never grows without end. Ask every few seconds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tinkertape.bus import Bus
from tinkertape.context import Event
from tinkertape.diagnosis.diagnoser import Diagnoser
from tinkertape.diagnosis.findings import Finding
from tinkertape.diagnosis.report import Report, State

MOST = 200_000  # events waiting: about 200 MB, hours of a busy run that nobody looks at
_UNSEEN = ("tape.", "delivery.", "telemetry.handler.")  # our own book-keeping is no part of a run


class Watcher:
    """Diagnoses the run that executes on a bus, live. Made by `watch`; also a context manager."""

    def __init__(self, bus: Bus, only: str | None = None) -> None:
        self._bus = bus
        self._waiting: deque[Event] = deque()
        self._diagnoser = Diagnoser(only)
        self._lock = threading.Lock()
        self.missed = 0  # events that came while too many were waiting
        self.id = ("tinkertape.diagnosis", id(self))
        bus.attach_all(self.id, self._keep, on_failure="keep")

    def _keep(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], _: object) -> None:
        if event.startswith(_UNSEEN):
            return
        if len(self._waiting) >= MOST:
            self.missed += 1
            return
        self._waiting.append(Event.of(event, measurements, metadata))

    def _fold(self) -> None:
        for _ in range(len(self._waiting)):
            self._diagnoser.feed(self._waiting.popleft())

    def report(self, now_ns: int | None = None, ledger: object = None, state: State | None = None) -> Report:
        """The report as of now: `now_ns` is wall time (None: the last event)."""
        with self._lock:
            self._fold()
            return self._diagnoser.report(now_ns, ledger, state)

    def findings(self) -> list[Finding]:
        """What was found up to now."""
        with self._lock:
            self._fold()
            self._diagnoser.report()
            return list(self._diagnoser.findings)

    def close(self) -> None:
        """Stop listening; what was heard can still be reported."""
        if any(handler.id == self.id for handler in self._bus.list_handlers()):
            self._bus.detach(self.id)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def watch(bus: Bus, only: str | None = None) -> Watcher:
    """Diagnose what executes on a bus from now on. `only` is one cause to watch for; None is all.

    Costs the program one append an event. Raises `ConfigError` for an unknown cause. Close it when done.
    """
    return Watcher(bus, only)
