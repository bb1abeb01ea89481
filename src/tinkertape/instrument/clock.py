"""Time is an event: `clock.tick`, and `clock.gap` when the process stood still.

Detectors never read a clock, they listen to the tick; so a replayed tape yields the very findings of the live run, and
a request that hangs is noticed though nothing else happens.

A tick is a measurement of a `Poller`, which says in whose threads, and what a fork does. A handler that takes long over
a tick delays no other measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tinkertape.events import CLOCK_GAP, CLOCK_TICK
from tinkertape.guard import guard

BUSY_PERIOD_S = 1.0  # while something is in flight
IDLE_PERIOD_S = 10.0
GAP_MIN_NS = 3_000_000_000  # later than asked for by this much
STANDSTILL_CPU = 0.05  # of one core at most: a process that worked all the while was not suspended


def ticking(in_flight: Callable[[], int]) -> Callable[[], None]:
    """What a poller measures each second: a tick, or none yet. `in_flight()` says how much is under way.

    `clock.tick`: `monotonic` (ns of perf_counter), `wall` (ns since the epoch). `clock.gap`, before the tick that ends
    it: `monotonic`, and `duration`, by how much the tick came later than asked for while the process hardly used its
    processor: the machine slept, or the process was stopped.
    """
    ticker = Ticker()
    return lambda: _turn(ticker, in_flight() > 0)


class Ticker:
    """When to tick, and what to make of a late turn; the clocks are read once a turn."""

    def __init__(self) -> None:
        self._turned_ns: int | None = None
        self._ticked_ns: int | None = None
        self._cpu_ns = 0

    def turn(self, *, busy: bool, now_ns: int, wall_ns: int, asleep_ns: int, cpu_ns: int) -> None:
        """One turn of the clock. `asleep_ns`: how long the machine has slept, where the system says it."""
        before_ns = self._turned_ns
        used_ns = cpu_ns - self._cpu_ns
        self._turned_ns, self._cpu_ns = now_ns + asleep_ns, cpu_ns
        if before_ns is not None:
            late_ns = now_ns + asleep_ns - before_ns - int(BUSY_PERIOD_S * 1e9)
            if late_ns >= GAP_MIN_NS and used_ns < late_ns * STANDSTILL_CPU and CLOCK_GAP.handlers:
                CLOCK_GAP.execute({"monotonic": now_ns, "duration": late_ns})
        period_ns = int((BUSY_PERIOD_S if busy else IDLE_PERIOD_S) * 1e9)
        if self._ticked_ns is None or now_ns - self._ticked_ns >= period_ns - 50_000_000:
            self._ticked_ns = now_ns
            if CLOCK_TICK.handlers:
                CLOCK_TICK.execute({"monotonic": now_ns, "wall": wall_ns})


@guard("instrument.clock")
def _turn(ticker: Ticker, busy: bool) -> None:
    ticker.turn(
        busy=busy,
        now_ns=time.perf_counter_ns(),
        wall_ns=time.time_ns(),
        asleep_ns=_asleep_ns(),
        cpu_ns=time.process_time_ns(),
    )


def _asleep_ns() -> int:
    """How long the machine has slept since it booted: Linux counts it in one of its clocks and not in the other."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return 0
    return time.clock_gettime_ns(boottime) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
