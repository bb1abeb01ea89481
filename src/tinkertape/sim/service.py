"""The simulated service's state, and what it does with a submit and with a poll. HTTP is elsewhere (`routes.py`)."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from tinkertape.sim.completions import Feeds, Target
from tinkertape.sim.errors import RequestRefused
from tinkertape.sim.faults import ConnectionFault, LostSession, SubmitFault
from tinkertape.sim.lines import SECOND, Line, Promise, Works, sleep_until
from tinkertape.sim.model import base_logits
from tinkertape.sim.network import Network
from tinkertape.sim.payloads import Result
from tinkertape.sim.scenario import Scenario
from tinkertape.sim.shelf import Run, Shelf
from tinkertape.sim.state import State
from tinkertape.sim.truth import Truth

PREFIX = "/api/v1"
PROMISES_MAX = (
    20_000  # the oldest answered ones are forgotten beyond this; a poll for them is answered 410, as by the real one
)
EXPIRED: dict[str, object] = {"detail": "this promise is not known, or has expired"}
TRANSIENT = (408, 409, 429)  # the SDK sends the request again after these, and after 5xx


class Refusal(RequestRefused):
    """A refusal that says when to come again."""

    def __init__(self, status: int, message: str, retry_after_s: float | None) -> None:
        super().__init__(status, message)
        self.retry_after_s = retry_after_s


@dataclass
class Exchange:
    """What is known of one HTTP exchange while it is handled."""

    headers_ns: int
    attempt: int
    body_ns: int = 0
    request_bytes: int = 0
    request_id: str | None = None
    fault: ConnectionFault | None = None  # its connection is to break
    fault_keys: dict[str, Any] = field(default_factory=dict)


@dataclass
class Submission:
    """One request, however often it is sent: its type, and what tells it from the others of its type."""

    request_type: str
    session_id: str
    identity: Hashable
    line: Line
    seq: int | None
    work: Callable[[], Result]
    tokens: int = 0


@dataclass(frozen=True)
class PollAnswer:
    status: int
    body: bytes | dict[str, object]
    content_type: str = "application/json"
    retry_after_s: float | None = None


@dataclass
class Known:
    """A request that was seen: its number, the attempts so far, and its promise once it is accepted."""

    nth: int
    attempts: int = 0
    promises: int = 0
    promise: Promise | None = None  # the last


class Service:
    """One service. All methods run on its event loop."""

    def __init__(self, scenario: Scenario, truth: Truth, state: State | None = None) -> None:
        self.scenario = scenario
        self.truth = truth
        self.shelf = Shelf()
        self.base = base_logits(scenario.vocabulary)
        self._state = state
        if state is not None:
            state.load(self.shelf, self.base)
        self.works = Works(scenario, truth, self.keep)
        self.feeds: Feeds | None = Feeds() if scenario.client_config.get("sample_use_retrieve_futures") else None
        self.network = Network(scenario, truth, self.works.forget)
        self.promises: OrderedDict[str, Promise] = OrderedDict()
        self.closing = False
        self._known: dict[tuple[str, Hashable], Known] = {}
        self._counts: Counter[str] = Counter()
        self._exchanges = 0

    def travel_s(self, path: str) -> tuple[float, float]:
        """How long the next exchange, with this path, is on its way: there, and back."""
        self._exchanges += 1
        return self.scenario.travel_s(path.removeprefix(PREFIX), self._exchanges)

    def keep(self) -> None:
        """Write down what clients have made, where there is a folder for it."""
        if self._state is not None:
            self._state.keep(self.shelf)

    def new_session(self) -> str:
        session_id = str(uuid.uuid4())  # unlike across runs of the service: a store files events under it
        self.shelf.sessions.add(session_id)
        return session_id

    def run(self, model_id: str) -> Run:
        if model_id not in self.shelf.runs:
            raise RequestRefused(404, f"there is no model {model_id!r}")
        return self.shelf.runs[model_id]

    def submit(self, submission: Submission, exchange: Exchange) -> Promise:
        """Accept a request, or refuse it as the scenario says. The same request sent again is the same promise."""
        known = self._see(submission)
        known.attempts += 1
        is_new = known.promise is None or known.promise.expired
        fault = self._fault(submission, known, is_new)
        if fault is not None:
            self._refuse(submission, known, fault)
        keys = {"request_type": submission.request_type, "nth": known.nth, "attempt": known.attempts}
        self._break("submit", exchange, keys)
        if is_new:
            known.promise = self._accept(submission, known, exchange)
        assert known.promise is not None
        exchange.request_id = known.promise.request_id
        return known.promise

    def _fault(self, submission: Submission, known: Known, is_new: bool) -> SubmitFault | None:
        fault = self.scenario.submit_fault(submission.request_type, known.nth, known.attempts)
        if fault is None and submission.session_id in self.shelf.lost_sessions:
            fault = SubmitFault(nth=known.nth, status=410, message=f"the session {submission.session_id!r} is over")
        if fault is None and is_new and self._is_full(submission.request_type):
            fault = SubmitFault(nth=known.nth, status=429, message="too many samples at once")
        return fault

    def _is_full(self, request_type: str) -> bool:
        most = self.scenario.samples_at_once
        if not most or request_type != "Sample":
            return False
        making = (p for p in self.promises.values() if p.payload is None and not p.expired)
        return most <= sum(p.request_type == "Sample" for p in making)

    def _break(self, on: str, exchange: Exchange, keys: dict[str, Any]) -> None:
        """Is the connection to break? Before the answer: what is raised here is not sent any more."""
        fault = self.scenario.connection_fault(on, keys["request_type"], keys["nth"], keys["attempt"])
        exchange.fault, exchange.fault_keys = fault, keys
        if fault is not None and fault.how in ("reset", "hang"):
            raise RequestRefused(503, "the connection is reset")

    def _see(self, submission: Submission) -> Known:
        key = (submission.request_type, submission.identity)
        if key not in self._known:
            self._counts[submission.request_type] += 1
            self._known[key] = Known(self._counts[submission.request_type])
        return self._known[key]

    def _refuse(self, submission: Submission, known: Known, fault: SubmitFault) -> None:
        note: dict[str, Any] = {"request_id": None, "request_type": submission.request_type, "nth": known.nth}
        note |= {"model_id": submission.line.model_id, "seq": submission.seq, "attempt": known.attempts}
        note |= {"kind": "submit", "injected": True, "status": fault.status, "category": None, "message": fault.message}
        self.truth.write("fault", **note)
        if submission.seq is not None and fault.status < 500 and fault.status not in TRANSIENT:
            submission.line.known.add(submission.seq)  # it will not be sent again: those behind it need not wait
            if submission.line.next_seq == submission.seq:
                submission.line.done(submission.seq)
        raise Refusal(fault.status, fault.message, fault.retry_after_s)

    def _accept(self, submission: Submission, known: Known, exchange: Exchange) -> Promise:
        line = submission.line
        seq = line.free_seq() if submission.seq is None else submission.seq
        request_id = str(uuid.uuid4())
        accepted_ns = time.perf_counter_ns()
        promise = Promise(
            request_id, submission.request_type, known.nth, line, seq, submission.work, accepted_ns, submission.tokens
        )
        stamps = {
            "headers_ns": exchange.headers_ns,
            "body_ns": exchange.body_ns,
            "request_bytes": exchange.request_bytes,
        }
        self.truth.write("accepted", at_ns=accepted_ns, **promise.keys(), **stamps, tokens=promise.tokens)
        self.promises[request_id] = promise
        self._forget()
        known.promises += 1
        self._begin(promise, known)
        return promise

    def _begin(self, promise: Promise, known: Known) -> None:
        """Let it be computed, and come what comes with it."""
        expiry = self.scenario.expiry(promise.request_type, promise.nth)
        if expiry is not None and known.promises <= expiry.times:
            self.works.expire(promise, "lost")
        self.works.begin(promise)
        outage = self.scenario.outage(promise.request_type, promise.nth)
        if outage is not None:
            self.network.begin(outage, promise.keys())
        loss = self.scenario.lost_session(promise.request_type, promise.nth)
        if loss is not None:
            self.network.go_on(self._lose_sessions(loss, promise.keys()))

    async def _lose_sessions(self, loss: LostSession, keys: dict[str, Any]) -> None:
        await asyncio.sleep(loss.after_s)
        self.shelf.lost_sessions |= self.shelf.sessions
        self.truth.write("sessions_lost", **keys, session_ids=sorted(self.shelf.sessions))

    def _forget(self) -> None:
        while len(self.promises) > PROMISES_MAX and next(iter(self.promises.values())).answered:
            self.promises.popitem(last=False)

    async def poll(
        self, request_id: str, exchange: Exchange, *, allow_metadata_only: bool, protobuf: bool
    ) -> PollAnswer:
        """Answer whether a promise is ready: at once when it is, or when its queue is held; else after the hold time.

        A pause is told at once to a poll that does not know of it; later polls during it are held, too, and answered
        paused. When a pause ends, a held poll waits on (with `tell_resume`, it is answered).
        """
        promise = self.promises.get(request_id)
        if promise is None:
            return PollAnswer(410, EXPIRED)
        promise.polls += 1
        fault = self.scenario.poll_fault(promise.request_type, promise.nth, promise.polls)
        if fault is not None:
            rest: dict[str, Any] = {
                "kind": "poll",
                "injected": True,
                "status": fault.status,
                "category": None,
                "message": fault.message,
            }
            self.truth.write("fault", **promise.keys(), attempt=promise.polls, **rest)
            return PollAnswer(fault.status, {"detail": fault.message}, retry_after_s=fault.retry_after_s)
        self._break("poll", exchange, promise.keys() | {"attempt": promise.polls})
        deadline_ns = time.perf_counter_ns() + int(self.scenario.poll_hold_s * SECOND)
        if self.scenario.answer_at_hold:
            await sleep_until(deadline_ns)
        while promise.payload is None:
            if promise.expired:
                return PollAnswer(410, EXPIRED)
            if self.closing:
                return PollAnswer(503, {"detail": "the simulated service is going away"})
            left_s = (deadline_ns - time.perf_counter_ns()) / SECOND
            if self._has_news(promise) or left_s <= 0:
                return self._pending(promise)
            await promise.changed.wait(left_s)
        return self._ready(promise, allow_metadata_only=allow_metadata_only, protobuf=protobuf)

    async def completions(self, target: Target, cursor: int, hold_s: float) -> tuple[list[dict[str, Any]], int]:
        """The samples of one client that became ready after its cursor; held while there is none."""
        if self.feeds is None:
            raise RequestRefused(404, "this service does not offer retrieve_futures; set it in client_config")
        feed, deadline_ns = self.feeds.of(target), time.perf_counter_ns() + int(hold_s * SECOND)
        found, seen = feed.after(cursor)
        while not found and not self.closing and (left_s := (deadline_ns - time.perf_counter_ns()) / SECOND) > 0:
            await self.works.finished.wait(left_s)
            found, seen = feed.after(cursor)
        return found, seen

    def _has_news(self, promise: Promise) -> bool:
        hold = promise.line.hold
        return hold is not promise.told and (hold is not None or self.scenario.tell_resume)

    def _pending(self, promise: Promise) -> PollAnswer:
        hold = promise.line.hold
        body: dict[str, object] = {"type": "try_again", "request_id": promise.request_id, "queue_state": "active"}
        if hold is not None:
            body |= {"queue_state": f"paused_{hold.pause.reason}", "queue_state_reason": hold.pause.text}
            if promise.request_id not in hold.told:
                hold.told.append(promise.request_id)
        promise.told = hold
        return PollAnswer(408, body)

    def _ready(self, promise: Promise, *, allow_metadata_only: bool, protobuf: bool) -> PollAnswer:
        assert promise.payload is not None
        body, content_type = promise.payload.encode(protobuf=protobuf)
        if allow_metadata_only and len(body) >= self.scenario.metadata_from_bytes and not promise.announced:
            promise.announced = True
            return PollAnswer(200, {"status": "complete_metadata", "response_payload_size": len(body)})
        if not promise.answered:
            promise.answered = True
            now_ns = time.perf_counter_ns()
            held_ns = now_ns - promise.ready_ns
            self.truth.write("answered", at_ns=now_ns, **promise.keys(), polls=promise.polls, held_ns=held_ns)
        return PollAnswer(200, body, content_type)

    def close(self) -> None:
        """Let every held poll go, and stop computing."""
        self.closing = True
        self.works.stop()
        self.works.finished.fire()
        for promise in self.promises.values():
            promise.changed.fire()
