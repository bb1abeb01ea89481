"""Tinker's telemetry wire: the body of `POST /api/v1/telemetry`, as every SDK version sends it.

Source: facts/sdk.md §1. Tolerant on purpose: unknown keys are ignored, and what any released SDK may leave out is
optional here (`process_uuid` before 0.24, `event_name` and `event_data` under an old pydantic, D3). An event's own data
stays undecoded (`msgspec.Raw`): who needs it decodes it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

EventKind = Literal["SESSION_START", "SESSION_END", "UNHANDLED_EXCEPTION", "GENERIC_EVENT"]
Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
SEVERITIES: tuple[Severity, ...] = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SEVERITY_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}
OURS = "Tinkertape-Collector"  # the header by which a collector of ours is known, on its health and its acceptance
ACCEPTED = b'{"status":"accepted"}'  # the only answer that no SDK version resends for (facts/sdk.md §1)
TELEMETRY_PATH = "/api/v1/telemetry"
UNREADABLE = (ValueError, RecursionError)  # what msgspec raises of bytes that are no JSON, no UTF-8, nested too deep


class WireEvent(msgspec.Struct):
    """One event of a body, flat over the four kinds, together with what a tape's line adds to it."""

    event: EventKind
    event_id: str = ""
    event_session_index: int = 0
    severity: Severity = "INFO"
    timestamp: str = ""
    event_name: str = ""
    event_data: msgspec.Raw = msgspec.Raw(b"")
    duration: str = ""
    error_type: str = ""
    error_message: str = ""
    traceback: str | None = None
    measurements: msgspec.Raw = msgspec.Raw(b"")
    metadata: msgspec.Raw = msgspec.Raw(b"")
    scope: msgspec.Raw = msgspec.Raw(b"")
    trace_id: str | None = None
    span_id: str | None = None
    run: str = ""
    process: str = ""
    monotonic_ns: int = 0


class WireBatch(msgspec.Struct):
    """A body. `events` stay raw, so that one bad event cannot fail the others."""

    events: list[msgspec.Raw]
    platform: str = ""
    sdk_version: str = ""
    session_id: str = ""
    process_uuid: str | None = None
    tape: dict[str, Any] | None = (
        None  # a tape's header; only delivery of ours sends it, and only to a collector of ours
    )
    ledger: dict[str, Any] | None = None  # what that tape's process recorded and dropped so far
