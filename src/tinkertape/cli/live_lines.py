"""What `tinkertape run` says while the program runs: a line on the terminal for each finding.

A line is written when a finding is first told. What holds the program up has one more each time that it has lasted
twice as long, and when it is over; below `HELD_MIN_S` it is not worth one. Only a terminal is written to, past Python's
streams: what the program has made of `sys.stderr` stays its own.

Threads  `write` runs in the watcher's thread: a terminal that is held (Ctrl-S) holds nobody else up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tinkertape.bus import Bus
from tinkertape.cli.figures import seconds
from tinkertape.cli.text import escaped
from tinkertape.events import DIAGNOSIS_FINDING
from tinkertape.guard import guarded

HANDLER_ID = "tinkertape.run.lines"
HELD_MIN_S = 2.0
LINES_MAX = 100  # in a run: who has so much trouble reads the report
STDERR = 2
PAUSES = {"capacity-pause": "for capacity", "rate-limit-pause": "for a rate limit"}
HELD_UP = frozenset((*PAUSES, "unreachable"))


class LiveLines:
    """Writes findings on the terminal that is the process's stderr."""

    def __init__(self) -> None:
        self._said: set[str] = set()  # by the findings' keys
        self._lines = 0

    def attach(self, bus: Bus) -> None:
        """Begin, if stderr is a terminal. Raises `HandlerExists`."""
        if is_terminal():
            bus.attach(HANDLER_ID, DIAGNOSIS_FINDING.name, self.write)

    def write(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], _: object) -> None:
        """Write the line of one `diagnosis.finding`, if it is worth one."""
        line = self.line(measurements, metadata)
        if line is not None and self._lines < LINES_MAX:
            self._lines += 1
            with guarded("cli.run.lines"):
                os.write(STDERR, f"tinkertape: {escaped(line)}\n".encode(errors="replace"))

    def line(self, measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
        """What is to be said of a finding that was told, or None."""
        key, cause, is_over = metadata["key"], metadata["cause"], metadata["state"] == "over"
        known = key in self._said
        if cause not in HELD_UP:
            self._said.add(key)
            return None if known else _sentence(metadata)
        if is_over:
            self._said.discard(key)
            return _held(measurements, metadata) if known else None
        if measurements["monotonic_time"] - measurements["since"] < HELD_MIN_S * 1e9:
            return None
        self._said.add(key)
        return _held(measurements, metadata)


def _held(measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """What holds the program up, or held it up."""
    why = PAUSES.get(metadata["cause"])
    if why is None:
        return _sentence(metadata)
    if metadata["state"] == "over":
        return f"goes on, after {_length(measurements['cost'])} paused {why}{_step(metadata)}"
    return f"paused {why} since {_length(measurements['cost'])}{_step(metadata)}"


def _sentence(metadata: Mapping[str, Any]) -> str:
    return f"{metadata['summary'].rstrip('.')}{_step(metadata)}"


def _step(metadata: Mapping[str, Any]) -> str:
    return "" if metadata["step"] is None else f" (step {metadata['step']})"


def is_terminal() -> bool:
    """Is the process's stderr a terminal?"""
    try:
        return os.isatty(STDERR)
    except OSError:
        return False


def _length(ns: int) -> str:
    whole = round(ns / 1e9)
    return f"{whole} s" if whole < 60 else seconds(float(whole))
