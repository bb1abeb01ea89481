"""The live adapter: hears what executes on a bus, finds what is wrong with the run, and says so on the same bus.

Threads  `_keep` runs in the thread that executes the event: it appends to a deque, and does nothing else. The thread
         "tinkertape-watcher", a daemon, folds what came, each `PERIOD_S`, in chunks of `CHUNK` events with a sleep
         between them, so that it never holds the interpreter for long; it executes `diagnosis.finding`, so who attaches
         to that is called in it.
Locks    `_lock`: one chunk at a time; never taken by `_keep`, never held while handlers run.
Fork     a child's watcher hears nothing and has no thread: its events are another process's. Nothing else is done.
Exit     `close` stops listening and waits for the thread, `CLOSE_S` at most; what it had not yet looked at is left to
         the report.
Bounds   what is settled is forgotten (`live.py`). Above `BUSY` events a period only every second sampling call is
         looked at, then every fourth, up to one in 256, then no call at all until there are fewer; pauses, retries and
         failures are heard all the same. So the thread takes half a percent of a core at most. Above `MOST` waiting
         events new ones are counted in `missed`, and the watcher begins anew.
Told     it takes no `EventType.tell`: which call an event is of, its metadata say, so a busy program would describe
         each event once for the watcher and once more for the tape.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tinkertape.bus import Bus
from tinkertape.context import Event, current_scope, replayed_event, replaying
from tinkertape.diagnosis.findings import Finding
from tinkertape.diagnosis.live import LiveDiagnoser, Told
from tinkertape.events import DIAGNOSIS_FINDING
from tinkertape.guard import disabled, guarded

PERIOD_S = 0.25
CHUNK = 64  # events: about 0.3 ms
BREATH_S = 0.001  # between two chunks
CLOSE_S = 0.5
MOST = 20_000  # events waiting: about 20 MB
BUSY = 40  # events folded a period: 0.3 ms of CPU, on a busy machine 0.5
THINNED = frozenset(("sample", "compute_logprobs"))  # not training: one call stands before another in the model's queue
MOST_THINNED = 0xFF  # of a call's number: one in 256
EVERY_CALL = -1
STEP_ENDS = "tinker.training.optim_step.stop"  # always heard: by it the step is known
PLACE = "diagnosis.watcher"

_Heard = tuple[str, Mapping[str, Any], Mapping[str, Any], int, Mapping[str, Any], Event | None]
_now_ns, _scope_get = time.perf_counter_ns, current_scope.get


class Watcher:
    """Diagnoses the run that executes on a bus, live, once it is started. Made by `watch`; also a context manager."""

    def __init__(self, bus: Bus, only: str | None = None) -> None:
        self._bus = bus
        self._only = only
        self._waiting: deque[_Heard] = deque()
        self._diagnoser = LiveDiagnoser(only)
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self.thread: threading.Thread | None = None
        self._wall_ns = time.time_ns() - time.perf_counter_ns()
        self._mask = 0  # calls whose number has one of these bits are not looked at
        self._thinned_before = 0
        self._training = 0  # events of this look that no mask but `EVERY_CALL` thins
        self._lost = False
        self.missed = 0  # events that came while too many were waiting
        self.thinned = 0  # events of calls that were not looked at
        self._ids: list[object] = []
        self._listen()
        _watchers.add(self)

    def _listen(self) -> None:
        names, prefixes = self._diagnoser.listens
        self._ids = [("tinkertape.diagnosis", id(self), prefix) for prefix in ("names", *sorted(prefixes))]
        self._bus.attach_many(self._ids[0], sorted(names), self._keep, on_failure="keep")
        for handler_id, prefix in zip(self._ids[1:], sorted(prefixes), strict=True):
            self._bus.attach_all(handler_id, self._keep, prefix=prefix, on_failure="keep")

    def _keep(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], _: object) -> None:
        if self._mask and _is_thinned(event, metadata, self._mask):
            self.thinned += 1
        elif len(self._waiting) < MOST:
            # no copies: each event of our sources has dicts of its own
            self._waiting.append((event, measurements, metadata, _now_ns(), _scope_get(), replayed_event(event)))
        else:
            self.missed += 1
            self._lost = True

    def start(self) -> Watcher:
        """Look from now on, each quarter of a second, in a thread of its own."""
        self.thread = threading.Thread(target=self._run, name="tinkertape-watcher", daemon=True)
        self.thread.start()
        return self

    def _run(self) -> None:
        while not self._closed.wait(PERIOD_S) and not disabled(PLACE):
            with guarded(PLACE):
                self.look()
        if disabled(PLACE):
            self._detach()

    def look(self) -> None:
        """Fold what waits now, and tell what was found. In the caller's thread."""
        number = left = len(self._waiting)
        while left > 0 and not self._closed.is_set():
            with self._lock:
                found = self._fold(min(left, CHUNK))
            left -= CHUNK
            for event, told in found:
                self._tell(event, told)
            if left > 0:
                time.sleep(BREATH_S)
        self._thin(number)
        with self._lock:
            if self._lost:
                self._begin_anew()
            elif self._mask:
                self._diagnoser.leave_out(None if self._mask == EVERY_CALL else THINNED, self._mask)

    def _fold(self, number: int) -> list[tuple[Event, Told]]:
        found = []
        for _ in range(min(number, len(self._waiting))):
            event = self._event_of(self._waiting.popleft())
            self._training += event.metadata.get("operation") not in THINNED
            found += [(event, told) for told in self._diagnoser.feed(event)]
        return found

    def _event_of(self, heard: _Heard) -> Event:
        name, measurements, metadata, now_ns, scope, replayed = heard
        if replayed is not None:
            return replayed
        return Event(
            name=name,
            measurements=measurements if type(measurements) is dict else dict(measurements),
            metadata=metadata if type(metadata) is dict else dict(metadata),
            time_ns=now_ns + self._wall_ns,
            monotonic_ns=now_ns,
            scope=scope,
        )

    def _thin(self, number: int) -> None:
        """Look at fewer calls, or at more, as there were so many events since the last look."""
        came = number + self.thinned - self._thinned_before
        training, self._training = self._training, 0
        self._thinned_before = self.thinned
        if came <= BUSY:
            self._mask = 0
        elif self._mask == EVERY_CALL or training > BUSY:
            self._mask = EVERY_CALL
        else:
            self._mask = min((1 << (came // BUSY).bit_length()) - 1, MOST_THINNED)

    def _begin_anew(self) -> None:
        """What was missed may be the end of anything: no call or pause that is known to be open may be so still."""
        self._waiting.clear()
        self._diagnoser = LiveDiagnoser(self._only)
        self._lost = False

    def _tell(self, event: Event, told: Told) -> None:
        finding, evidence = told.finding, told.finding.evidence
        measured = {
            "cost": round((finding.cost_s or 0.0) * 1e9),
            "since": evidence.began_ns,
            "monotonic_time": event.monotonic_ns,
        }
        metadata = {
            "cause": finding.cause,
            "owner": finding.owner,
            "severity": finding.severity,
            "summary": finding.summary,
            "state": told.state,
            "step": told.step,
            "request_ids": list(evidence.request_ids),
            "key": "|".join(finding.identity),
        }
        if event.index < 0:
            self._bus.execute(DIAGNOSIS_FINDING.name, measured, metadata)
        else:
            with replaying(event):  # of another run: not recorded into this one
                self._bus.execute(DIAGNOSIS_FINDING.name, measured, metadata)

    def findings(self) -> list[Finding]:
        """What was found up to now, of the events that were looked at."""
        with self._lock:
            return self._diagnoser.findings

    @property
    def calls_kept(self) -> int:
        """How many calls are remembered now."""
        return self._diagnoser.kept

    def close(self) -> None:
        """Stop listening and looking. A second call does nothing."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._detach()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(CLOSE_S)

    def _detach(self) -> None:
        attached = {handler.id for handler in self._bus.list_handlers()}
        for handler_id in self._ids:
            if handler_id in attached:
                self._bus.detach(handler_id)

    def _start_over(self) -> None:
        """In a forked child: hear nothing more."""
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._closed.set()
        self.thread = None
        self._waiting.clear()
        self._detach()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _is_thinned(event: str, metadata: Mapping[str, Any], mask: int) -> bool:
    """Is it the usual course of a call that is not looked at? What tells of trouble is always heard."""
    number = metadata.get("operation_id")
    if not isinstance(number, int) or not number & mask:
        return False
    if mask != EVERY_CALL and metadata.get("operation") not in THINNED:
        return False
    if event.startswith(("tinker.queue.", "tinker.retry")) or event.endswith(".exception") or event == STEP_ENDS:
        return False
    status = metadata.get("status_code")
    return not isinstance(status, int) or status < 400 or status == 408  # a poll that says "not yet"


_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()  # a fork hook cannot be removed: one a module, holding nobody


def _after_fork() -> None:
    for watcher in list(_watchers):
        with guarded(PLACE):
            watcher._start_over()


os.register_at_fork(after_in_child=_after_fork)


def watch(bus: Bus, only: str | None = None) -> Watcher:
    """Diagnose what executes on a bus from now on, in a thread of its own. `only` is one cause; None is all.

    Costs the program one append an event, and the thread's CPU (benchmarks/RESULTS.md). Each finding is told as a
    `diagnosis.finding` on the same bus. Raises `ConfigError` for an unknown cause. Close it when done.
    """
    return Watcher(bus, only).start()
