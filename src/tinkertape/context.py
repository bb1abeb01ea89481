"""What an event carries beside its own data: time, scope, trace ids, identity.

`Event` is the value that every handler, tape line and query speaks of. Live it is made by `Event.of` from the clock and
the scope of the caller; while a tape is replayed (`replaying`) it is the event of the line being replayed, so that a
handler sees the same twice.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any

import msgspec

NO_SCOPE: Mapping[str, Any] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    `time_ns` is wall time in UTC, `monotonic_ns` the process's `time.perf_counter_ns`: durations are computed from the
    second, and never between two processes. `run`, `process` and `index` are the identity that the recorder gave; empty
    and -1 where nobody recorded it. `kind` is the wire's (`GENERIC_EVENT`, …); `event_id` is set only for foreign
    events, ours is derived from process and index. `logged` says that it was given to `log`.
    """

    name: str
    measurements: dict[str, Any]
    metadata: dict[str, Any]
    time_ns: int
    monotonic_ns: int
    severity: str = "INFO"
    scope: Mapping[str, Any] = NO_SCOPE
    trace_id: str | None = None
    span_id: str | None = None
    run: str = ""
    process: str = ""
    index: int = -1
    kind: str = "GENERIC_EVENT"
    logged: bool = False
    event_id: str = ""
    session_id: str = ""
    project: str = "default"
    sdk_version: str = ""

    @classmethod
    def of(cls, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> Event:
        """In a handler: the whole event, from the handler's own three arguments.

        Live, the time is now and the scope and trace ids are the caller's; in a replay all of it is the replayed
        line's. The severity is the event type's, or what `log` was given.
        """
        replayed = replayed_event(event)
        if replayed is not None:
            return replayed
        span = current_span.get()
        return cls(
            name=event,
            measurements=dict(measurements),
            metadata=dict(metadata or {}),
            time_ns=time.time_ns(),
            monotonic_ns=time.perf_counter_ns(),
            severity=_severity.get() or severity_of(event),
            scope=current_scope.get(),
            trace_id=span.trace_id if span else None,
            span_id=span.span_id if span else None,
        )


class SpanIds:
    """The ids of one span, made when somebody asks: 64 random bits of its own, 128 that its whole trace shares.

    Both are hexadecimal, as W3C Trace Context has them. A span holds no other: a program whose tasks each begin the
    next one would keep them all.
    """

    __slots__ = ("_astray", "_own", "_trace")

    _own: str
    _trace: tuple[str, bool]
    _astray: tuple[str, tuple[str, bool], SpanIds | None]  # of one that ended elsewhere: its ids, the span before it

    @property
    def span_id(self) -> str:
        try:
            return self._own
        except AttributeError:
            own = _random_bits(64).to_bytes(8).hex()
            with _making:  # a span that was carried into several threads has one id
                try:
                    return self._own  # no call before it is set: a signal's handler may ask there
                except AttributeError:
                    self._own = own
                    return own

    @property
    def trace(self) -> tuple[str, bool]:
        """The trace's id, and whether it is "sampled": as whoever began it said, and ours all are."""
        try:
            return self._trace
        except AttributeError:
            trace = _random_bits(128).to_bytes(16).hex(), True
            with _making:
                try:
                    return self._trace
                except AttributeError:
                    self._trace = trace
                    return trace

    @property
    def trace_id(self) -> str:
        return self.trace[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is what it is for its children: two ids."""
        return SpanIds.known, (*self.trace, self.span_id)

    @staticmethod
    def known(trace_id: str, sampled: bool, span_id: str) -> SpanIds:
        """A span of elsewhere."""
        span = SpanIds()
        span._trace, span._own = (trace_id, sampled), span_id
        return span


class Astray(SpanIds):
    """A span that ended in another context than it began in, where it still is the current one."""

    __slots__ = ()

    @property
    def span_id(self) -> str:
        return self._astray[0]

    @property
    def trace(self) -> tuple[str, bool]:
        return self._astray[1]


def go_astray(span: SpanIds, into: type[Astray], before: SpanIds | None) -> None:
    """It is over, and may still be a current one; the next one that begins there finds no ids, and looks."""
    span._astray = span.span_id, span.trace, before
    span.__class__ = into
    del span._own, span._trace


def before(token: Token[SpanIds | None] | None) -> SpanIds | None:
    """What was current before the span that has this token."""
    old = None if token is None else token.old_value
    return old if isinstance(old, SpanIds) else None


def living(span: SpanIds | None) -> SpanIds | None:
    """The span itself, or the one before those that ended elsewhere."""
    while isinstance(span, Astray):
        span = span._astray[2]
    return span


_making = threading.RLock()  # a signal's handler may come while its thread holds it


def making() -> threading.RLock:
    """Held while something of a span is made that all its threads share, for no longer than that takes."""
    return _making


_random = random.Random()  # not the module's: a program that seeds that one would get the same ids every time
_random_bits = _random.getrandbits


def _start_over() -> None:
    global _making
    _making = threading.RLock()
    _random.seed()


os.register_at_fork(after_in_child=_start_over)

current_scope: ContextVar[Mapping[str, Any]] = ContextVar("tinkertape_scope", default=NO_SCOPE)
current_span: ContextVar[SpanIds | None] = ContextVar("tinkertape_span", default=None)
_replayed: ContextVar[Event | None] = ContextVar("tinkertape_replayed", default=None)
_severity: ContextVar[str | None] = ContextVar("tinkertape_severity", default=None)

_declared_severities: dict[str, str] = {}


def declare_severity(event: str, severity: str) -> None:
    """Remember the severity of a declared event type."""
    _declared_severities[event] = severity


def declared_names() -> frozenset[str]:
    """The names of all event types that are declared by now, ours and the program's."""
    return frozenset(_declared_severities)


def severity_of(event: str) -> str:
    """The severity that an event of this name has: its type's, ERROR for any `*.exception`, else INFO."""
    declared = _declared_severities.get(event)
    if declared is not None:
        return declared
    return "ERROR" if event.endswith(".exception") else "INFO"


@contextlib.contextmanager
def replaying(event: Event) -> Iterator[None]:
    """While inside, `Event.of` for this event's name answers this event, and the recorder records nothing."""
    token = _replayed.set(event)
    try:
        yield
    finally:
        _replayed.reset(token)


def is_replaying() -> bool:
    """Is the event that is executed now one of a replay?"""
    return _replayed.get() is not None


replayed_now = _replayed.get
"""The event that is being replayed; None: what is executed now happens now."""


def replayed_event(name: str) -> Event | None:
    """The event that is being replayed, if it has this name."""
    replayed = _replayed.get()
    return replayed if replayed is not None and replayed.name == name else None


@contextlib.contextmanager
def with_severity(severity: str) -> Iterator[None]:
    """While inside, `Event.of` answers this severity: what `Telemetry.log` was given."""
    token = _severity.set(severity)
    try:
        yield
    finally:
        _severity.reset(token)


def current_severity() -> str | None:
    """The severity that `log` was given for the event executed now, or None."""
    return _severity.get()
