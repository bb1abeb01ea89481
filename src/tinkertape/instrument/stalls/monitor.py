"""Stalls: nobody could run, because one thread held the GIL, or an event loop could not, because a callback held it.

A thread that sleeps 50 ms, 20 while something is in flight, 100 while the process is idle, and wakes late knows for how
long it could not run, and whether the GIL was why (evidence.py). Processor time says who held it (threads.py); its
stack is looked at in the instant the GIL is free again, when the call that held it has just returned, or, where that
was asked for, was written while it did (timers.py). Loops say themselves when they last asked for something to do
(loop.py); one that runs callbacks for 50 ms is looked at while it does. Many short waits are summed up by the second
(window.py).

What is told is certain. A stall's `duration` counts from the monitor's own wake, so the stall was at least so long, and
`duration_max` at most; one of under 100 ms, or 150 where it ends an idle time, may pass unseen. TOLD_MAX a minute are
told, those left out are summed up in the next.

Threads  "tinkertape-stalls", a daemon. It executes the events.
Fork     a child has no monitor until `start` is called there.
Exit     `stop` wakes the thread and waits 1 s at most.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from typing import Any

from tinkertape.events import PROCESS_STALL, PROCESS_STALL_WINDOW
from tinkertape.guard import disabled, guard
from tinkertape.instrument import pauses
from tinkertape.instrument.event_loops import running_loops
from tinkertape.instrument.stalls.evidence import Evidence, held_ns
from tinkertape.instrument.stalls.frames import likest, stack_of
from tinkertape.instrument.stalls.threads import Threads
from tinkertape.instrument.stalls.timers import make_timers
from tinkertape.instrument.stalls.window import Window
from tinkertape.instrument.tinker import loop
from tinkertape.instrument.tinker.flight import in_flight

PERIOD_NS = 50_000_000
FINE_NS = 20_000_000  # while something is in flight
IDLE_NS = 100_000_000  # while the process uses no processor: most of what a wake costs is the wake itself
STALL_MIN_NS = 50_000_000
LOOK_EACH_NS = 140_000_000  # processor times are read, and timers put off; at each wake while idle
CALM_NS = 10_000_000_000  # after we were late and it was no stall, no timer could be relied on for so long
LOOPS_EACH = 7  # looks: loops that are new are found once a second
USED_MIN_NS = 2_000_000  # of processor time by all threads: below it there is nothing new to remember
TOLD_MAX = 60  # a minute
PLACE = "instrument.stalls"
_MINUTE_NS = 60_000_000_000
_INTERVALS_MAX = 256  # in which the monitor could not run, remembered


class Monitor:
    """Watches for stalls until `stop`. `stacks`: have them written during a stall, too (timers.py)."""

    def __init__(self, stacks: bool) -> None:
        self._stopped = threading.Lock()  # whose time-out costs less than an Event's
        self._stopped.acquire()
        self._thread = threading.Thread(target=self._run, name="tinkertape-stalls", daemon=True)
        self._threads = Threads()
        self._pauses = pauses.watch()
        self._timers = make_timers() if stacks else None
        self._late: deque[tuple[int, int]] = deque(maxlen=_INTERVALS_MAX)
        self._budget = Budget()
        self._window = Window()
        self._starved_ns: int | None = None  # when the window began
        self._turns = self._looks = 0
        self._look_ns = 0  # when next
        self._used_ns = -USED_MIN_NS
        self._idle = False
        self._calm_ns = 0  # no timers before

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Watch no more. Waits for the thread, 1 s at most."""
        if self._stopped.locked():
            self._stopped.release()
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        self._begin()
        asleep = self._stopped
        now_ns = time.perf_counter_ns
        window = self._window
        while True:
            fine = in_flight() > 0
            if fine and not window.wakes:
                self._begin_window()
            period_ns = FINE_NS if fine else self._period_ns()
            asked_ns = now_ns() + period_ns
            if asleep.acquire(timeout=period_ns / 1e9):
                break
            woke_ns = now_ns()
            self._turns += 1
            if window.add(asked_ns, woke_ns, period_ns) if fine else window.wakes:
                self._tell_window()
            late = woke_ns - asked_ns >= STALL_MIN_NS
            if late or woke_ns >= self._look_ns or loop.any_busy(woke_ns, STALL_MIN_NS):  # else no more than this
                self._turn(asked_ns, woke_ns, period_ns)
                if disabled(PLACE):
                    break
            if not self._idle:
                self._threads.wake(woke_ns)
        self._close()

    def _period_ns(self) -> int:
        if not self._idle:
            return PERIOD_NS
        self._look_ns = 0  # at the next wake
        return IDLE_NS

    @guard(PLACE)
    def _begin(self) -> None:
        self._evidence = Evidence()
        self._look()

    @guard(PLACE)
    def _turn(self, asked_ns: int, woke_ns: int, period_ns: int) -> None:
        if woke_ns - asked_ns >= STALL_MIN_NS:
            self._was_late(asked_ns, woke_ns, period_ns)
            self._look_ns = 0  # what comes next is measured against now
        if loop.watched:
            self._look_at_loops(woke_ns)
        if woke_ns >= self._look_ns:
            self._look_ns = woke_ns + LOOK_EACH_NS
            self._look()

    @guard(PLACE)
    def _begin_window(self) -> None:
        self._starved_ns = self._evidence.now().starved_ns

    @guard(PLACE)
    def _tell_window(self) -> None:
        seen = self._window.close()
        if seen is not None and PROCESS_STALL_WINDOW.handlers:
            starved_ns = self._evidence.now().starved_ns
            if starved_ns is not None and self._starved_ns is not None:
                seen["starved"] = starved_ns - self._starved_ns
            PROCESS_STALL_WINDOW.execute(seen)

    @guard(PLACE)
    def _close(self) -> None:
        if self._timers is not None:
            self._timers.close()
        pauses.unwatch()

    def _look(self) -> None:
        """What a stall that begins from now on is measured against."""
        if self._timers is not None and not self._timers.check():
            self._timers = None
        used_ns = time.process_time_ns()
        self._idle = used_ns - self._used_ns < USED_MIN_NS
        if not self._idle:
            self._used_ns = used_ns
            computed = self._threads.look()
            if self._timers is not None and time.perf_counter_ns() >= self._calm_ns:
                self._timers.put_off(computed, self._threads.alive())
        self._before = self._evidence.now()
        self._turns = 0
        self._looks += 1
        if self._looks % LOOPS_EACH == 1:
            for found in running_loops():
                found.watch()

    def _was_late(self, asked_ns: int, woke_ns: int, period_ns: int) -> None:
        """We could not run for a while: was it the GIL, and who held it?"""
        late_ns = woke_ns - asked_ns
        frames = sys._current_frames()  # first of all: the holder goes on as soon as we let it
        stacks = {thread: stack_of(frame) for thread, frame in frames.items()}
        frames.clear()
        self._late.append((asked_ns, woke_ns))
        held = held_ns(late_ns, self._before, self._evidence.now(), self._turns, sys.getswitchinterval())
        computed = self._threads.computed(asked_ns)
        holder = computed.holder(held)
        dumped = self._timers.take() if self._timers is not None else []
        if self._timers is not None and (held < STALL_MIN_NS or holder is None):  # others kept us from putting it off
            self._timers.close()
            self._calm_ns = woke_ns + CALM_NS
        if held < STALL_MIN_NS:
            return
        stack = stacks.get(holder.ident or 0, []) if holder is not None else []
        during = likest(dumped, stack)
        self._tell(
            {
                "duration": held,
                "duration_max": held + period_ns,
                "cpu": computed.most_ns,
                "monotonic_time": woke_ns,
            },
            {
                "cause": "gc"
                if self._collected(asked_ns, woke_ns) >= held / 2
                else computed.cause(held, dumped=bool(during)),
                **_who(holder),
                **_loop_of(holder),
                "stack": during or stack,
                "stack_taken": "during" if during else "after" if stack else None,
            },
        )

    def _collected(self, asked_ns: int, woke_ns: int) -> int:
        """How long the collector of cycles ran in this time, ns, as far as its newest run tells."""
        began_ns, ended_ns = self._pauses.began_ns, self._pauses.ended_ns
        if began_ns and ended_ns < began_ns:  # it is just being told
            ended_ns = woke_ns
        return min(woke_ns, ended_ns) - max(asked_ns, began_ns)

    def _look_at_loops(self, now_ns: int) -> None:
        for watched in list(loop.watched.values()):
            while watched.held:
                self._was_held(watched, *watched.held.popleft())
            since_ns = watched.busy_since()
            if since_ns is not None and now_ns - since_ns >= STALL_MIN_NS and watched.seen_ns != since_ns:
                watched.seen_ns = since_ns
                watched.stack = stack_of(sys._current_frames().get(watched.thread))

    def _was_held(self, watched: loop.Watched, began_ns: int, ended_ns: int) -> None:
        """A loop ran callbacks for so long; what the GIL, or a standstill, had of it is not told twice."""
        ours_ns = sum(max(0, min(ended_ns, woke) - max(began_ns, asked)) for asked, woke in self._late)
        held = ended_ns - began_ns - ours_ns
        if held < STALL_MIN_NS:
            return
        seen = watched.seen_ns == began_ns
        self._tell(
            {"duration": held, "duration_max": ended_ns - began_ns, "monotonic_time": ended_ns},
            {
                "cause": "loop",
                "thread": watched.thread,
                "thread_name": _name_of(watched.thread),
                **watched.metadata(),
                "stack": watched.stack if seen else [],
                "stack_taken": "during" if seen else None,
            },
        )

    def _tell(self, measured: dict[str, int], metadata: dict[str, Any]) -> None:
        if PROCESS_STALL.handlers and self._budget.allows(measured["monotonic_time"], measured["duration"]):
            PROCESS_STALL.execute({**measured, **self._budget.left_out()}, metadata)


