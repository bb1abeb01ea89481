"""What is under way, and what belongs to what.

An operation (one public call) becomes one or more submissions (one an asyncio task), each accepted as a request, which
is polled until it is ready. The operation travels in a context variable: `run_coroutine_threadsafe` copies it from the
caller into the SDK's tasks (facts/sdk.md §4). A request is found by its id, wherever its answer arrives.

These objects hold stamps, counts and ids, and never a future, a result or an argument: results are large, and tasks
that live long (a heartbeat) keep the context of the call that started them. The collector of cycles does not see them,
which it would pay for (benchmarks/RESULTS.md): none refers to what refers to it, but a submission to its attempt, and
that only while it is under way.

Threads  operations begin in the caller's thread and end on the SDK's loop, or in the thread that cancels; submissions
         and requests live on the SDK's loop. Tables are dicts and sets whose single operations are atomic.
Fork     nothing of the parent's is under way in a child.
"""

from __future__ import annotations

import itertools
import os
import time
import weakref
from asyncio import Task
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from tinkertape.events import SpanEvents
from tinkertape.instrument.tinker.routes import Route
from tinkertape.instrument.tinker.sessions import Heartbeat

is_watching = False  # from `install` to `uninstall`: a function of ours that others wrapped stays, and passes on
REQUESTS_MAX = 20_000  # requests remembered; the oldest are forgotten first, as their future was never made
_NOTHING: Mapping[str, Any] = MappingProxyType({})
Outcome = Literal["pending", "ready", "failed", "metadata", "error"]


class Operation(msgspec.Struct, eq=False, gc=False):
    """One public call: its stamps (ns of perf_counter), and what was counted under it."""

    name: str
    events: SpanEvents
    began_ns: int
    called_by: int  # ident of the calling thread
    is_coroutine: bool
    call: dict[str, Any] = {}  # what everything is joined by
    metadata: dict[str, Any] = {}  # of the call
    measured: Mapping[str, Any] = _NOTHING  # in its arguments
    request_ids: list[str] = []
    returned_ns: int | None = None
    ended_ns: int = 0
    call_ns: int = 0  # how long the call itself took
    adopted: bool = False  # a nested call's future stands for this operation
    retry_count: int = 0
    poll_count: int = 0
    payload_bytes: int = 0
    pause_ns: int = 0  # paused, counted once however many of its requests are
    paused: int = 0
    paused_since_ns: int = 0
    result_names: Mapping[str, Any] = _NOTHING
    result_counts: Mapping[str, Any] = _NOTHING

    def __post_init__(self) -> None:
        self.call = {"operation_id": next(_operation_numbers), "operation": self.name}
        self.metadata = self.call.copy()
        _open.add(self)

    @property
    def is_open(self) -> bool:
        return self in _open

    def close(self) -> bool:
        """Take it off the list of what is under way; false when somebody else did."""
        global _closed_ns
        try:
            _open.remove(self)
        except KeyError:
            return False
        _closed_ns = time.perf_counter_ns()
        return True

    def pause(self, since_ns: int) -> None:
        if self.paused == 0:
            self.paused_since_ns = since_ns
        self.paused += 1

    def resume(self, at_ns: int) -> None:
        self.paused -= 1
        if self.paused == 0:
            self.pause_ns += at_ns - self.paused_since_ns


class Failure(msgspec.Struct, eq=False, gc=False):
    """Why the last attempt of a submission was not accepted, until the next one tells."""

    at_ns: int
    attempt: int
    call: object
    error_type: str
    status_code: int | None


class Submission(msgspec.Struct, eq=False, gc=False):
    """One API request on its way to acceptance: all outer attempts of one asyncio task share it."""

    operation: Operation | None
    function: str
    task: weakref.ref[Task[Any]] | None
    id: int = msgspec.field(default_factory=itertools.count(1).__next__)
    attempts: int = 0
    attempt: SubmitAttempt | None = None  # the one under way
    failure: Failure | None = None


class SubmitAttempt(msgspec.Struct, eq=False, gc=False):
    """One outer attempt: handed over (e), encoded, sent (s), answered (x)."""

    submission: Submission
    call: object
    number: int
    began_ns: int
    suspended_ns: int | None = None  # another submission began on the same loop: this one was put aside
    serialised_ns: int | None = None
    answered_ns: int | None = None
    ended_ns: int = 0
    starved_ns: int | None = None  # how long the threads of its exchanges waited for a processor
    http_attempts: int = 0
    request_bytes: int = 0
    request_id: str | None = None
    status_code: int | None = None


