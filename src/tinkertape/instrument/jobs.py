"""What a poller measures: a function, its name, its place on the schedule, and what became of its ticks.

Threads  whoever holds the poller's lock.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal

import msgspec

from tinkertape.dispatch import does_nothing
from tinkertape.errors import PollerError
from tinkertape.events import EventType
from tinkertape.instrument import measurements as builtin
from tinkertape.instrument.schedule import Schedule

Measurement = Callable[[], object]
State = Literal["waiting", "running", "failing", "paused"]


class Polled(msgspec.Struct, frozen=True):
    """One measurement of a poller, as `list` shows it: each of its ticks was run, skipped, or left to a failing one."""

    name: str
    function: Measurement
    period_s: float
    state: State
    runs: int
    failures: int
    skipped: int


class Job:
    """A measurement and its place on the schedule."""

    def __init__(self, name: str, function: Measurement, period_ns: int) -> None:
        self.name = name
        self.function = function
        self.events: tuple[EventType, ...] = getattr(function, "events", ())  # of a builtin: all that it tells
        self.schedule = Schedule(period_ns)
        self.handed_ns = 0
        self.running = False  # or handed to the workers
        self.paused = False
        self.removed = False
        self.before: tuple[Job, ...] = ()  # the same function, removed while it ran: to be over first
        self.runs = 0
        self.failures = 0

    @property
    def is_busy(self) -> bool:
        """Does it run, or its function still from before it was removed and added again?"""
        return self.running or any(job.running for job in self.before)

    def begin(self) -> None:
        """It runs from now on, or as soon as a worker is free."""
        self.running, self.before = True, ()

    def shown(self) -> Polled:
        state: State = "waiting"
        if self.paused:
            state = "paused"
        elif self.is_busy:
            state = "running"
        elif self.schedule.failures:
            state = "failing"
        period_s = self.schedule.period_ns / 1e9
        return Polled(self.name, self.function, period_s, state, self.runs, self.failures, self.schedule.skipped)


def nanoseconds(name: str, seconds: Any, *, least: int) -> int:
    wanted = "a number of seconds above 0" if least else "0 or a number of seconds"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds * 10**9 < 1e18:
        raise PollerError(f"cannot poll with {name}={seconds!r}: it must be {wanted}")
    return int(seconds * 10**9)


def function_of(measurement: object) -> Measurement:
    """What is called each period. Raises `PollerError`, with the nearest builtin for a name that is none."""
    if isinstance(measurement, str):
        names = sorted(found.name for found in iter_modules(builtin.__path__))
        if measurement in names:
            made: Measurement = import_module(f"{builtin.__name__}.{measurement}").Measurement()
            return made
        near = get_close_matches(measurement, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the builtin ones are {', '.join(names)}"
        raise PollerError(f"unknown measurement {measurement!r}; {hint}")
    if not callable(measurement):
        raise PollerError(f"cannot poll {measurement!r}: give a function without arguments, or a builtin's name")
    if does_nothing(measurement):
        raise PollerError(f"cannot poll {measurement!r}: a measurement is called, and not awaited or gone through")
    try:
        signature = inspect.signature(measurement)
    except (TypeError, ValueError):  # written in C: it does not say
        return measurement
    try:
        signature.bind()
    except TypeError as error:
        raise PollerError(f"cannot poll {measurement!r}: it is called without arguments; {error}") from None
    return measurement


def name_of(function: Measurement) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
