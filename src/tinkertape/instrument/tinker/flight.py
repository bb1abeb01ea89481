"""What is under way, and what belongs to what.

An operation (one public call) becomes one or more submissions (one an asyncio task), each accepted as a request, which
is polled until it is ready. The operation travels in a context variable: `run_coroutine_threadsafe` copies it from the
caller into the SDK's tasks (facts/sdk.md §4). A request is found by its id, wherever its answer arrives.

These objects hold stamps, counts and ids, and never a future, a result or an argument: results are large, and tasks
that live long (a heartbeat) keep the context of the call that started them.

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
from typing import Any

from tinkertape.events import SpanEvents

REQUESTS_MAX = 20_000  # requests remembered; the oldest are forgotten first, as their future was never made


class Operation:
    """One public call: its stamps (ns of perf_counter), and what was counted under it."""

    returned_ns: int | None = None
    began_at_ns = ended_ns = call_ns = 0  # the first by the wall's clock; how long the call itself took
    adopted = False  # a nested call's future stands for this operation
    retry_count = poll_count = payload_bytes = 0
    pause_ns = 0  # paused, counted once however many of its requests are
    paused = paused_since_ns = 0
    result_names: Mapping[str, Any] = {}
    result_counts: Mapping[str, Any] = {}

    def __init__(self, name: str, events: SpanEvents, began_ns: int, called_by: int, *, is_coroutine: bool) -> None:
        self.id = next(_operation_numbers)
        self.name = name
        self.events = events
        self.began_ns = began_ns
        self.called_by = called_by  # ident of the calling thread
        self.is_coroutine = is_coroutine
        self.call: dict[str, Any] = {"operation_id": self.id, "operation": name}  # what everything is joined by
        self.metadata = self.call.copy()  # of the call
        self.measured: dict[str, Any] = {}  # in its arguments
        self.request_ids: list[str] = []
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


class Failure:
    """Why the last attempt of a submission was not accepted, until the next one tells."""

    __slots__ = ("at_ns", "attempt", "call", "error_type", "status_code")

    def __init__(self, at_ns: int, attempt: int, call: object, error_type: str, status_code: int | None) -> None:
        self.at_ns = at_ns
        self.attempt = attempt
        self.call = call
        self.error_type = error_type
        self.status_code = status_code


class Submission:
    """One API request on its way to acceptance: all outer attempts of one asyncio task share it."""

    attempts = 0
    attempt: SubmitAttempt | None = None  # the one under way
    failure: Failure | None = None

    def __init__(self, operation: Operation | None, function: str, task: Task[Any] | None) -> None:
        self.id = next(_submission_numbers)
        self.operation = operation
        self.function = function
        self.task = weakref.ref(task) if task is not None else None


class SubmitAttempt:
    """One outer attempt: handed over (e), encoded, sent (s), answered (x)."""

    began_at_ns = 0  # by the wall's clock
    suspended_ns: int | None = None  # another submission began on the same loop: this one was put aside
    serialised_ns: int | None = None
    answered_ns: int | None = None
    ended_ns = 0
    starved_ns: int | None = None  # how long the threads of its exchanges waited for a processor
    http_attempts = request_bytes = 0
    request_id: str | None = None
    status_code: int | None = None

    def __init__(self, submission: Submission, call: object, began_ns: int) -> None:
        submission.attempts += 1
        submission.attempt = self
        self.submission = submission
        self.call = call
        self.number = submission.attempts
        self.began_ns = began_ns


class Pause:
    """A request's queue is held."""

    __slots__ = ("last_late_ns", "last_ns", "reason", "reason_text", "seen_ns", "since_late_ns", "since_ns")

    def __init__(self, reason: str, reason_text: str | None, since_ns: int, seen_ns: int) -> None:
        self.reason = reason
        self.reason_text = reason_text
        self.since_ns = since_ns
        self.seen_ns = seen_ns
        self.last_ns = seen_ns  # the last answer that said so
        self.since_late_ns = self.last_late_ns = 0  # by how much those two stamps may be late


class Request:
    """One accepted API request, until its result is decoded."""

    submission: Submission | None = None
    request_type: str | None = None
    model_id: str | None = None
    submitted_ns: int | None = None  # e of the attempt that was accepted
    accepted_ns: int | None = None  # a
    began_ns = began_at_ns = done_ns = 0  # the future was made, also by the wall's clock; its result was decoded
    answered_ns: int | None = None  # headers of the newest poll's answer
    late_ns = 0  # by how much that stamp, or a, may be late: its threads waited for a processor
    read_ns: int | None = None  # its body was read
    failed_poll: Failure | None = None
    iterations = data_size = 0
    pause: Pause | None = None

    def __init__(self, request_id: str, operation: Operation | None) -> None:
        self.request_id = request_id
        self.operation = operation

    def metadata(self) -> dict[str, Any]:
        """What every event of this request carries."""
        return {**call_of(self.operation), "request_id": self.request_id, "request_type": self.request_type}


_NO_CALL: Mapping[str, Any] = {"operation_id": None, "operation": None}

_operation_numbers = itertools.count(1)
_submission_numbers = itertools.count(1)
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


def known_request(request_id: str) -> Request | None:
    """The request with this id, if it was seen to begin and has not ended."""
    return _requests.get(request_id)


def forget_request(request: Request) -> bool:
    """Its result is decoded: this is the last that is said about it. False when it was forgotten before."""
    return _requests.pop(request.request_id, None) is not None


def forget_all() -> None:
    """Nothing is under way: after a fork, after `uninstall`."""
    _open.clear()
    _requests.clear()


os.register_at_fork(after_in_child=forget_all)