class Pause(msgspec.Struct, eq=False, gc=False):
    """A request's queue is held."""

    reason: str
    reason_text: str | None
    since_ns: int
    seen_ns: int
    last_ns: int  # the last answer that said so
    since_late_ns: int  # by how much those two stamps may be late
    last_late_ns: int


class Request(msgspec.Struct, eq=False, gc=False):
    """One accepted API request, until its result is decoded."""

    request_id: str
    operation: Operation | None
    submission: Submission | None = None
    request_type: str | None = None
    model_id: str | None = None
    submitted_ns: int | None = None  # e of the attempt that was accepted
    accepted_ns: int | None = None  # a
    began_ns: int = 0  # the future was made
    done_ns: int = 0  # its result was decoded
    answered_ns: int | None = None  # headers of the newest poll's answer
    late_ns: int = 0  # by how much that stamp, or a, may be late: its threads waited for a processor
    read_ns: int | None = None  # its body was read
    failed_poll: Failure | None = None
    iterations: int = 0
    data_size: int = 0
    pause: Pause | None = None

    def metadata(self) -> dict[str, Any]:
        """What every event of this request carries."""
        return {**call_of(self.operation), "request_id": self.request_id, "request_type": self.request_type}


class Poll(msgspec.Struct, eq=False, gc=False):
    """One question whether a request is ready, and what the answer said."""

    request: Request
    iteration: int
    outcome: Outcome = "error"
    queue_state: str | None = None
    queue_state_reason: str | None = None
    should_retry: bool = False


class Attempt(msgspec.Struct, eq=False, gc=False):
    """One HTTP exchange: its stamps (ns of perf_counter), sizes, and whose it is."""

    route: Route
    url_path: str
    method: str
    number: int
    transport: str
    request_bytes: int
    id: int = msgspec.field(default_factory=itertools.count(1).__next__)
    operation: Operation | None = None
    submit: SubmitAttempt | None = None
    poll: Poll | None = None
    heartbeat: Heartbeat | None = None
    asked_id: str | None = None  # of the request, as it is known when the exchange begins
    request_id: str | None = None  # and when it ends
    began_ns: int = 0
    headers_ns: int | None = None
    ended_ns: int = 0
    status_code: int | None = None
    error_type: str | None = None
    received_bytes: int | None = None
    waited_ns: int | None = None  # for a processor, by the threads of the exchanges, until it began
    starved_ns: int | None = None  # the same, from its begin to its end

    def metadata(self) -> dict[str, Any]:
        """What its events say of it."""
        return {
            "http_id": self.id,
            **call_of(self.operation),
            "submission_id": self.submit.submission.id if self.submit is not None else None,
            "request_id": self.asked_id,
            "method": self.method,
            "path": self.route.path,
            "url_path": self.url_path,
            "pool": self.route.pool,
            "transport": self.transport,
        }


def begin_at(began_ns: int) -> dict[str, int]:
    """Measurements of what began then, by both clocks: they are read where it is described, one less in a hook."""
    return {"monotonic_time": began_ns, "system_time": time.time_ns() - time.perf_counter_ns() + began_ns}


_NO_CALL: Mapping[str, Any] = {"operation_id": None, "operation": None}

_operation_numbers = itertools.count(1)
_open: set[Operation] = set()
_closed_ns = 0  # when the newest operation ended
_requests: dict[str, Request] = {}

current_operation: ContextVar[Operation | None] = ContextVar("tinkertape_operation", default=None)


def in_flight() -> int:
    """How many public calls are under way: begun, and their future not done. Any thread."""
    return len(_open)


def was_in_flight(since_ns: int) -> bool:
    """Was anything under way at any time since then?"""
    return bool(_open) or _closed_ns >= since_ns


def call_of(operation: Operation | None) -> Mapping[str, Any]:
    """The two keys by which everything is joined; None for what belongs to no public call."""
    return _NO_CALL if operation is None else operation.call


def request_of(request_id: str, operation: Operation | None = None) -> Request:
    """The request with this id, remembered from now on."""
    request = _requests.get(request_id)
    if request is None:
        request = _requests[request_id] = Request(request_id, operation)
        if operation is not None and request_id not in operation.request_ids:
            operation.request_ids.append(request_id)
        if len(_requests) > REQUESTS_MAX:
            _requests.pop(next(iter(_requests)), None)
    return request


def forget_request(request: Request) -> bool:
    """Its result is decoded: this is the last that is said about it. False when it was forgotten before."""
    return _requests.pop(request.request_id, None) is not None


def forget_all() -> None:
    """Nothing is under way: after a fork, after `uninstall`."""
    _open.clear()
    _requests.clear()


os.register_at_fork(after_in_child=forget_all)
