"""The service's clockwork: promises, and the line in which one model's promises are computed, one after another.

Invariants  A promise is started after every promise of its line with a lower seq is ready. Compute follows a schedule:
            it ends at start + planned time, on the monotonic clock, whatever the arithmetic took. A pause holds the
            whole line: the promise that met it, and those behind. Stamps are taken at the instants, not planned.
Threads     none: everything runs on the service's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tinkertape.sim.errors import RequestFailed
from tinkertape.sim.faults import Pause
from tinkertape.sim.payloads import Payload, Result
from tinkertape.sim.scenario import Scenario
from tinkertape.sim.truth import Truth

SECOND = 1_000_000_000
ARITHMETIC_AFTER_NS = (
    10_000_000  # the loop is busy with it for about 1 ms: not while answers are due and submits arrive
)


class Signal:
    """Wakes everyone who waits at this moment; it does not stay set."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def fire(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """True when it fired, False when the time was over."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            done, _ = await asyncio.wait((waiting,), timeout=timeout_s)
        finally:
            self._waiting.discard(waiting)
        return bool(done)


async def sleep_until(deadline_ns: int) -> None:
    while (left_ns := deadline_ns - time.perf_counter_ns()) > 0:
        await asyncio.sleep(left_ns / SECOND)


@dataclass(eq=False)
class Hold:
    """A pause that has begun."""

    number: int
    pause: Pause
    began_ns: int
    ended_ns: int | None = None
    told: list[str] = field(default_factory=list)  # request ids whose polls were answered with it

    def overlap_ns(self, from_ns: int, to_ns: int) -> int:
        ended_ns = to_ns if self.ended_ns is None else self.ended_ns
        return max(0, min(ended_ns, to_ns) - max(self.began_ns, from_ns))


class Line:
    """One model's queue, in the order of seq; a sample has a line of its own."""

    def __init__(self, model_id: str | None, first_seq: int = 0) -> None:
        self.model_id = model_id
        self.next_seq = first_seq
        self.known: set[int] = set()
        self.holds: list[Hold] = []
        self.changed = Signal()

    @property
    def hold(self) -> Hold | None:
        """The pause in force."""
        return self.holds[-1] if self.holds and self.holds[-1].ended_ns is None else None

    def held_ns(self, from_ns: int, to_ns: int) -> int:
        return sum(hold.overlap_ns(from_ns, to_ns) for hold in self.holds)

    def free_seq(self) -> int:
        """The next one that nobody has taken."""
        return max(self.known | {self.next_seq - 1}) + 1

    async def turn(self, seq: int, gap_s: float, truth: Truth) -> None:
        """Wait until every lower seq is done. One that never comes is passed over after `gap_s`."""
        while self.next_seq < seq:
            waited_for = self.next_seq
            missing = waited_for not in self.known
            moved = await self.changed.wait(gap_s if missing else None)
            if not moved and self.next_seq == waited_for and waited_for not in self.known:
                truth.write("skipped", model_id=self.model_id, seq=waited_for)
                self.done(min(known for known in self.known if known > waited_for) - 1)

    def done(self, seq: int) -> None:
        self.next_seq = max(self.next_seq, seq + 1)
        self.changed.fire()


@dataclass(eq=False)
class Promise:
    """The service's side of one API future: work to do in a line, and in the end an answer."""

    request_id: str
    request_type: str
    nth: int
    line: Line
    seq: int
    work: Callable[[], Result]
    accepted_ns: int
    tokens: int = 0
    expired: bool = False  # the service has forgotten it
    payload: Payload | None = None  # None: pending
    ready_ns: int = 0
    polls: int = 0
    told: Hold | None = None
    announced: bool = False  # its size was told
    answered: bool = False
    changed: Signal = field(default_factory=Signal)

    def keys(self) -> dict[str, Any]:
        """What every line of the truth says of it."""
        return {
            "request_id": self.request_id,
            "request_type": self.request_type,
            "nth": self.nth,
            "model_id": self.line.model_id,
            "seq": self.seq,
        }


