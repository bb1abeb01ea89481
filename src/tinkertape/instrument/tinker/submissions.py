"""From handing a request to the SDK's loop until the service accepted it, once an outer attempt.

The function given to `InternalClientHolder.execute_with_retries` is called for each outer attempt (seam 6,
facts/partition.md §1): that call is e; x of its last HTTP attempt is a, when it was accepted. What is posted without
that function (creating a model or a sampling session) is a submission too, whose e is its first s.

All outer attempts of one request run in one asyncio task and call the same function: they share a submission. The time
between two of them is a back-off: inside one `execute_with_retries` the layer is "submit", between two it is "sampling"
(429 on /asample, or a promise that expired).
Threads  the SDK's loop, where nothing else runs between two stamps of one submission: another e means that ours was
         put aside.
"""

from __future__ import annotations

import asyncio
import functools
import time
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from tinkertape.events import RETRY, SUBMIT
from tinkertape.exception_record import failure_of
from tinkertape.guard import guard
from tinkertape.instrument.patches import Patches, passing_on
from tinkertape.instrument.tinker import flight
from tinkertape.instrument.tinker.flight import (
    Attempt,
    Failure,
    Operation,
    Submission,
    SubmitAttempt,
    begin_at,
    call_of,
    current_operation,
)

_BACKGROUND = ("InternalClientHolder._fetch_client_", "InternalClientHolder._send_cancel_")
# functions that serve the whole client: they run in the context of whichever call came first

_submission: ContextVar[Submission | None] = ContextVar("tinkertape_submission", default=None)
_encoding: SubmitAttempt | None = None  # handed over and not yet sent


def put_on(holder_class: Any, patches: Patches) -> None:
    """Stamp the function that every `execute_with_retries` is given."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def execute_with_retries(self: Any, func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
            return original(self, _stamped(func) or func, *args, **kwargs)

        return execute_with_retries

    patches.replace(holder_class, "execute_with_retries", wrap)


@guard("instrument.tinker.submit")
def _stamped(func: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]] | None:
    name = getattr(func, "__qualname__", type(func).__name__)
    if name.startswith(_BACKGROUND) or not flight.is_watching:
        return None
    call = object()  # this one execute_with_retries

    async def submit(*args: Any, **kwargs: Any) -> Any:
        attempt = _began(name, call)
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            passing_on(error)
            if attempt is not None:
                _raised(attempt, error)
            raise
        if attempt is not None:
            _returned(attempt)
        return result

    submit.__qualname__ = name  # the SDK logs it
    return submit


@guard("instrument.tinker.submit")
def _began(function: str, call: object) -> SubmitAttempt:
    return _begin(function, call, current_operation.get(), time.perf_counter_ns())


def _begin(function: str, call: object, operation: Operation | None, now: int) -> SubmitAttempt:
    """A submission's next attempt: e."""
    global _encoding
    if _encoding is not None and _encoding.suspended_ns is None:
        _encoding.suspended_ns = now
    submission = _of_this_task(function, operation)
    if submission is None:
        task = asyncio.current_task()
        submission = Submission(operation, function, None if task is None else weakref.ref(task))
        _submission.set(submission)
    else:
        _tell_retry(submission, call, now)
    submission.attempts += 1
    attempt = _encoding = submission.attempt = SubmitAttempt(submission, call, submission.attempts, now)
    SUBMIT.start.tell(_start, attempt)
    return attempt


def _of_this_task(function: str, operation: Operation | None) -> Submission | None:
    """The submission that goes on here: a context is copied into other tasks, so the task itself is compared. And the
    call: up to 0.36 some coroutines send from the user's own task, one call after the other."""
    submission = _submission.get()
    if submission is None or submission.function != function or submission.task is None:
        return None
    if submission.operation is not operation:
        return None
    return submission if submission.task() is asyncio.current_task() else None


def _tell_retry(submission: Submission, call: object, now_ns: int) -> None:
    failure, submission.failure = submission.failure, None
    if failure is None or failure.call is None:  # after a direct one the HTTP layer told it (retries.py)
        return
    if submission.operation is not None:
        submission.operation.retry_count += 1
    if RETRY.handlers:
        RETRY.execute(
            {"attempt": failure.attempt, "delay": now_ns - failure.at_ns},
            {
                **call_of(submission.operation),
                "submission_id": submission.id,
                "error_type": failure.error_type,
                "status_code": failure.status_code,
                "layer": "submit" if failure.call is call else "sampling",
            },
        )


def sent(attempt: Attempt) -> None:
    """This exchange enters the network: s. What it submits it is from now on an attempt of, if it submits anything."""
    global _encoding
    submit = _submitted_here() or _direct(attempt)
    if submit is None:
        return
    attempt.submit = submit
    submit.http_attempts += 1
    submit.request_bytes = attempt.request_bytes
    if submit.serialised_ns is None:
        now = attempt.began_ns
        submit.serialised_ns = now if submit.suspended_ns is None else min(now, submit.suspended_ns)
    if _encoding is submit:
        _encoding = None


