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
SURE_SHARE = 0.75  # of the stall's time computed: it was busy all the while
C_CODE_NS = 25_000_000  # computed for certain in the stall: code in Python would have let go after 5 ms
BUSY_MAX = 8  # threads that compute are read at each wake, so many


class Computed(NamedTuple):
    """What the threads did in a stall, and a little before."""

    most: threading.Thread | None  # who computed most
    most_ns: int
    before_ns: int  # of that, at most so much can have been before the stall
    all_ns: int

    def holder(self, held_ns: int) -> threading.Thread | None:
        """Who held the GIL for so long: who computed nearly all that was computed."""
        enough_ns = max(COMPUTED_SHARE * self.all_ns, HELD_SHARE * held_ns)
        return self.most if self.most_ns >= enough_ns else None

    def cause(self, held_ns: int, *, dumped: bool = False) -> str:
        """gil: it was busy with it; starved: it had the GIL and no processor; contention: several; unknown: nobody.

        `dumped`: its stack was written for it had used up its budget meanwhile, so it computed.
        """
        if self.holder(held_ns) is None:
            return "contention" if self.all_ns >= HELD_SHARE * held_ns else "unknown"
        is_busy = self.most_ns >= SURE_SHARE * held_ns or self.most_ns - self.before_ns >= C_CODE_NS
        return "gil" if is_busy or dumped else "starved"


class Threads:
    """Every thread of Python's but the calling one, with its processor time when it was last looked at."""

    def __init__(self) -> None:
        self._seen: list[threading.Thread] = []
        self._clocks: dict[int, int] = {}  # native id → its clock
        self._used_ns: dict[int, int] = {}  # native id → what it had used
        self._looked_ns = 0
        self._busy_ns: dict[int, int] = {}  # those that compute, at the last wake
        self._woke_ns = 0

    def look(self) -> list[int]:
        """Remember how much each has used until now; the native ids of those that have computed since the last look."""
        self._find()
        before, now = self._used_ns, {native_id: _read(clock) for native_id, clock in self._clocks.items()}
        self._used_ns, self._looked_ns = now, time.perf_counter_ns()
        computed = [native_id for native_id, used_ns in now.items() if used_ns != before.get(native_id)]
        self._busy_ns = dict.fromkeys(computed[:BUSY_MAX], 0)
        self.wake(self._looked_ns)
        return computed

    def wake(self, now_ns: int) -> None:
        """Remember how much those have used until now that had computed before the last look."""
        self._woke_ns = now_ns
        for native_id in self._busy_ns:
            self._busy_ns[native_id] = _read(self._clocks[native_id])

    def alive(self) -> Collection[int]:
        """The native ids of all, at the last look."""
        return self._clocks.keys()

    def computed(self, began_ns: int) -> Computed:
        """Who has computed since the last wake, or look, and how much; the stall began at `began_ns` at the latest."""
        self._find()
        before = {**self._used_ns, **self._busy_ns}
        used = {native_id: _read(clock) - before.get(native_id, 0) for native_id, clock in self._clocks.items()}
        if not used:
            return Computed(None, 0, 0, 0)
        most = max(used, key=used.__getitem__)
        found = next((thread for thread in self._seen if native_id_of(thread) == most), None)
        since_ns = self._woke_ns if most in self._busy_ns else self._looked_ns
        return Computed(found, used[most], began_ns - since_ns, sum(used.values()))

    def _find(self) -> None:
        seen = threading.enumerate()
        if seen != self._seen:
            self._seen = seen
            own = threading.get_native_id()
            native_ids = [native_id_of(thread) for thread in seen[:THREADS_MAX]]
            self._clocks = {found: cpu_clock(found) for found in native_ids if found is not None and found != own}
            self._busy_ns = {found: used_ns for found, used_ns in self._busy_ns.items() if found in self._clocks}


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
