"""What `tinkertape run` says while the program runs: a line on the terminal for each finding.

A line is written when a finding is first told and, for a pause, again each time that it has lasted twice as long, and
when it is over. A pause of less than `PAUSE_MIN_S` is not worth one. Only a terminal is written to, past Python's
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
PAUSE_MIN_S = 2.0
LINES_MAX = 100  # in a run: who has so much trouble reads the report
STDERR = 2
PAUSE = "capacity-pause"


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
        key, known = metadata["key"], metadata["key"] in self._said
        step = f" (step {metadata['step']})" if metadata["step"] is not None else ""
        if metadata["cause"] != PAUSE:
            self._said.add(key)
            return None if known else f"{metadata['summary'].rstrip('.')}{step}"
        if metadata["state"] == "over":
            self._said.discard(key)
            return f"goes on, after a pause for capacity of {_length(measurements['cost'])}{step}" if known else None
        if measurements["cost"] < PAUSE_MIN_S * 1e9:
            return None
        self._said.add(key)
        return f"paused for capacity since {_length(measurements['cost'])}{step}"


def is_terminal() -> bool:
    """Is the process's stderr a terminal?"""
    try:
        return os.isatty(STDERR)
    except OSError:
        return False


def _length(ns: int) -> str:
    whole = round(ns / 1e9)
    return f"{whole} s" if whole < 60 else seconds(float(whole))
