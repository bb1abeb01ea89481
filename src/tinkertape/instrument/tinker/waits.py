"""Your code waits where no claim sees it: `concurrent.futures.wait`, `as_completed`, `asyncio.wrap_future`, a join, a
queue. Seen in samples.

While something is in flight, the top frame of every thread that has called the SDK, and of the main one, is looked at:
one that stands in `threading`'s wait or join, or in the `select` of its asyncio loop, waits (facts/partition.md §4). A
thread that waits in a claim, or inside a public call, is told of there and left out. Consecutive samples are one wait,
told when it ends; a long one is told as it grows. Its begin and its end lie half a gap between two samples away from
its first and its last one. Not seen: `time.sleep`, a bare lock, `queue.SimpleQueue`.

A sample each 5 ms after any change, each 20 ms where a thread runs on, which has to hand over the GIL for it; as long
as nothing changes, the gaps grow to a fiftieth of that time, 50 ms at most: what costs is to wake up. None is taken
where every thread is in a claim for long. Frames are looked at and let go of at once: they hold the program's
variables.

Threads  "tinkertape-waits", a daemon: started by the first public call that somebody listens to, asleep when nothing is
         in flight. `watch`, `cover` and `uncover` run in the program's threads, each for itself, and wake it.
Locks    `_lock`: held to start the thread.
Fork     a child has no such thread, and starts one with its first public call.
Exit     `stop` has what is under way told, and waits 1 s at most, 50 ms as a rule.
"""

from __future__ import annotations

import concurrent.futures._base
import concurrent.futures.thread
import functools
import itertools
import os
import queue
import selectors
import sys
import threading
import time
from asyncio import base_events, runners
from collections.abc import Mapping
from time import sleep  # ours, whatever the program puts in its place
from types import CodeType, FrameType
from typing import Any, NamedTuple

from tinkertape.events import THREAD_WAIT
from tinkertape.guard import disabled, guard
from tinkertape.instrument.tinker import loop
from tinkertape.instrument.tinker.flight import in_flight

PERIODS_NS = (5_000_000, 50_000_000)  # the least and the greatest gap between samples
RUNNING_NS = 20_000_000  # the least while a thread runs on: it may begin to wait, and no result says when
COVERED_PERIOD_NS = 20_000_000  # while every one is in a claim; the greatest once each look has seen that for long
FRESH_NS = 25_000_000  # whoever has just left a call or a claim is about to wait
PERIOD_SHARE = 50  # of the time since anything changed
COVERED_NS = 200_000_000  # every thread has been in a claim for so long: not worth a look until one leaves it
WAIT_MIN_NS = 15_000_000  # shorter ones are not told, nor is a single sample
TELL_FIRST_NS = 1_000_000_000  # a wait that goes on is told after 1, 2, 4, 8, 16 s, then each 10 s
TELL_EACH_NS = 10_000_000_000
ASYNCIO = "asyncio"
_PLACE = "instrument.tinker.waits"

_BLOCKING: dict[str, frozenset[str]] = {
    threading.__file__: frozenset({"wait", "join", "_wait_for_tstate_lock", "_shutdown"}),
    selectors.__file__: frozenset({"select"}),
    runners.__file__: frozenset({"run"}),  # a loop of C (uvloop) has no frame of its own: asleep, or in its own code
}
"""The functions that block, by file: one of them is the top frame of a thread that waits."""
_ROOMS = {
    threading.__file__: "threading",
    queue.__file__: "queue",
    concurrent.futures._base.__file__: "concurrent.futures",
    concurrent.futures.thread.__file__: "concurrent.futures",
}
_METHODS = {
    "concurrent.futures.Executor.map.<locals>.result_iterator": "concurrent.futures.Executor.map",
    "concurrent.futures.Executor.__exit__": "concurrent.futures.Executor.shutdown",
    "concurrent.futures.ThreadPoolExecutor.shutdown": "concurrent.futures.Executor.shutdown",
}
_POOL_WORKER = concurrent.futures.thread._worker.__code__  # on top: it waits for work
_THREADS_OWN = frozenset({"run", "_bootstrap", "_bootstrap_inner", "_worker"})  # below everything that a thread does

_numbers = itertools.count(1)
_watched: dict[int, str] = {}  # threads that have called the SDK, by ident, with their name
_covered: dict[int, int] = {}  # claims and public calls that a thread is in
_left = 0  # how often one left its last one; a count that is lost does no harm
_uncovered_ns: dict[int, int] = {}  # when it left the last one: what it does since then began after


