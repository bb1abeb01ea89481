"""What a line of a tape is.

A tape is a folder a run, a file a process and segment, and in it JSON lines: first a `Header`, then one `Event` a line
in the form of Tinker's wire and with what the bus knows beside, and, once the segment is closed, one `End`. A line
ends with "\\n", and no byte of it is a "\\n" before that. Unknown keys are ignored, so that a later version may add
some; a key never changes its meaning.

Pure. The wall time on a line has microseconds; durations are computed from `monotonic_ns`, never from it.
"""

from __future__ import annotations

import datetime
import math
from typing import Any

import msgspec

from tinkertape.config import event_id
from tinkertape.context import NO_SCOPE, Event
from tinkertape.errors import BadLine
from tinkertape.tape.rendering import safe_json
from tinkertape.wire import UNREADABLE

VERSION = 1
LINE_MAX = 8 * 1024 * 1024  # bytes; a longer line is set aside unread
KINDS = {
    "telemetry.session.start": "SESSION_START",
    "telemetry.session.stop": "SESSION_END",
    "telemetry.exception": "UNHANDLED_EXCEPTION",
}
_TOP_SECOND = 253_402_300_799  # the last second of the year 9999
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A segment's first line: who wrote it, where, and which wall time its monotonic clock had.

    `began` is RFC 3339; `wall_ns` and `monotonic_ns` were read together; `pid_started` is in clock ticks since boot as
    /proc says, which together with `pid` and `host` names a process that may still live. `exe` is a script's name only.
    """

    tape: int = VERSION
    run: str
    process: str
    segment: int = 1
    name: str = ""
    project: str = "default"
    pid: int = 0
    pid_started: float | None = None
    host: str = ""
    began: str = ""
    wall_ns: int = 0
    monotonic_ns: int = 0
    platform: str = ""
    python: str = ""
    sdk_version: str = ""
    tinkertape: str = ""
    session_id: str = ""
    metadata: dict[str, Any] = {}
    tags: Any = None
    exe: str = ""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """A closed segment's last line: what its process had recorded, written and dropped by then, since it began.

    `status` is how the process ended; empty: it goes on in the next segment.
    """

    tape_end: int = VERSION
    recorded: int
    written: int
    dropped: dict[str, int] = {}
    status: str = ""
    monotonic_ns: int = 0


Line = Event | Header | End


class EventLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An event's line, key by key, in this order. What has its default value is left out.

    Events of the bus have `measurements` and `metadata`, what `log` was given has `event_data`. The keys from
    `duration` on are those of foreign events: of the wire's other kinds, and of what a collector adds.
    """

    event: str
    event_id: str = ""
    event_session_index: int = -1
    severity: str = ""
    timestamp: str = ""
    event_name: str = ""
    event_data: Any = msgspec.UNSET
    measurements: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    scope: dict[str, Any] | None = None
    trace_id: str | None = None
    span_id: str | None = None
    run: str = ""
    process: str = ""
    monotonic_ns: int = 0
    duration: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    session_id: str = ""
    project: str = ""
    sdk_version: str = ""


_encode = msgspec.json.Encoder().encode
_decode_event = msgspec.json.Decoder(EventLine).decode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_end = msgspec.json.Decoder(End).decode


def encode_line(line: Event | Header | End | EventLine) -> bytes:
    """One line, its "\\n" included. Data that JSON cannot say is rendered (`safe_json`); nothing is redacted here."""
    made = event_line(line) if isinstance(line, Event) else line
    try:
        return _encode(made) + b"\n"
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _encode({name: safe_json(value) for name, value in _fields(made)}) + b"\n"


def _fields(made: msgspec.Struct) -> list[tuple[str, Any]]:
    defaults = dict(zip(reversed(made.__struct_fields__), reversed(made.__struct_defaults__), strict=False))
    present = [(name, getattr(made, name)) for name in made.__struct_fields__]
    return [(name, value) for name, value in present if value is not defaults.get(name, msgspec.NODEFAULT)]


def event_line(event: Event) -> EventLine:
    """The line of an event: the bus's form for ours, the wire's form for a foreign one."""
    ours = not event.event_id and bool(event.process)
    as_data = event.logged or bool(event.event_id)
    metadata: dict[str, Any] = event.metadata
    return EventLine(
        event=event.kind,
        event_id=event_id(event.process, event.index) if ours else event.event_id,
        event_session_index=event.index,
        severity=event.severity,
        timestamp=timestamp(event.time_ns),
        event_name=event.name,
        event_data=metadata if as_data else msgspec.UNSET,
        measurements=finite_words(event.measurements) if event.measurements or not as_data else msgspec.UNSET,
        metadata=msgspec.UNSET if as_data else metadata,
        scope=dict(event.scope) or None,
        trace_id=event.trace_id,
        span_id=event.span_id,
        run=event.run,
        process=event.process,
        monotonic_ns=event.monotonic_ns,
        session_id=event.session_id,
        project="" if event.project == "default" else event.project,
        sdk_version=event.sdk_version,
    )


