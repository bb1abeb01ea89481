"""One question whether a request is ready: `POST /retrieve_future`, as the HTTP seam sees it.

The service holds a poll until the result is there or its patience ends, and answers "try again" with a 408 or a 200
(facts/sdk.md §5). The answer describes the interval that it ends.
Threads  the SDK's loop.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tinkertape.events import POLL, RETRY
from tinkertape.exception_record import failure_of
from tinkertape.guard import guard
from tinkertape.instrument.tinker import queue
from tinkertape.instrument.tinker.flight import (
    Attempt,
    Failure,
    Outcome,
    Poll,
    begin_at,
    call_of,
    current_operation,
    request_of,
)
from tinkertape.instrument.tinker.headers import header
from tinkertape.wire import UNREADABLE

_STATE_MAX = 65_536  # bytes; an answer that says "not yet" is far smaller, a larger one is a result
_FINAL = frozenset({401, 403, 404, 410, 422})  # the SDK gives up at once; at 400 after three (facts/sdk.md §5)


class _Question(msgspec.Struct):
    request_id: str = ""


class _Answer(msgspec.Struct):
    """What a poll's JSON may say about the request's state."""

    type: str | None = None
    status: str | None = None
    queue_state: str | None = None
    queue_state_reason: str | None = None
    error: Any = None


_NOTHING = _Answer()
_decode_question = msgspec.json.Decoder(_Question).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


def asked(attempt: Attempt, http_request: Any, body: bytes) -> None:
    """This exchange asks, by what is sent: the request asked for, and the SDK's count of the question, from 0."""
    request = request_of(_decode_question(body).request_id, current_operation.get())
    if request.request_type is None:
        request_type = header(http_request, b"x-tinker-request-type")
        request.request_type = None if request_type is None else request_type.decode()
    iteration = header(http_request, b"x-tinker-request-iteration")
    attempt.poll = Poll(request, request.iterations if iteration is None else int(iteration))
    attempt.asked_id = attempt.request_id = request.request_id
    request.iterations += 1
    operation = attempt.operation = request.operation
    if operation is not None:
        operation.poll_count += 1


@guard("instrument.tinker.poll")
def began(attempt: Attempt, poll: Poll) -> None:
    """It is about to be sent; after one that failed, the time since is a back-off."""
    request = poll.request
    failed, request.failed_poll = request.failed_poll, None
    if failed is not None:
        if attempt.operation is not None:
            attempt.operation.retry_count += 1
        if RETRY.handlers:
            RETRY.execute(
                {"attempt": failed.attempt, "delay": attempt.began_ns - failed.at_ns},
                {
                    **call_of(attempt.operation),
                    "submission_id": request.submission.id if request.submission is not None else None,
                    "error_type": failed.error_type,
                    "status_code": failed.status_code,
                    "layer": "poll",
                },
            )
    if poll.iteration and POLL.start.handlers:  # the first is told by its exchange alone: there is nothing else to say
        POLL.start.execute({**begin_at(attempt.began_ns), "iteration": poll.iteration}, request.metadata())


@guard("instrument.tinker.poll")
def raised(attempt: Attempt, poll: Poll, error: BaseException) -> None:
    """No answer came. The SDK asks again, unless it was cancelled."""
    poll.should_retry = isinstance(error, Exception)
    if poll.should_retry:
        poll.request.failed_poll = Failure(attempt.ended_ns, poll.iteration, None, type(error).__name__, None)
    if POLL.exception.handlers:
        POLL.exception.execute(
            _measured(attempt, poll, None),
            {
                **poll.request.metadata(),
                **failure_of(error),
                "outcome": "error",
                "should_retry": poll.should_retry,
            },
        )


@guard("instrument.tinker.poll")
def answered(attempt: Attempt, poll: Poll, status: int, content: bytes | None) -> None:
    """Tell what the answer says, about the poll and about the queue."""
    request = poll.request
    answer = _read(status, content)
    outcome = poll.outcome = _outcome(status, answer)
    should_retry = poll.should_retry = outcome in _GOES_ON or (outcome == "error" and status not in _FINAL)
    poll.queue_state, poll.queue_state_reason = answer.queue_state, answer.queue_state_reason
    headers_ns = attempt.headers_ns or attempt.ended_ns
    late_ns = attempt.starved_ns or 0
    if request.pause is not None or answer.queue_state is not None:
        finished = outcome in _FINISHED
        queue.observe(request, answer.queue_state, answer.queue_state_reason, headers_ns, late_ns, finished=finished)
    request.answered_ns = headers_ns
    request.late_ns = late_ns
    request.read_ns = attempt.ended_ns
    if outcome == "error" and should_retry:
        request.failed_poll = Failure(attempt.ended_ns, poll.iteration, None, "APIStatusError", status)
    POLL.stop.tell(_answer, attempt)


_GOES_ON: frozenset[Outcome] = frozenset({"pending", "metadata"})
_FINISHED: frozenset[Outcome] = frozenset({"ready", "failed", "metadata"})


def _read(status: int, content: bytes | None) -> _Answer:
    if status not in (200, 408) or not content or len(content) > _STATE_MAX or content[:1] != b"{":
        return _NOTHING
    try:
        return _decode_answer(content)
    except UNREADABLE:  # a result of another shape
        return _NOTHING


def _outcome(status: int, answer: _Answer) -> Outcome:
    if status == 408 or answer.type == "try_again":
        return "pending"
    if status >= 300:
        return "error"
    if answer.status == "complete_metadata":
        return "metadata"
    return "failed" if answer.error is not None else "ready"


def _answer(attempt: Attempt) -> tuple[dict[str, int], dict[str, Any]]:
    poll = attempt.poll
    assert poll is not None
    return _measured(attempt, poll, attempt.headers_ns or attempt.ended_ns), {
        **poll.request.metadata(),
        "outcome": poll.outcome,
        "queue_state": poll.queue_state,
        "queue_state_reason": poll.queue_state_reason,
        "status": "error" if poll.outcome == "error" else "success",
        "status_code": attempt.status_code,
        "should_retry": poll.should_retry,
    }


def _measured(attempt: Attempt, poll: Poll, headers_ns: int | None) -> dict[str, int]:
    began_ns, ended_ns = attempt.began_ns, attempt.ended_ns
    measured = {"duration": ended_ns - began_ns, "monotonic_time": ended_ns, "iteration": poll.iteration}
    accepted_ns = poll.request.accepted_ns
    if accepted_ns is not None:
        measured["elapsed"] = ended_ns - accepted_ns
    if headers_ns is not None:
        measured["headers_duration"] = headers_ns - began_ns
    if attempt.starved_ns is not None:
        measured["starved"] = attempt.starved_ns
    return measured
