"""Time is an event: `clock.tick`, and `clock.gap` when the process stood still.

Detectors never read a clock, they listen to the tick; so a replayed tape yields the very findings of the live run, and
a request that hangs is noticed though nothing else happens.

Threads  `Clock` ticks in "tinkertape-clock", a daemon.
Fork     a child's clock stands still until `start` is called there.
Exit     `stop` wakes the thread and waits 1 s at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tinkertape.events import CLOCK_GAP, CLOCK_TICK
from tinkertape.guard import guard

BUSY_PERIOD_S = 1.0  # while something is in flight
IDLE_PERIOD_S = 10.0
GAP_MIN_NS = 3_000_000_000  # later than asked for by this much
STANDSTILL_CPU = 0.05  # of one core at most: a process that worked all the while was not suspended


class Clock:
    """Tick each second while `in_flight()` says that something is, else each ten.

    `clock.tick`: `monotonic` (ns of perf_counter), `wall` (ns since the epoch). `clock.gap`, before the tick that ends
    it: `monotonic`, and `duration`, by how much the tick came later than asked for while the process hardly used its
    processor: the machine slept, or the process was stopped.
    """

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Tick now and from now on. A clock that runs goes on."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tinkertape-clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tick no more. Waits for the thread, 1 s at most; does nothing when it does not run."""
        self._stopped.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _run(self) -> None:
        stopped = self._stopped
        ticker = Ticker()
        asked_s = 0.0
        while not stopped.wait(asked_s):
            asked_s = BUSY_PERIOD_S
            _turn(ticker, self._in_flight() > 0)


_running: Clock | None = None


def start(in_flight: Callable[[], int]) -> None:
    """Start the process's clock: each second while `in_flight()` says that something is, else each ten. Any thread."""
    global _running
    stop()
    _running = Clock(in_flight)
    _running.start()


def stop() -> None:
    """Stop the process's clock. Does nothing when it does not run. Waits 1 s at most."""
    global _running
    clock, _running = _running, None
    if clock is not None:
        clock.stop()


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