def watch(thread: int) -> None:
    """The calling thread uses the SDK, and something may be in flight."""
    if thread not in _watched:
        _watched[thread] = threading.current_thread().name
    if _sampler.is_asleep:
        _sampler.wake()


def cover(thread: int) -> None:
    """A claim or a public call tells of the calling thread's wait from now on."""
    _covered[thread] = _covered.get(thread, 0) + 1
    watch(thread)


def uncover(thread: int) -> None:
    """It does so no longer."""
    global _left
    left = _covered.get(thread, 0) - 1
    if left > 0:
        _covered[thread] = left
    else:
        _covered.pop(thread, None)
        _uncovered_ns[thread] = time.perf_counter_ns()
        _left += 1
        if _sampler.is_asleep:
            _sampler.wake()


def stop() -> None:
    """Sample no more: have what is under way told, and forget the rest. Waits for the thread, 1 s at most."""
    _sampler.stop()
    _start_over()


def method_of(frame: FrameType) -> str | None:
    """In which function of the standard library does a thread with this top frame wait? None: it does not."""
    code = frame.f_code
    names = _BLOCKING.get(code.co_filename)
    if names is None or code.co_name not in names:
        return None
    if code.co_filename == runners.__file__:
        return ASYNCIO
    if code.co_filename == selectors.__file__:
        return ASYNCIO if _is_of_a_loop(frame) else None
    outermost = frame
    while (caller := outermost.f_back) is not None and caller.f_code.co_filename in _ROOMS:
        if caller.f_code.co_name in _THREADS_OWN:
            break
        outermost = caller
    return _name_of(outermost.f_code)


@functools.lru_cache(maxsize=256)  # there are a dozen such functions
def _name_of(code: CodeType) -> str:
    name = f"{_ROOMS[code.co_filename]}.{code.co_qualname}"
    return _METHODS.get(name, name)


def _is_of_a_loop(select: FrameType) -> bool:
    """Does an event loop ask? `subprocess` and `multiprocessing` ask selectors, too."""
    caller = select.f_back
    if caller is not None and caller.f_code.co_filename == loop.__file__:
        caller = caller.f_back
    return caller is not None and caller.f_code.co_filename == base_events.__file__


class Wait:
    """A run of samples in which one thread waited in one function."""

    __slots__ = ("began_ns", "first_ns", "last_ns", "metadata", "tell_at_ns")

    def __init__(self, thread: int, thread_name: str, method: str, began_ns: int, now_ns: int) -> None:
        self.began_ns = began_ns
        self.first_ns = self.last_ns = now_ns  # samples
        self.tell_at_ns = began_ns + TELL_FIRST_NS
        self.metadata: dict[str, Any] = {
            "wait_id": next(_numbers),
            "thread": thread,
            "thread_name": thread_name,
            "method": method,
        }

    def tell(self, ended_ns: int, *, goes_on: bool) -> None:
        """Say how long it lasted, or has lasted so far."""
        is_long = self.last_ns > self.first_ns and ended_ns - self.began_ns >= WAIT_MIN_NS
        if is_long and THREAD_WAIT.handlers:
            measured = {
                "duration": ended_ns - self.began_ns,
                "monotonic_time": ended_ns,
                "uncertainty_begin": self.first_ns - self.began_ns,
                "uncertainty_end": ended_ns - self.last_ns,
            }
            THREAD_WAIT.execute(measured, {**self.metadata, "goes_on": goes_on})


