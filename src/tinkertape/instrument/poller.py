"""`Poller`: measures again and again, at a fixed rate, and tells the bus.

A tick is never moved by what a run took: the k-th is due at the start plus k periods (facts/beam.md L18 BEAT). What
is due is handed to a small pool, so that a slow measurement delays no other; one that still runs at its next tick skips
it, and is never run twice at once. One that fails is tried again at ticks that double their distance, and stays (L11
BEAT): `poller.measurement.failure` says so, and it is recorded like any event, since there are few of them.

Threads  "tinkertape-poller" keeps the schedule and runs nothing of a stranger's; "tinkertape-poller-worker" threads run
         measurements: one, and another for what would have to wait 20 ms, WORKERS_MAX at most; one that has been idle
         for a minute ends. `collect` runs in the caller's thread. All are daemons.
Locks    `_lock`: held to look at the list, never while a measurement runs.
Fork     a child's pollers stand still, with all their measurements, until `start` is called there.
Exit     `stop` waits 1 s at most; what still runs then is left alone, and what it returns is dropped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tinkertape.bus import Bus, default_bus
from tinkertape.errors import MeasurementNotFound, PollerError
from tinkertape.event_name import event_name
from tinkertape.events import POLLER_FAILURE, EventType
from tinkertape.exception_record import failure_of
from tinkertape.guard import outcome_of
from tinkertape.instrument.jobs import Job, Measurement, Polled, function_of, name_of, nanoseconds

WORKERS_MAX = 8  # so many slow measurements at once delay no other
WORKER_IDLE_S = 60.0
OVERDUE_NS = 20_000_000  # what is due waits so long for the measurement before it, then gets a worker of its own

_log = logging.getLogger("tinkertape")


class _Life:
    """What lives from `start` to `stop`: its threads leave when it is not the poller's any more."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.idle = 0
        self.waiting: deque[Job] = deque()


