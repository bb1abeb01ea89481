"""What a foreign server is sent: the specification's events, under the specification's names, flat.

A server that is no collector of ours speaks Tinker's wire only (facts/sdk.md §1). Of a tape's events it gets the
specification's list: HTTP ends, training and sampling ends, poll ends, retries, requests, queue changes, exceptions,
and whatever was given to `log`; the rest counts as skipped. Pure: lines in, wire events out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tinkertape.config import event_id
from tinkertape.context import Event
from tinkertape.errors import BadLine
from tinkertape.structs import made_ready
from tinkertape.tape.format import decode_line

_NAMES = {
    "tinker.request.start": "request.start",
    "tinker.request.stop": "request.complete",
    "tinker.request.exception": "request.error",
    "tinker.queue.pause": "queue.paused",
    "tinker.queue.resume": "queue.resumed",
    "tinker.retry": "tinker.retry",
}
_ENDS = ("tinker.http.request.", "tinker.training.", "tinker.sampling.", "tinker.future.poll.")
_WITHHELD = ("url_path", "stacktrace")  # on the tape only
_DURATIONS = ("duration", "delay", "roundtrip_duration", "headers_duration", "call_duration", "elapsed")


def wire_event(event: Event, timestamp: str) -> dict[str, Any] | None:
    """The wire form of one event for a foreign server, or None where the specification's list has no place for it."""
    common = {
        "event": event.kind,
        "event_id": event.event_id or event_id(event.process, event.index),
        "event_session_index": event.index,
        "severity": event.severity,
        "timestamp": timestamp,
    }
    if event.kind == "SESSION_START":
        return common
    if event.kind == "SESSION_END":
        return {**common, "duration": _clock(event.measurements.get("duration", 0))}
    if event.kind == "UNHANDLED_EXCEPTION":
        return {
            **common,
            "error_type": str(event.metadata.get("exception_type", "")),
            "error_message": str(event.metadata.get("exception_message", "")),
            "traceback": event.metadata.get("traceback"),
        }
    name = _foreign_name(event.name)
    if name is None:
        return None
    return {**common, "event_name": name, "event_data": _flat(event)}


def foreign_line(line: bytes) -> bytes | None:
    """The wire form of a line of a tape, or None where a foreign server has no place for it."""
    try:
        event = decode_line(line)
    except BadLine:
        return None
    if not isinstance(event, Event):
        return None
    wire = wire_event(event, msgspec.json.decode(line, type=_Timestamp).timestamp)
    return None if wire is None else msgspec.json.encode(wire)


class _Timestamp(msgspec.Struct):
    timestamp: str = ""


made_ready(_Timestamp)


def is_for_others(kind: str, name: str) -> bool:
    """Has the specification's list a place for an event of this kind and name?"""
    return kind != "GENERIC_EVENT" or _foreign_name(name) is not None


def _foreign_name(name: str) -> str | None:
    if name in _NAMES:
        return _NAMES[name]
    if name.startswith(_ENDS):
        return name if name.endswith((".stop", ".exception")) else None
    if name.startswith(("tinker.", "process.", "clock.", "telemetry.")):
        return None
    return name  # given to `log`, an exception that was captured, or an event of the program's own


def _flat(event: Event) -> dict[str, Any]:
    """Measurements and metadata in one object; nanoseconds become the specification's milliseconds."""
    data: dict[str, Any] = {key: value for key, value in event.metadata.items() if key not in _WITHHELD}
    for key, value in event.measurements.items():
        if key in _DURATIONS and isinstance(value, int | float):
            data[f"{key}_ms"] = round(value / 1e6, 3)
        elif key not in ("monotonic_time", "system_time"):
            data[key] = value
    return data


def _clock(duration_ns: Any) -> str:
    """A duration as the SDK writes it: `H:MM:SS.ffffff` (facts/sdk.md §1)."""
    total_us = int(duration_ns) // 1000 if isinstance(duration_ns, int | float) else 0
    seconds, microseconds = divmod(total_us, 1_000_000)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{microseconds:06d}"


def body(events: list[bytes], header: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> bytes:
    """One body of Tinker's wire from events that are JSON already.

    `header` is the tape's, `extra` what only a collector of ours is told. It has no key that the body of an SDK of the
    header's version has not: a strict server refuses those.
    """
    version = header.get("sdk_version") or ""
    process = {"process_uuid": _uuid(str(header.get("process", "")))} if has_process_uuid(version) else {}
    rest = {
        "platform": header.get("platform") or "unknown",
        "sdk_version": version or "0.0.0",
        "session_id": header.get("session_id") or header.get("run") or "",
        **process,
        **(extra or {}),
    }
    return b'{"events":[' + b",".join(events) + b"]," + msgspec.json.encode(rest)[1:]


def has_process_uuid(sdk_version: str) -> bool:
    """Do SDKs of this version send `process_uuid`? From 0.24 on; one that is not known is taken for a new one."""
    numbers = [int(part) for part in sdk_version.split(".")[:2] if part.isdecimal()]
    return len(numbers) < 2 or tuple(numbers) >= (0, 24)


def _uuid(process: str) -> str:
    """A process id of 16 digits in the shape that the wire has for it.

    The rest is zero, as in the ids of its events.
    """
    return event_id(process, 0) if len(process) == 16 else process