class Waits:
    """The waits under way. `look` takes what one sample saw; it reads no clock and no frame."""

    def __init__(self, looked_ns: int) -> None:
        self._waits: dict[int, Wait] = {}
        self._looked_ns = looked_ns

    def look(self, now_ns: int, waiting: Mapping[int, str]) -> None:
        """At `now_ns` these threads wait, in these methods, and any other does not."""
        for thread, wait in list(self._waits.items()):
            if waiting.get(thread) != wait.metadata["method"]:
                del self._waits[thread]
                wait.tell((wait.last_ns + now_ns) // 2, goes_on=False)
        for thread, method in waiting.items():
            known = self._waits.get(thread)
            if known is None:
                since_ns = max(self._looked_ns, min(_uncovered_ns.get(thread, 0), now_ns))
                name = _watched.get(thread) or threading.main_thread().name
                known = self._waits[thread] = Wait(thread, name, method, (since_ns + now_ns) // 2, now_ns)
            known.last_ns = now_ns
            if now_ns >= known.tell_at_ns:
                known.tell(now_ns, goes_on=True)
                known.tell_at_ns = now_ns + min(now_ns - known.began_ns, TELL_EACH_NS)
        self._looked_ns = now_ns


class Pace:
    """How long until the next look."""

    def __init__(self, now_ns: int) -> None:
        self._state: object = None
        self._since_ns = now_ns
        self._covered_ns: int | None = None  # since when each look has found every thread in a claim, in one or another

    def period_ns(self, now_ns: int, seen: Seen) -> int | None:
        """None: not before a thread leaves its claim, or another one calls."""
        if seen != self._state:
            self._state, self._since_ns = seen, now_ns
        lasted_ns = now_ns - self._since_ns
        least_ns, most_ns = PERIODS_NS
        if seen.is_covered:
            self._covered_ns = now_ns if self._covered_ns is None else self._covered_ns
            if lasted_ns >= COVERED_NS:
                return None
            return COVERED_PERIOD_NS if now_ns - self._covered_ns < COVERED_NS else most_ns
        self._covered_ns = None
        if seen.runs and lasted_ns >= FRESH_NS:
            least_ns = RUNNING_NS
        return max(least_ns, min(lasted_ns // PERIOD_SHARE, most_ns))


class Seen(NamedTuple):
    """What one look at the frames saw: who waits, in which method; does any other run; is every thread in a claim? And
    how often one had left its claim by then."""

    waiting: dict[int, str]
    runs: bool
    is_covered: bool
    left: int


def _look() -> Seen:
    """What the program's threads stand in now."""
    uncovered = _uncovered()
    waiting: dict[int, str] = {}
    runs = False
    if not uncovered:
        return Seen(waiting, runs, True, _left)
    frames = sys._current_frames()
    del frames[threading.get_ident()]  # our own holds this dict: a circle that would keep the program's frames
    for thread in uncovered:
        frame = frames.get(thread)
        if frame is None:
            _forget(thread)  # it has ended; another one may get its ident
        elif (method := method_of(frame)) is not None:
            waiting[thread] = method
        elif frame.f_code is not _POOL_WORKER:
            runs = True
    return Seen(waiting, runs, False, _left)


class _Sampler:
    """The thread, and what wakes and stops it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._work = threading.Event()
        self._is_over = False
        self.is_asleep = True

    @guard(_PLACE)  # the system may give no thread
    def wake(self) -> None:
        """There may be something to see. Not worth a call while it looks."""
        if not THREAD_WAIT.handlers or not in_flight():
            return
        with self._lock:
            if self._is_over:
                return
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="tinkertape-waits", daemon=True)
                thread.start()
                self._thread = thread
        self._work.set()

    def stop(self) -> None:
        with self._lock:
            self._is_over = True
            thread = self._thread
        self._work.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _run(self) -> None:
        while not self._is_over and not disabled(_PLACE):
            self.is_asleep = False
            self._sample_on()
            self._work.clear()
            self.is_asleep = True
            if in_flight() and _uncovered():  # since the last look: whoever came has seen it awake
                self._work.set()
            if not self._is_over:
                self._work.wait()

    @guard(_PLACE)
    def _sample_on(self) -> None:
        """Look, and look again, until there is nothing to see."""
        now_ns = time.perf_counter_ns()
        waits, pace = Waits(now_ns), Pace(now_ns)
        try:
            while in_flight() and not self._is_over:
                seen = _look()
                now_ns = time.perf_counter_ns()
                waits.look(now_ns, seen.waiting)
                period_ns = pace.period_ns(now_ns, seen)
                if period_ns is None:
                    return
                sleep(period_ns / 1e9)
        finally:
            waits.look(time.perf_counter_ns(), {})


def _uncovered() -> list[int]:
    """The threads that no claim or public call tells of."""
    main = threading.main_thread().ident or 0
    return [each for each in {main, *_watched} if each not in _covered and each not in loop.sdk_threads]


def _forget(thread: int) -> None:
    _watched.pop(thread, None)
    _uncovered_ns.pop(thread, None)


def _start_over() -> None:
    global _sampler
    _watched.clear()
    _covered.clear()
    _uncovered_ns.clear()
    loop.forget_sdk_threads()
    _sampler = _Sampler()


_sampler = _Sampler()
os.register_at_fork(after_in_child=_start_over)
