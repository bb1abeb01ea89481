"""Events as rows, and rows as events; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tinkertape.context import NO_SCOPE, Event
from tinkertape.tape.format import finite_words, timestamp

EVENT_COLUMNS = (
    "project",
    "run",
    "time",
    "process",
    "index",
    "event_id",
    "arrival",
    "name",
    "kind",
    "logged",
    "severity",
    "session_id",
    "sdk_version",
    "operation",
    "monotonic_ns",
    "duration_ns",
    "trace_id",
    "span_id",
    "measurements",
    "metadata",
    "scope",
)
WORDS = ("NaN", "Infinity", "-Infinity")
TIME_MIN_NS = 946_684_800_000_000_000  # the year 2000: what claims to be older has no clock
TIME_MAX_NS = 4_102_444_800_000_000_000  # the year 2100
TIME_GIVEN = "time_given"  # in the metadata of an event whose clock was wrong: what it said
_INT64_MAX = 2**63 - 1
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def unfit(event: Event) -> str | None:
    """Why this event cannot be a row, or None."""
    if not TIME_MIN_NS <= event.time_ns < TIME_MAX_NS:
        return "time out of range"
    if not 0 <= event.index <= _INT64_MAX:
        return "index out of range"
    if not -_INT64_MAX <= event.monotonic_ns <= _INT64_MAX:
        return "monotonic_ns out of range"
    return None


def in_range(event: Event) -> Event:
    """The event at a time that a row can hold. A clock that begins with 1970 is moved to 2000, so that its events keep
    their distances; a later one stands still at the end. What the clock said stays in the metadata.
    """
    if TIME_MIN_NS <= event.time_ns < TIME_MAX_NS:
        return event
    moved = TIME_MIN_NS + max(event.time_ns, 0) if event.time_ns < TIME_MIN_NS else TIME_MAX_NS - 1_000
    return msgspec.structs.replace(
        event, time_ns=moved, metadata={**event.metadata, TIME_GIVEN: timestamp(event.time_ns)}
    )


def event_columns(events: Sequence[Event], first_arrival: int) -> list[list[Any]]:
    """The columns of `EVENT_COLUMNS`, each in one go; the events have passed `unfit`."""
    return [
        [event.project for event in events],
        [event.run for event in events],
        [event.time_ns // 1000 for event in events],
        [event.process for event in events],
        [event.index for event in events],
        [event.event_id for event in events],
        list(range(first_arrival, first_arrival + len(events))),
        [event.name for event in events],
        [event.kind for event in events],
        [event.logged for event in events],
        [event.severity for event in events],
        [event.session_id or "" for event in events],
        [event.sdk_version for event in events],
        [_operation(event.metadata) if event.metadata else "" for event in events],
        [event.monotonic_ns for event in events],
        [_duration_ns(event.measurements) if event.measurements else -1 for event in events],
        [event.trace_id or "" for event in events],
        [event.span_id or "" for event in events],
        [_json(finite_words(event.measurements)) if event.measurements else "" for event in events],
        [_json(event.metadata) if event.metadata else "" for event in events],
        [_json(event.scope) if event.scope else "" for event in events],
    ]


def _operation(metadata: Mapping[str, Any]) -> str:
    operation = metadata.get("operation")
    return operation if isinstance(operation, str) else ""


def _duration_ns(measurements: Mapping[str, Any]) -> int:
    duration = measurements.get("duration")
    return duration if type(duration) is int and 0 <= duration <= _INT64_MAX else -1


def _json(value: Mapping[str, Any]) -> str:
    return _encode(value).decode()


def _numbers(measurements: dict[str, Any]) -> dict[str, Any]:
    """With the words that stand for NaN and infinities made numbers again, as on the tape."""
    if any(value.__class__ is str for value in measurements.values()):
        return {key: float(value) if value in WORDS else value for key, value in measurements.items()}
    return measurements


def event_of(row: Sequence[Any]) -> tuple[Event, int]:
    """The event of a row of `run_events.sql`, and its arrival."""
    (project, run, time_us, process, index, event_id, name, kind, logged, severity, session_id, sdk_version) = row[:12]
    (monotonic_ns, trace_id, span_id, measurements, metadata, scope, arrival) = row[12:]
    event = Event(
        name=name,
        measurements=_numbers(_decode(measurements)) if measurements else {},
        metadata=_decode(metadata) if metadata else {},
        time_ns=time_us * 1000,
        monotonic_ns=monotonic_ns,
        severity=severity,
        scope=_decode(scope) if scope else NO_SCOPE,
        trace_id=trace_id or None,
        span_id=span_id or None,
        run=run,
        process=process,
        index=index,
        kind=kind,
        logged=bool(logged),
        event_id=event_id,
        session_id=session_id,
        project=project,
        sdk_version=sdk_version,
    )
    return event, arrival
