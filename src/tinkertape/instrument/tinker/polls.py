"""One question whether a request is ready: `POST /retrieve_future`, as the HTTP seam sees it.

The service holds a poll until the result is there or its patience ends, and answers "try again" with a 408 or a 200
(facts/sdk.md §5). The answer describes the interval that it ends.
Threads  the SDK's loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tinkertape.events import POLL, RETRY
from tinkertape.guard import guard
from tinkertape.instrument.tinker import queue
from tinkertape.instrument.tinker.flight import Failure, Request, call_of, current_operation, request_of
from tinkertape.spans import failure_of

Outcome = Literal["pending", "ready", "failed", "metadata", "error"]

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


class Poll:
    """One poll under way."""

    starved_ns: int | None = None  # how long its threads waited for a processor, once it has ended
    began_ns = ended_ns = 0
    headers_ns: int | None = None
    status_code = 0
    outcome: Outcome = "error"
    should_retry = False

    def __init__(self, request: Request, iteration: int) -> None:
        self.request = request
        self.iteration = iteration
        self.answer = _NOTHING

    @classmethod
    def asked(cls, body: bytes, headers: Mapping[bytes, bytes]) -> Poll:
        """From what is sent: the request asked for, and the SDK's count of the question, from 0. Headers by their
        names in lower case.
        """
        request = request_of(_decode_question(body).request_id, current_operation.get())
        if request.request_type is None:
            request_type = headers.get(b"x-tinker-request-type")
            request.request_type = None if request_type is None else request_type.decode()
        iteration = headers.get(b"x-tinker-request-iteration")
        return cls(request, int(iteration) if iteration is not None else request.iterations)


@guard("instrument.tinker.poll")
def began(poll: Poll, now_ns: int, system_ns: int) -> None:
    """A poll is about to be sent; after one that failed, the time since is a back-off."""
    request = poll.request
    request.iterations += 1
    operation = request.operation
    if operation is not None:
        operation.poll_count += 1
    failed, request.failed_poll = request.failed_poll, None
    if failed is not None:
        if operation is not None:
            operation.retry_count += 1
        if RETRY.handlers:
            RETRY.execute(
                {"attempt": failed.attempt, "delay": now_ns - failed.at_ns},
                {
                    **call_of(operation),
                    "submission_id": request.submission.id if request.submission is not None else None,
                    "error_type": failed.error_type,
                    "status_code": failed.status_code,
                    "layer": "poll",
                },
            )
    if poll.iteration and POLL.start.handlers:  # the first is told by its exchange alone: there is nothing else to say
        begin = {"monotonic_time": now_ns, "system_time": system_ns, "iteration": poll.iteration}
        POLL.start.execute(begin, request.metadata())


@guard("instrument.tinker.poll")
def raised(poll: Poll, began_ns: int, now_ns: int, error: BaseException) -> None:
    """No answer came. The SDK asks again, unless it was cancelled."""
    request = poll.request
    if isinstance(error, Exception):
        request.failed_poll = Failure(now_ns, poll.iteration, None, type(error).__name__, None)
    if POLL.exception.handlers:
        POLL.exception.execute(
            _measured(poll, began_ns, now_ns),
            {
                **request.metadata(),
                **failure_of(error),
                "outcome": "error",
                "should_retry": isinstance(error, Exception),
            },
        )


@guard("instrument.tinker.poll")
def answered(poll: Poll, began_ns: int, headers_ns: int, now_ns: int, response: Any, content: bytes | None) -> None:
    """Tell what the answer says, about the poll and about the queue."""
    request = poll.request
    status: int = response.status_code
    answer = _read(status, response.headers.get("content-type", ""), content)
    outcome = _outcome(status, answer)
    should_retry = outcome == "pending" or outcome == "metadata" or (outcome == "error" and status not in _FINAL)
    late_ns = poll.starved_ns or 0
    queue.observe(
        request, answer.queue_state, answer.queue_state_reason, headers_ns, late_ns, finished=outcome in _FINISHED
    )
    request.answered_ns = headers_ns
    request.late_ns = late_ns
    request.read_ns = now_ns
    if outcome == "error" and should_retry:
        request.failed_poll = Failure(now_ns, poll.iteration, None, "APIStatusError", status)
    if POLL.stop.handlers:
        poll.began_ns, poll.headers_ns, poll.ended_ns = began_ns, headers_ns, now_ns
        poll.answer, poll.outcome, poll.status_code, poll.should_retry = answer, outcome, status, should_retry
        POLL.stop.tell(_answer, poll)


_FINISHED: frozenset[Outcome] = frozenset({"ready", "failed", "metadata"})


def _read(status: int, content_type: str, content: bytes | None) -> _Answer:
    if status not in (200, 408) or "json" not in content_type or not content or len(content) > _STATE_MAX:
        return _NOTHING
    try:
        return _decode_answer(content)
    except msgspec.MsgspecError:  # a result of another shape
        return _NOTHING


def _outcome(status: int, answer: _Answer) -> Outcome:
    if status == 408 or answer.type == "try_again":
        return "pending"
    if status >= 300:
        return "error"
    if answer.status == "complete_metadata":
        return "metadata"
    return "failed" if answer.error is not None else "ready"


def _answer(poll: Poll) -> tuple[dict[str, int], dict[str, Any]]:
    return _measured(poll, poll.began_ns, poll.ended_ns), {
        **poll.request.metadata(),
        "outcome": poll.outcome,
        "queue_state": poll.answer.queue_state,
        "queue_state_reason": poll.answer.queue_state_reason,
        "status": "error" if poll.outcome == "error" else "success",
        "status_code": poll.status_code,
        "should_retry": poll.should_retry,
    }


def _measured(poll: Poll, began_ns: int, now_ns: int) -> dict[str, int]:
    measured = {"duration": now_ns - began_ns, "monotonic_time": now_ns, "iteration": poll.iteration}
    accepted_ns = poll.request.accepted_ns
    if accepted_ns is not None:
        measured["elapsed"] = now_ns - accepted_ns
    if poll.headers_ns is not None:
        measured["headers_duration"] = poll.headers_ns - began_ns
    if poll.starved_ns is not None:
        measured["starved"] = poll.starved_ns
    return measured
