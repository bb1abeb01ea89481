"""What an event's name is: segments joined by dots."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinkertape.errors import EventNameError

_NAME = re.compile(r"[^\s.]+(\.[^\s.]+)*\Z")  # `Telemetry.log` takes any such name, so one must be able to attach to it


def event_name(event: str | Sequence[str]) -> str:
    """The one form of an event name: segments joined by dots, lower-case where it is declared.

    Raises `EventNameError`, saying what is wrong with it.
    """
    if isinstance(event, str):
        name = event
    elif isinstance(event, Sequence) and all(isinstance(segment, str) for segment in event):
        name = ".".join(event)
    else:
        raise EventNameError(f"an event name is a string or a sequence of strings, got {event!r}")
    if not _NAME.match(name):
        raise EventNameError(f"{name!r} is no event name: use segments joined by single dots, 'my.thing.done'")
    return name


def check_logged(event: object) -> None:
    """`Telemetry.log` takes any text. Raises `EventNameError`."""
    if not isinstance(event, str) or not event:
        raise EventNameError(f"cannot log {event!r}: an event's name is a text, 'my.thing.done'")


def prefix_name(prefix: str | Sequence[str]) -> str:
    """As `event_name`; nothing at all stands for every name."""
    return "" if isinstance(prefix, Sequence) and not prefix else event_name(prefix)
