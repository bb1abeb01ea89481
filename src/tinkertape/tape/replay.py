"""Replays a tape: its events are executed again, on any bus, for any handler."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tinkertape.bus import Bus
from tinkertape.context import replaying, with_severity
from tinkertape.tape.tape import Tape, open_tape


class Replayed(msgspec.Struct, frozen=True):
    """How many lines of events were executed, cut short at a file's end, and set aside."""

    executed: int
    torn: int
    set_aside: int


def replay(
    tape: str | Path | Tape, bus: Bus, *, speed: float | None = None, sleep: Callable[[float], object] = time.sleep
) -> Replayed:
    """Execute every event of a tape on a bus, in the order written; count and skip bad lines.

    `tape` is a run's folder or one of its files, or an open tape. `speed` 1.0 is real time; None, the default, does not
    wait. Inside, `Event.of` answers the event of the line, and a recorder on the bus records nothing. Raises
    `TapeNotFound`, and `ValueError` for a speed that is not above 0. Runs in the caller's thread, to the tape's end.
    """
    if speed is not None and not speed > 0:
        raise ValueError(f"cannot replay at speed={speed!r}: it must be above 0, or None to wait for nothing")
    opened = tape if isinstance(tape, Tape) else open_tape(tape)
    executed = 0
    began_s, first_ns = time.monotonic(), None
    for event in opened:
        if speed:
            first_ns = event.time_ns if first_ns is None else first_ns
            wait_s = (event.time_ns - first_ns) / 1e9 / speed - (time.monotonic() - began_s)
            if wait_s > 0:
                sleep(wait_s)
        with replaying(event), with_severity(event.severity):
            bus.execute(event.name, event.measurements, event.metadata)
        executed += 1
    return Replayed(executed, opened.torn, opened.set_aside)