_running: Monitor | None = None


def start(*, stacks: bool = False) -> None:
    """Watch this process for stalls, until `stop`. One that watches goes on."""
    global _running
    if _running is None:
        _running = Monitor(stacks)
        _running.start()


def stop() -> None:
    """Watch no more. Waits 1 s at most; does nothing when nobody watches."""
    global _running
    running, _running = _running, None
    if running is not None:
        running.stop()


def _start_over() -> None:
    global _running
    _running = None


os.register_at_fork(after_in_child=_start_over)


class Budget:
    """So many a minute are told; the others are counted."""

    def __init__(self) -> None:
        self._told: deque[int] = deque(maxlen=TOLD_MAX)
        self._count = 0
        self._sum_ns = 0

    def allows(self, now_ns: int, duration_ns: int) -> bool:
        """May this one be told? Else it is added to what was left out."""
        if len(self._told) == TOLD_MAX and now_ns - self._told[0] < _MINUTE_NS:
            self._count += 1
            self._sum_ns += duration_ns
            return False
        self._told.append(now_ns)
        return True

    def left_out(self) -> dict[str, int]:
        """What was left out since the last that was told."""
        if not self._count:
            return {}
        left = {"left_out": self._count, "left_out_duration": self._sum_ns}
        self._count = self._sum_ns = 0
        return left


def _name_of(ident: int) -> str | None:
    return next((thread.name for thread in threading.enumerate() if thread.ident == ident), None)


def _who(holder: threading.Thread | None) -> dict[str, Any]:
    if holder is None:
        return {"thread": None, "thread_name": None}
    return {"thread": holder.ident, "thread_name": holder.name}


def _loop_of(holder: threading.Thread | None) -> dict[str, Any]:
    """The event loop that the holder runs, if it is watched."""
    for watched in list(loop.watched.values()):
        if holder is not None and watched.thread == holder.ident:
            return watched.metadata()
    return {}