class Poller:
    """Run each measurement every `period_s` seconds, the first time `init_delay_s` after `start`.

    A measurement is a function without arguments that executes events itself and returns None, or returns
    `(event, measurements, metadata)`, or a list of those; or it is the name of a builtin: "memory", "cpu", "counts",
    "gc", "run_queue". What it returns goes to `bus`, the default one. A context manager: started inside.

    Raises `PollerError` for what cannot be used, before anything changes. Any thread.
    """

    def __init__(
        self,
        measurements: Iterable[Measurement | str],
        *,
        period_s: float = 10.0,
        init_delay_s: float = 0.0,
        bus: Bus | None = None,
    ) -> None:
        if isinstance(measurements, str | Mapping) or not isinstance(measurements, Iterable):
            raise PollerError(f"measurements must be a list of functions and builtin names, got {measurements!r}")
        self._period_ns = nanoseconds("period_s", period_s, least=1)
        self._init_delay_ns = nanoseconds("init_delay_s", init_delay_s, least=0)
        self._bus = bus or default_bus
        self._jobs: dict[str, Job] = {}
        self._leaving: list[Job] = []  # removed while they ran
        self._life: _Life | None = None
        self._paused = False
        self._make_locks()
        for measurement in measurements:
            self.add(measurement)
        _pollers.add(self)

    def _make_locks(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # for the thread that keeps the schedule
        self._handed = threading.Condition(self._lock)  # for the workers

    @property
    def running(self) -> bool:
        """Has it been started, and not stopped since?"""
        return self._life is not None

    def start(self) -> None:
        """Measure from now on. One that runs goes on; one that was paused as a whole is resumed."""
        with self._lock:
            self._paused = False
            if self._life is not None:
                self._changed.notify()
                return
            self._life = life = _Life()
            self._lay_out(self._jobs.values(), self._init_delay_ns)
            try:
                self._start_thread(life, self._keep_schedule, "tinkertape-poller")
                self._start_thread(life, self._work, "tinkertape-poller-worker")
            except RuntimeError:  # no thread is to be had
                self._life = None
                raise

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Measure no more. True when nothing runs any more, within `timeout_s`; does nothing when it does not run."""
        with self._lock:
            life, self._life = self._life, None
            for job in life.waiting if life else ():
                job.running = False  # it will not: the workers leave
            self._changed.notify_all()
            self._handed.notify_all()
        deadline = time.monotonic() + timeout_s
        others = [thread for thread in (life.threads if life else ()) if thread is not threading.current_thread()]
        for thread in others:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in others)

    def add(self, measurement: Measurement | str, *, name: str | None = None, period_s: float | None = None) -> str:
        """Measure this too, at once and each `period_s` (the poller's, if None); the name that it has from now on.

        Raises `PollerError` for what is no measurement, and for a name that is taken.
        """
        period_ns = self._period_ns if period_s is None else nanoseconds("period_s", period_s, least=1)
        function = function_of(measurement)
        if name is not None and (not isinstance(name, str) or not name):
            raise PollerError(f"cannot poll {measurement!r} as {name!r}: a name is a text")
        with self._lock:
            free = self._free_name(measurement, name)
            job = self._jobs[free] = Job(free, function, period_ns)
            job.before = tuple(left for left in self._leaving if left.running and left.function == function)
            self._lay_out([job], 0)
            self._changed.notify()
        return free

    def remove(self, measurement: Measurement | str) -> None:
        """Measure this no more, named or the function itself; what a run under way returns is dropped.

        Raises `MeasurementNotFound`.
        """
        with self._lock:
            job = self._find(measurement)
            job.removed = True
            del self._jobs[job.name]
            self._take_from_line(job)
            self._leaving = [left for left in (*self._leaving, job, *job.before) if left.running]
            self._changed.notify()

    def pause(self, measurement: Measurement | str | None = None) -> None:
        """Measure nothing, or not this one, until `resume`; its ticks pass without being counted."""
        with self._lock:
            if measurement is None:
                self._paused = True
            else:
                self._find(measurement).paused = True

    def resume(self, measurement: Measurement | str | None = None) -> None:
        """Go on after `pause`, at once."""
        with self._lock:
            resumed: Sequence[Job] = list(self._jobs.values())
            if measurement is None:
                self._paused = False
            else:
                resumed = [self._find(measurement)]
                resumed[0].paused = False
            self._lay_out(resumed, 0)
            self._changed.notify()

    def list(self) -> tuple[Polled, ...]:
        """The measurements in the order added, with what became of their ticks."""
        with self._lock:
            return tuple(job.shown() for job in self._jobs.values())

    def collect(self, measurement: Measurement | str | None = None) -> tuple[str, ...]:
        """Measure now, in this thread: this one, or all that are not paused; the names of those that were.

        One that is running at the moment is left to that run. A failure is told as ever, and never raised here.
        """
        with self._lock:
            jobs = [job for job in self._jobs.values() if not job.paused]
            if measurement is not None:
                jobs = [self._find(measurement)]
        return tuple(job.name for job in jobs if self._begin(job) and self._run(job))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _free_name(self, measurement: Measurement | str, name: str | None) -> str:
        wanted = name or (measurement if isinstance(measurement, str) else name_of(measurement))
        if wanted not in self._jobs:
            return wanted
        if name is not None or isinstance(measurement, str):
            raise PollerError(f"cannot poll {wanted!r}: it is polled already; remove it first, or give another name")
        return next(free for number in range(2, 1_000_000) if (free := f"{wanted}#{number}") not in self._jobs)

    def _find(self, measurement: Measurement | str) -> Job:
        if isinstance(measurement, str) and measurement in self._jobs:
            return self._jobs[measurement]
        for job in self._jobs.values():
            if job.function == measurement:
                return job
        known = ", ".join(self._jobs) or "none"
        raise MeasurementNotFound(f"no measurement {measurement!r} is polled; there are: {known}")

    def _lay_out(self, jobs: Iterable[Job], delay_ns: int) -> None:
        first_ns = time.monotonic_ns() + delay_ns
        for job in jobs:
            job.schedule.begin(first_ns)

    def _start_thread(self, life: _Life, work: Callable[[_Life], None], name: str) -> None:
        thread = threading.Thread(target=work, args=(life,), name=name, daemon=True)
        thread.start()  # raises RuntimeError when there is no thread to be had
        life.threads.append(thread)

    def _keep_schedule(self, life: _Life) -> None:
        with self._lock:
            while self._life is life:
                now_ns = time.monotonic_ns()
                ready = [] if self._paused else [job for job in self._jobs.values() if not job.paused]
                for job in ready:
                    if job.schedule.due_ns <= now_ns:
                        self._hand_over(life, job, now_ns)
                wake_ns = [*(job.schedule.due_ns for job in ready), *self._see_to_workers(life, now_ns)]
                self._changed.wait(max(0, min(wake_ns) - time.monotonic_ns()) / 1e9 if wake_ns else None)

    def _hand_over(self, life: _Life, job: Job, now_ns: int) -> None:
        """Give a measurement that is due to the workers; one that still runs, or waits, skips its tick."""
        if job.is_busy:
            job.schedule.skip(now_ns)
            return
        job.schedule.take(now_ns)
        job.begin()
        job.handed_ns = now_ns
        life.waiting.append(job)
        self._handed.notify()

    def _see_to_workers(self, life: _Life, now_ns: int) -> Sequence[int]:
        """Start a worker when there is none, or when the first in the line has waited too long: the others are slow.

        Says when to look again, if that is needed.
        """
        workers = len(life.threads) - 1
        if not life.waiting or life.idle or workers >= WORKERS_MAX:
            return []
        overdue_ns = life.waiting[0].handed_ns + OVERDUE_NS
        if workers and now_ns < overdue_ns:
            return [overdue_ns]
        # no thread may be to be had: out of memory, the interpreter is closing, or the program has broken `threading`
        outcome_of(lambda: self._start_thread(life, self._work, "tinkertape-poller-worker"))
        return [now_ns + OVERDUE_NS]

    def _work(self, life: _Life) -> None:
        while True:
            with self._lock:
                job = self._next_job(life)
            if job is None:
                return
            self._run(job, life)

    def _next_job(self, life: _Life) -> Job | None:
        """Wait for something to run; None when it is time to leave."""
        life.idle += 1
        while not life.waiting and self._life is life:
            if not self._handed.wait(WORKER_IDLE_S) and not life.waiting:
                break
        life.idle -= 1
        if self._life is life and life.waiting:
            return life.waiting.popleft()
        if threading.current_thread() in life.threads:
            life.threads.remove(threading.current_thread())
        return None

    def _begin(self, job: Job) -> bool:
        """Mark a measurement as running, unless it is; one that still waits for a worker is taken from the line."""
        with self._lock:
            self._take_from_line(job)
            if job.is_busy or job.removed:
                return False
            job.begin()
            return True

    def _take_from_line(self, job: Job) -> None:
        """It waits for no worker any more, if it did."""
        if self._life is not None and job in self._life.waiting:
            self._life.waiting.remove(job)
            job.running = False

    def _run(self, job: Job, life: _Life | None = None) -> bool:
        """Measure once, tell it, and say how it went; `life` is None in `collect`."""
        error: BaseException | None = None
        if not job.events or any(self._bus.handlers_of(event.name) for event in job.events):  # else nobody listens
            found, error = outcome_of(job.function)
            if error is None and not job.removed and (life is None or self._life is life):
                _, error = outcome_of(lambda: self._tell(found))
        with self._lock:
            job.running = False
            job.runs += 1
            if error is None:
                job.schedule.succeed()
                return True
            job.failures += 1
            delay_ns = job.schedule.fail(time.monotonic_ns())
            self._changed.notify()
        self._tell_failure(job, error, delay_ns)
        return True

    def _tell(self, found: object) -> None:
        for event in _events_in(found):
            if not _is_event(event):
                raise PollerError(f"a measurement returned {event!r}; return None or (event, measurements, metadata)")
            name = event[0].name if isinstance(event[0], EventType) else event_name(event[0])
            self._bus.execute(name, *event[1:])

    def _tell_failure(self, job: Job, error: BaseException, delay_ns: int) -> None:
        failures = job.schedule.failures
        if failures == 1:
            _log.warning("tinkertape: the measurement %r failed; it is tried again", job.name, exc_info=error)
        if self._bus.handlers_of(POLLER_FAILURE.name):
            failure = failure_of(error)
            del failure["status"]
            self._bus.execute(
                POLLER_FAILURE.name,
                {"failures": failures, "delay": delay_ns, "monotonic_time": time.perf_counter_ns()},
                {"measurement": job.name, **failure},
            )

    def start_over(self) -> None:
        """In the child of a fork: nothing runs, and no lock is held by a thread that is not there."""
        self._make_locks()
        self._life = None
        for job in (*self._jobs.values(), *self._leaving):
            job.running = False


_pollers: weakref.WeakSet[Poller] = weakref.WeakSet()  # a fork hook cannot be removed: one, holding nobody alive


def _start_over() -> None:
    for poller in list(_pollers):
        poller.start_over()


os.register_at_fork(after_in_child=_start_over)


def _is_event(found: Any) -> bool:
    """Handlers, which are others', must not fail for it."""
    if not isinstance(found, tuple) or not 2 <= len(found) <= 3 or not isinstance(found[1], Mapping):
        return False
    return len(found) == 2 or found[2] is None or isinstance(found[2], Mapping)


def _events_in(found: object) -> Sequence[Any]:
    """What a measurement returned: nothing, one event, or several."""
    if found is None:
        return ()
    return found if isinstance(found, list) else (found,)
