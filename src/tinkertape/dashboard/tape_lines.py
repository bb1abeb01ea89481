"""The tape's last lines as a person reads them: time, name, and what matters of the rest in one line."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from tinkertape.dashboard.format import moment
from tinkertape.dashboard.text import visible
from tinkertape.figures import seconds

DETAIL_MAX = 240  # characters
FIRST = (
    "method",
    "path",
    "outcome",
    "queue_state",
    "reason",
    "status_code",
    "error_type",
    "request_id",
)  # bare, in this order, before the rest
NEVER = (
    "monotonic_time",
    "system_time",
    "stacktrace",
    "traceback",
    "operation_id",
    "submission_id",
    "http_id",
    "claim_id",
    "client",
    "pool",
    "process",
    "sampling_session_id",
    "thread",
    "thread_name",
    "transport",
    "loop",
    "monotonic",
    "wall",
    "url_path",
)
_BLANKS = re.compile(r"[ \t\r\n]+")


class TapeLine(msgspec.Struct, frozen=True):
    key: str
    time: datetime | None
    name: str
    kind: str  # "", error, pause or quiet: a class of the style sheet
    detail: str


def tape_line(event: dict[str, Any]) -> TapeLine:
    """One line of the tape. Takes any object; what is missing is left out."""
    name = str(event.get("event_name") or event.get("event") or "event")
    index = event.get("event_session_index", event.get("cursor", ""))
    time = moment(event["timestamp"]) if isinstance(event.get("timestamp"), str) else None
    return TapeLine(
        visible(f"{event.get('process', '')}:{index}:{event.get('event_id', '')}"),
        time,
        name,
        _kind(name, str(event.get("severity", ""))),
        _detail(event),
    )


def _kind(name: str, severity: str) -> str:
    if severity in ("ERROR", "CRITICAL"):
        return "error"
    if name in ("tinker.queue.pause", "tinker.queue.resume"):
        return "pause"
    return "quiet" if severity == "DEBUG" or name.startswith("clock.") else ""


def _detail(event: dict[str, Any]) -> str:
    measured, context = _object(event.get("measurements")), _object(event.get("metadata"))
    given = _object(event.get("event_data"))
    words = []
    if isinstance(duration := measured.pop("duration", None), int | float):
        words.append(seconds(duration / 1e9))
    words += [str(context.pop(key)) for key in FIRST if context.get(key) not in (None, "")]
    status = context.pop("status", None)
    words += [str(status)] if status not in (None, "success") else []
    rest = {**context, **measured, **given}
    words += [
        f"{key} {_figure(key, value)}"
        for key, value in rest.items()
        if key not in NEVER and value not in (None, "", 0, [], {})
    ]
    text = visible("  ".join(_BLANKS.sub(" ", word) for word in words))
    return text if len(text) <= DETAIL_MAX else f"{text[:DETAIL_MAX]}…"


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _figure(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and key.endswith(("thread_cpu", "duration", "delay", "gap", "elapsed", "since", "duration_min", "duration_max"))
    ):
        return seconds(value / 1e9)
    return str(value)