class Works:
    """Computes promises by a scenario, and writes the truth of it."""

    def __init__(self, scenario: Scenario, truth: Truth, keep: Callable[[], None]) -> None:
        """`keep` is called when a promise has changed what clients have made."""
        self.scenario = scenario
        self.truth = truth
        self._keep = keep
        self._tasks: dict[Promise, asyncio.Task[None]] = {}
        self._holds = 0
        self.finished = Signal()  # some promise is ready
        self._promises: dict[Line, list[Promise]] = {}
        self._began_ns = time.perf_counter_ns()

    def begin(self, promise: Promise) -> None:
        promise.line.known.add(promise.seq)
        promise.line.changed.fire()
        self._promises.setdefault(promise.line, []).append(promise)
        task = asyncio.get_running_loop().create_task(self._run(promise))
        self._tasks[promise] = task
        task.add_done_callback(lambda task: self._over(task, promise))

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def forget(self) -> None:
        """Stop computing whatever is not ready; nobody will be told of it."""
        for promise, task in list(self._tasks.items()):
            self.expire(promise, "restarted")
            task.cancel()
            promise.line.done(promise.seq)

    def expire(self, promise: Promise, why: str) -> None:
        promise.expired = True
        promise.changed.fire()
        self.truth.write("expired", **promise.keys(), why=why)

    def _over(self, task: asyncio.Task[None], promise: Promise) -> None:
        del self._tasks[promise]
        waiting = self._promises[promise.line]
        waiting.remove(promise)
        if not waiting:
            del self._promises[promise.line]
        if (
            not task.cancelled() and (error := task.exception()) is not None
        ):  # a bug of ours must not leave a client waiting
            text = f"the simulated service has a bug: {type(error).__name__}: {error}"
            self._finish(promise, Payload.failure(RequestFailed(text, "server")), time.perf_counter_ns())

    async def _run(self, promise: Promise) -> None:
        line = promise.line
        await line.turn(promise.seq, self.scenario.seq_gap_s, self.truth)
        try:
            if not promise.expired:
                await self._compute(promise)
        finally:
            line.done(promise.seq)

    async def _compute(self, promise: Promise) -> None:
        pause = self.scenario.pause(promise.request_type, promise.nth)
        if pause is not None and pause.after_s <= 0:
            await self._hold(promise, pause)
        started_ns = time.perf_counter_ns()
        planned_ns = self._planned_ns(promise, started_ns)
        waited_ns = started_ns - promise.accepted_ns
        self.truth.write("started", at_ns=started_ns, **promise.keys(), scheduled_ns=planned_ns, wait_ns=waited_ns)
        await sleep_until(started_ns + min(ARITHMETIC_AFTER_NS, planned_ns // 4))
        payload = self._outcome(promise)
        held_ns = 0
        if pause is not None and pause.after_s > 0:
            await sleep_until(started_ns + int(pause.after_s * SECOND))
            held_ns = await self._hold(promise, pause)
        await sleep_until(started_ns + planned_ns + held_ns)
        self._finish(promise, payload, started_ns)

    def _planned_ns(self, promise: Promise, started_ns: int) -> int:
        """How long it is to compute; that it is slow is written down."""
        usual_s = self.scenario.usual_s(promise.request_type, promise.nth, promise.tokens)
        at_s = (started_ns - self._began_ns) / SECOND
        factor = self.scenario.slow_factor(promise.request_type, promise.nth, at_s)
        if factor != 1.0:
            times = {"usual_s": round(usual_s, 6), "factor": factor, "scheduled_s": usual_s * factor}
            self.truth.write("slow", at_ns=started_ns, **promise.keys(), **times)
        return int(usual_s * factor * SECOND)

    def _outcome(self, promise: Promise) -> Payload:
        """Do the arithmetic and the encoding, inside the planned time."""
        fault = self.scenario.future_fault(promise.request_type, promise.nth)
        try:
            if fault is not None:
                raise RequestFailed(fault.message, fault.category)
            result = promise.work()
            if promise.request_type != "Sample":
                self._keep()
            return Payload.of(result)
        except RequestFailed as failure:
            note: dict[str, Any] = {"kind": "future", "injected": fault is not None, "status": None, "attempt": 1}
            self.truth.write("fault", **promise.keys(), **note, category=failure.category, message=failure.message)
            return Payload.failure(failure)

    async def _hold(self, promise: Promise, pause: Pause) -> int:
        """Hold the line for the pause's length, tell whoever polls, and return how long it really was."""
        self._holds += 1
        hold = Hold(self._holds, pause, time.perf_counter_ns())
        keys = promise.keys() | {"pause": hold.number, "reason": pause.reason}
        self.truth.write("paused", at_ns=hold.began_ns, **keys, text=pause.text, length_s=pause.length_s)
        promise.line.holds.append(hold)
        self._wake(promise.line)
        try:
            await sleep_until(hold.began_ns + int(pause.length_s * SECOND))
        finally:  # also when the promise is forgotten meanwhile
            hold.ended_ns = time.perf_counter_ns()
            duration_ns = hold.ended_ns - hold.began_ns
            self.truth.write("resumed", at_ns=hold.ended_ns, **keys, duration_ns=duration_ns, request_ids=hold.told)
            self._wake(promise.line)
        return duration_ns

    def _wake(self, line: Line) -> None:
        for promise in self._promises.get(line, ()):
            promise.changed.fire()

    def _finish(self, promise: Promise, payload: Payload, started_ns: int) -> None:
        if promise.payload is not None:
            return
        ready_ns, line = time.perf_counter_ns(), promise.line
        total_ns = ready_ns - promise.accepted_ns
        queue_ns = line.held_ns(promise.accepted_ns, ready_ns)
        compute_ns = ready_ns - started_ns - line.held_ns(started_ns, ready_ns)
        spans = {"compute_ns": compute_ns, "queue_ns": queue_ns, "behind_ns": total_ns - queue_ns - compute_ns}
        outcome = {"failed": payload.failed, "total_ns": total_ns, "response_bytes": payload.size}
        self.truth.write("ready", at_ns=ready_ns, **promise.keys(), **spans, **outcome)
        promise.ready_ns, promise.payload = ready_ns, payload
        promise.changed.fire()
        self.finished.fire()