def _submitted_here() -> SubmitAttempt | None:
    """What was handed over and is being sent from this task."""
    submission = _submission.get()
    if submission is None or submission.attempt is None or submission.task is None:
        return None
    return submission.attempt if submission.task() is asyncio.current_task() else None


@guard("instrument.tinker.submit")
def _direct(attempt: Attempt) -> SubmitAttempt | None:
    if attempt.operation is None or attempt.method != "POST":
        return None
    return _begin(attempt.route.path, None, attempt.operation, attempt.began_ns)


def answered(attempt: Attempt, submit: SubmitAttempt, error: BaseException | None) -> None:
    """An HTTP attempt of it ended: x. A direct one has nobody else to say that it is over."""
    submit.answered_ns = attempt.ended_ns
    if attempt.starved_ns is not None:
        submit.starved_ns = (submit.starved_ns or 0) + attempt.starved_ns
    status = submit.status_code = attempt.status_code
    submit.request_id = attempt.request_id
    if submit.call is None:
        if error is None and status is not None and status < 300:
            _returned(submit)
        else:
            _raised(submit, error)


@guard("instrument.tinker.submit")
def _returned(attempt: SubmitAttempt) -> None:
    """The function came back: accepted, or (429 on /asample) told to hold back."""
    _over(attempt)
    if attempt.status_code is not None and attempt.status_code >= 300:
        _failed(attempt, None)
        return
    operation = attempt.submission.operation
    if operation is not None:
        operation.payload_bytes += attempt.request_bytes
    attempt.ended_ns = attempt.answered_ns or time.perf_counter_ns()
    SUBMIT.stop.tell(_success, attempt)


@guard("instrument.tinker.submit")
def _raised(attempt: SubmitAttempt, error: BaseException | None) -> None:
    _over(attempt)
    _failed(attempt, error)


def _over(attempt: SubmitAttempt) -> None:
    global _encoding
    if _encoding is attempt:
        _encoding = None
    if attempt.submission.attempt is attempt:
        attempt.submission.attempt = None


def _failed(attempt: SubmitAttempt, error: BaseException | None) -> None:
    status = getattr(error, "status_code", attempt.status_code)
    error_type = type(error).__name__ if error is not None else error_type_of(status)
    at_ns = attempt.answered_ns or time.perf_counter_ns()
    if error is None or isinstance(error, Exception):
        attempt.submission.failure = Failure(at_ns, attempt.number, attempt.call, error_type, status)
    if SUBMIT.exception.handlers:
        failure = failure_of(error) if error is not None else _refused(error_type, status)
        SUBMIT.exception.execute(_measured(attempt, at_ns), {**_metadata(attempt), **failure, "status_code": status})


def promise_expired(submission: Submission | None, at_ns: int, error_type: str, status_code: int | None) -> None:
    """The accepted request failed in a way that lets sampling submit it anew; the next e tells how long it waited."""
    if submission is not None:
        submission.failure = Failure(at_ns, submission.attempts, object(), error_type, status_code)


def error_type_of(status: int | None) -> str:
    """The SDK's exception for an HTTP status, by name."""
    if status is None:
        return "APIConnectionError"
    return "InternalServerError" if status >= 500 else _STATUS_ERRORS.get(status, "APIStatusError")


_STATUS_ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "BillingError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}


def _refused(error_type: str, status: int | None) -> dict[str, Any]:
    return {
        "status": "error",
        "kind": "error",
        "reason": f"the service answered {status}",
        "error_type": error_type,
        "stacktrace": "",
    }


def _start(attempt: SubmitAttempt) -> tuple[dict[str, int], dict[str, Any]]:
    return {**begin_at(attempt.began_ns), "attempt": attempt.number}, _metadata(attempt)


def _success(attempt: SubmitAttempt) -> tuple[dict[str, int], dict[str, Any]]:
    told = {**_metadata(attempt), "request_id": attempt.request_id, "status": "success"}
    return _measured(attempt, attempt.ended_ns), told


def _measured(attempt: SubmitAttempt, ended_ns: int) -> dict[str, int]:
    measured = {
        "duration": ended_ns - attempt.began_ns,
        "monotonic_time": ended_ns,
        "attempts": attempt.http_attempts,
        "attempt": attempt.number,
    }
    if attempt.serialised_ns is not None:
        measured["serialise_duration"] = attempt.serialised_ns - attempt.began_ns
    if attempt.starved_ns is not None:
        measured["starved"] = attempt.starved_ns
    return measured


def _metadata(attempt: SubmitAttempt) -> dict[str, Any]:
    return {**call_of(attempt.submission.operation), "submission_id": attempt.submission.id}
