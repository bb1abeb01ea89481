"""Hand-made exchanges that bring no answer, for `Script`. Times are milliseconds from the run's begin."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.diagnosis.builder import MS, Call, Script

REFUSED = {"error_type": "ConnectError", "reason": "tcp connect error: Connection refused (os error 111)"}
NO_NAME = {"error_type": "ConnectError", "reason": "dns error: failed to lookup address information"}
RESET = {"error_type": "WriteError", "reason": "connection error: Connection reset by peer (os error 104)"}
TIMEOUT = {"error_type": "ReadTimeout", "reason": "timed out"}
CANCELLED = {"error_type": "CancelledError", "reason": "", "kind": "exit"}
NO_ROOM = {"error_type": "PoolTimeout", "reason": "timed out"}
HEARTBEAT = "/api/v1/session_heartbeat"
POLL = "/api/v1/retrieve_future"


class Asked(NamedTuple):
    """One poll: sent at `began`, over at `ended` with this outcome (`broken`, `error`, `pending`, `ready`)."""

    began: float
    ended: float
    outcome: str
    error: dict[str, Any] = RESET
    state: str = "active"


def exchange(
    script: Script,
    began: float,
    ended: float | None,
    path: str = HEARTBEAT,
    *,
    error: dict[str, Any] | None = None,
    status: int = 200,
    headers: float | None = None,
    **metadata: Any,
) -> None:
    """One exchange: answered with a status, broken by an `error`, or (`ended` None) still open."""
    known = {"http_id": script.next_id(), "path": path, "method": "POST", "operation_id": None, **metadata}
    script.event("tinker.http.request.start", began, {}, known)
    if ended is None:
        return
    measured = {"duration": round((ended - began) * MS)}
    if error is None:
        measured["headers_duration"] = round(((ended if headers is None else headers) - began) * MS)
        script.event("tinker.http.request.stop", ended, measured, {**known, "status_code": status})
        return
    if headers is not None:
        measured["headers_duration"] = round((headers - began) * MS)
    script.event("tinker.http.request.exception", ended, measured, {**known, **error})


def poll(script: Script, request: dict[str, Any], asked: Asked) -> None:
    """One poll, with its exchange."""
    if asked.outcome in ("pending", "ready"):
        exchange(script, asked.began, asked.ended, POLL, status=408 if asked.outcome == "pending" else 200, **request)
        script.poll(request, asked.began, asked.ended, asked.ended, asked.outcome, asked.state)
        return
    duration = {"duration": round((asked.ended - asked.began) * MS)}
    if asked.outcome == "error":
        exchange(script, asked.began, asked.ended, POLL, status=int(asked.error["status_code"]), **request)
        script.event("tinker.future.poll.stop", asked.ended, duration, {**request, "outcome": "error", **asked.error})
        return
    exchange(script, asked.began, asked.ended, POLL, error=asked.error, **request)
    script.event("tinker.future.poll.exception", asked.ended, duration, {**request, "outcome": "error", **asked.error})


def polled(
    script: Script,
    at: float,
    polls: list[Asked],
    operation: str = "forward_backward",
    failure: dict[str, Any] | None = None,
) -> Call:
    """A call that is accepted 5 ms after `at`, with these polls; it ends with the one that is ready, well or with this
    failure, or stays open.
    """
    number = script.next_id()
    call = {"operation_id": number, "operation": operation, "model_id": "model-1"}
    counts = {"token_count": 1000, "datum_count": 4} if operation != "optim_step" else {}
    script.event(f"tinker.training.{operation}.start", at, counts, {**call, "thread": 11, "loop": None})
    submission = {**call, "submission_id": number}
    script.event("tinker.submit.start", at + 1, {"attempt": 0}, submission)
    exchange(script, at + 3, at + 5, f"/api/v1/{operation}", **submission)
    request = {**call, "request_id": f"req-{number}", "request_type": operation}
    accepted = {"duration": 4 * MS, "serialise_duration": 2 * MS, "attempts": 1}
    script.event("tinker.submit.stop", at + 5, accepted, {**submission, "request_id": request["request_id"]})
    script.event("tinker.request.start", at + 5, {}, request)
    for before, asked in zip([None, *polls], polls, strict=False):
        if before is not None and before.outcome in ("broken", "error"):
            waited = {"delay": round((asked.began - before.ended) * MS)}
            script.event("tinker.retry", asked.began, waited, {**call, **before.error, "layer": "poll"})
        poll(script, request, asked)
    last = polls[-1]
    if last.outcome != "ready":
        return Call(number, last.ended, request["request_id"])
    script.event("tinker.request.stop", last.ended, {"duration": round((last.ended - at - 5) * MS)}, request)
    ended = {"duration": round((last.ended - at) * MS), "call_duration": MS, **counts}
    whole = {**call, "thread": 11, "request_ids": [request["request_id"]], "status": "error" if failure else "success"}
    end = "exception" if failure else "stop"
    script.event(f"tinker.training.{operation}.{end}", last.ended, ended, {**whole, **(failure or {})})
    return Call(number, last.ended, request["request_id"])