def decode_line(raw: bytes, header: Header | None = None) -> Line:
    """What a line says. Raises `BadLine` with the reason.

    A segment's `header` gives the event what its line leaves out: run, process, project, session, SDK version.
    """
    try:
        if raw.startswith(b'{"tape":'):
            return _decode_header(raw)
        if raw.startswith(b'{"tape_end":'):
            return _decode_end(raw)
        line = _decode_event(raw)
    except UNREADABLE as error:
        return _decode_other(raw, error)
    return _event_of(line, header)


def _decode_other(raw: bytes, error: Exception) -> Header | End:
    """A header or end whose keys stand in another order; else the line is bad."""
    for key, decode in ((b'"tape"', _decode_header), (b'"tape_end"', _decode_end)):
        if key in raw[:4096]:
            try:
                return decode(raw)
            except UNREADABLE:
                continue
    raise BadLine(_reason(raw, error))


def _reason(raw: bytes, error: Exception) -> str:
    if not raw.strip():
        return "empty line"
    if len(raw) > LINE_MAX:
        return f"longer than {LINE_MAX} bytes"
    return "nested too deep" if isinstance(error, RecursionError) else f"no line of a tape: {error}"[:300]


def _event_of(line: EventLine, header: Header | None) -> Event:
    process = line.process or (header.process if header else "")
    index = line.event_session_index
    ours = bool(process) and line.event_id.startswith(process[:8]) and line.event_id == event_id(process, index)
    measurements = line.measurements
    return Event(
        name=line.event_name or line.event.lower(),
        measurements=_numbers(measurements) if measurements else {},
        metadata=_metadata_of(line),
        time_ns=time_ns_of(line.timestamp),
        monotonic_ns=line.monotonic_ns,
        severity=line.severity or "INFO",
        scope=line.scope or NO_SCOPE,
        trace_id=line.trace_id,
        span_id=line.span_id,
        run=line.run or (header.run if header else line.session_id),
        process=process,
        index=index,
        kind=line.event,
        logged=ours and line.event_data is not msgspec.UNSET,
        event_id="" if ours else line.event_id,
        session_id=line.session_id or (header.session_id if header else ""),
        project=line.project or (header.project if header else "default"),
        sdk_version=line.sdk_version or (header.sdk_version if header else ""),
    )


def _metadata_of(line: EventLine) -> dict[str, Any]:
    """The context of an event: the bus's metadata, or the wire's data, with what stands beside it in other kinds."""
    metadata: dict[str, Any] = {} if isinstance(line.metadata, msgspec.UnsetType) else line.metadata
    if line.event_data is not msgspec.UNSET and line.event_data is not None:
        metadata = {**metadata, **(line.event_data if isinstance(line.event_data, dict) else {"data": line.event_data})}
    if line.event != "GENERIC_EVENT":
        for key in ("duration", "error_type", "error_message", "traceback"):
            value = getattr(line, key)
            if value is not None:
                metadata = {**metadata, key: value}
    return metadata


def finite_words(measurements: dict[str, Any]) -> dict[str, Any]:
    """Measurements with NaN and infinities as words, which `decode_line` turns back: JSON has no numbers for them."""
    if any(value.__class__ is float and not math.isfinite(value) for value in measurements.values()):
        return {key: safe_json(value) if value.__class__ is float else value for key, value in measurements.items()}
    return measurements


def _numbers(measurements: dict[str, Any]) -> dict[str, Any]:
    for value in measurements.values():
        if value.__class__ is str and value in _WORDS:
            return {k: _WORDS.get(v, v) if v.__class__ is str else v for k, v in measurements.items()}
    return measurements


_written_second: tuple[int, str] = (-1, "")  # a batch's events share their second
_read_second: tuple[str, int] = ("", 0)


def timestamp(time_ns: int) -> str:
    """Wall time as RFC 3339 in UTC with microseconds, as the SDK writes it: `2026-11-24T02:24:42.796715Z`."""
    global _written_second
    second, microsecond = divmod(time_ns // 1000, 1_000_000)
    known, text = _written_second
    if known != second:
        at = datetime.datetime.fromtimestamp(min(max(second, 0), _TOP_SECOND), datetime.UTC)
        text = at.replace(tzinfo=None).isoformat()
        _written_second = (second, text)
    return f"{text}.{microsecond:06d}Z"


def time_ns_of(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; one without a zone is UTC. Raises `BadLine`."""
    global _read_second
    fraction = text[20:26]
    known, second_ns = _read_second
    if text[:19] == known and len(text) == 27 and text[26] == "Z" and fraction.isdigit() and fraction.isascii():
        return second_ns + int(fraction) * 1000
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise BadLine(f"no RFC 3339 time: {text[:40]!r}") from error
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    time_ns = (at - _EPOCH) // _MICROSECOND * 1000
    if text[19:20] == "." and text[26:] == "Z":
        _read_second = (text[:19], time_ns // 1_000_000_000 * 1_000_000_000)
    return time_ns
