"""How much processor time each Python thread has used: who held the GIL is told by it.

Threads  the monitor's.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Collection
from typing import NamedTuple

from tinkertape.instrument.stalls.timers import cpu_clock

THREADS_MAX = 64  # looked at; 0.6 us each, seven times a second
COMPUTED_SHARE = 0.8  # of what all threads computed in the stall: so much the holder's must be
HELD_SHARE = 0.1  # of the stall's time: on a full machine the holder itself waits for a processor


class Computed(NamedTuple):
    """What the threads did in a stall."""

    most: threading.Thread | None  # who computed most
    most_ns: int
    all_ns: int

    def holder(self, held_ns: int) -> threading.Thread | None:
        """Who held the GIL for so long: who computed nearly all that was computed."""
        enough_ns = max(COMPUTED_SHARE * self.all_ns, HELD_SHARE * held_ns)
        return self.most if self.most_ns >= enough_ns else None

    def cause(self, held_ns: int) -> str:
        if self.holder(held_ns) is not None:
            return "gil"
        return "contention" if self.all_ns >= HELD_SHARE * held_ns else "unknown"


class Threads:
    """Every thread of Python's but the calling one, with its processor time when it was last looked at."""

    def __init__(self) -> None:
        self._seen: list[threading.Thread] = []
        self._clocks: dict[int, int] = {}  # native id → its clock
        self._used_ns: dict[int, int] = {}  # native id → what it had used

    def look(self) -> list[int]:
        """Remember how much each has used until now; the native ids of those that have computed since the last look."""
        self._find()
        before, now = self._used_ns, {native_id: _read(clock) for native_id, clock in self._clocks.items()}
        self._used_ns = now
        return [native_id for native_id, used_ns in now.items() if used_ns != before.get(native_id)]

    def alive(self) -> Collection[int]:
        """The native ids of all, at the last look."""
        return self._clocks.keys()

    def computed(self) -> Computed:
        """Who has computed since the last look, and how much."""
        self._find()
        used = {native_id: _read(clock) - self._used_ns.get(native_id, 0) for native_id, clock in self._clocks.items()}
        if not used:
            return Computed(None, 0, 0)
        most = max(used, key=used.__getitem__)
        found = next((thread for thread in self._seen if native_id_of(thread) == most), None)
        return Computed(found, used[most], sum(used.values()))

    def _find(self) -> None:
        seen = threading.enumerate()
        if seen != self._seen:
            self._seen = seen
            own = threading.get_native_id()
            native_ids = [native_id_of(thread) for thread in seen[:THREADS_MAX]]
            self._clocks = {found: cpu_clock(found) for found in native_ids if found is not None and found != own}


def native_id_of(thread: threading.Thread) -> int | None:
    """The kernel's id of a thread. In the child of a fork the main one's attribute is still its parent's (3.11)."""
    return os.getpid() if sys.platform == "linux" and thread is threading.main_thread() else thread.native_id


def _read(clock: int) -> int:
    if sys.platform != "linux":
        return 0
    try:
        return time.clock_gettime_ns(clock)
    except OSError:  # it has ended
        return 0
