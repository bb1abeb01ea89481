"""An event on one line, for a person: the time, the name, how long it took, and what matters of its context."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from tinkertape.cli.figures import seconds
from tinkertape.cli.text import escaped, shortened
from tinkertape.context import Event

STYLES = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
NAME_WIDTH = 38
VALUE_WIDTH = 120
# shown in this order, as they are; everything else is in --json
SHOWN = (
    "operation",
    "request_type",
    "event_name",
    "method",
    "path",
    "outcome",
    "queue_state",
    "reason",
    "status_code",
    "status",
    "cause",
    "state",
    "summary",
)
NAMED = ("step", "delay", "error_type", "exception_type", "exception_message", "reason_text", "run_name")
OURS = ("tinker.", "process.", "clock.", "telemetry.", "exception.", "diagnosis.")
UNREMARKABLE = frozenset({"success", "unknown", ""})  # values that say nothing


def event_text(event: Event) -> Text:
    """The event's line, escaped."""
    at = datetime.fromtimestamp(event.time_ns / 1e9, UTC).astimezone()
    style = STYLES.get(event.severity, "")
    text = Text(f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}  ", style="dim")
    text.append(f"{escaped(event.name):<{NAME_WIDTH}}", style=style or "default")
    duration = event.measurements.get("duration")
    took = seconds(duration / 1e9) if isinstance(duration, int | float) else ""
    text.append(f" {took:>9}  ", style="default")
    return text.append("  ".join(_words(event)), style=style or "not dim")


def _words(event: Event) -> Iterator[str]:
    context = {**event.scope, **event.metadata, **event.measurements}
    if not event.name.startswith(OURS):
        yield from (f"{escaped(str(key))}={_value(value)}" for key, value in {**event.metadata, **event.scope}.items())
        return
    if event.name == "process.stall":
        yield from _stall(event.metadata)
        return
    for key in SHOWN:
        value = context.get(key)
        if value is not None and value not in UNREMARKABLE:
            yield _value(value)
    for key in NAMED:
        value = context.get(key)
        if value not in (None, ""):
            yield f"{key}={seconds(value / 1e9) if key == 'delay' and isinstance(value, int) else _value(value)}"
    yield from _loss(event.measurements)


def _stall(metadata: dict[str, Any]) -> Iterator[str]:
    """What held whom up, and where."""
    stack = metadata.get("stack")
    where = stack[0] if isinstance(stack, list) and stack else None
    yield from (_value(said) for said in (metadata.get("cause"), metadata.get("thread_name"), where) if said)


def _loss(measurements: dict[str, Any]) -> Iterator[str]:
    for key, value in measurements.items():
        if key.startswith("loss") and isinstance(value, int | float):
            yield f"{escaped(key)}={value:.2f}"


def _value(value: object) -> str:
    return shortened(value if isinstance(value, str) else repr(value), VALUE_WIDTH)
