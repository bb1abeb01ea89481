"""Was it the GIL? What a thread that came late knows of why, and what follows from it.

A thread that waits for the GIL wakes each switch interval (5 ms) to ask for it: it gives its processor up some 60 times
in a stall of 300 ms. One that was stopped, or whose machine slept, does so once. One that had no processor waited in
the kernel's run queue, which Linux counts. So a suspended process, a full machine and a held GIL are told apart.

Threads  the monitor's own: the figures are those of the calling thread.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tinkertape.instrument.kept_file import KeptFile

if sys.platform != "win32":
    import resource

WAITS_SHARE = 0.25  # of the expected wakes at least: on a busy machine each takes longer
SLACK_NS = 2_000_000  # a sleep ends this much late on its own


class Seen(NamedTuple):
    """The calling thread's own figures at one instant; None where the system does not tell."""

    switches: int | None  # processors given up
    starved_ns: int | None  # spent waiting for one


class Evidence:
    """Reads the figures of the thread that it was made in."""

    def __init__(self) -> None:
        self._file: KeptFile | None = None
        if sys.platform == "linux":
            with suppress(OSError):  # this kernel does not count
                self._file = KeptFile(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat"))

    def now(self) -> Seen:
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw if sys.platform == "linux" else None
        if self._file is not None:
            with suppress(OSError, ValueError, IndexError):  # its number is a file of the program's by now
                return Seen(switches, int(os.pread(self._file.descriptor, 64, 0).split()[1]))
        return Seen(switches, None)


def held_ns(late_ns: int, before: Seen, after: Seen, turns: int, switch_interval_s: float) -> int:
    """How long the GIL was held, of a lateness: 0 when the thread did not wait for it.

    `turns`: how often the thread slept on its own in between. What was spent without a processor is left out.
    """
    starved = 0 if before.starved_ns is None or after.starved_ns is None else after.starved_ns - before.starved_ns
    held = late_ns - starved - SLACK_NS
    if held <= 0:
        return 0
    if before.switches is None or after.switches is None:
        return held
    waited = after.switches - before.switches - turns
    expected = held / 1e9 / switch_interval_s
    return held if waited >= expected * WAITS_SHARE else 0
