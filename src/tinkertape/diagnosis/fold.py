"""Events to records: a fold over the events of a run, in any interleaving of its processes.

`Fold.feed` takes one event and never looks at a clock. Within a process the events come in the order of their index;
several processes may be mixed in any way. What an event lacks (an older tape, a half-recorded call) is left None. Not
thread-safe: one thread feeds and reads.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from tinkertape.context import Event
from tinkertape.diagnosis.connections import NOT_CONNECTED, TIMEOUTS
from tinkertape.diagnosis.failures import operation_failure, program_failure
from tinkertape.diagnosis.process import ON_LOOP, Process, insert
from tinkertape.diagnosis.records import (
    Attempt,
    BusyRuns,
    Claim,
    Line,
    Operation,
    Pause,
    Poll,
    Request,
    Retry,
    Submit,
)
from tinkertape.diagnosis.waits import sampled_wait

FAMILIES = ("training", "sampling", "service", "rest", "admin")
OPERATION_FAILS = tuple(f"tinker.{family}.*.exception" for family in FAMILIES)  # for a detector's `LISTENS`
POLL_PATHS = ("/api/v1/retrieve_future", "/api/v1/retrieve_futures")


class Fold:
    """Every process's records, and what the run says of itself."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.events = 0
        self.run = ""
        self.project = ""
        self.name = ""
        self.model = ""
        self.sdk_version = ""
        self.sessions: list[str] = []

    def feed(self, event: Event) -> Process:
        """Take one event; the process that it is of comes back."""
        self.events += 1
        process = self.processes.get(event.process)
        if process is None:
            process = self.processes[event.process] = Process(event.process, event)
        at_ns = _stamp(event)
        if at_ns > process.last_ns:
            process.last_ns = at_ns
        elif at_ns < process.first_ns:
            process.first_ns = at_ns
        self.run = self.run or event.run
        self.project = self.project or event.project
        self.sdk_version = self.sdk_version or event.sdk_version
        if (action := _ACTIONS.get(event.name)) is not None:
            action(self, process, event, at_ns)
        elif event.name.startswith("tinker."):
            self._operation(process, event, at_ns)
        return process

    def _operation(self, process: Process, event: Event, at_ns: int) -> None:
        parts = event.name.split(".")
        if len(parts) != 4 or parts[1] not in FAMILIES:
            return
        number = event.metadata.get("operation_id")
        if number is None:
            return
        began_ns = at_ns if parts[3] == "start" else at_ns - _int(event.measurements.get("duration"))
        operation = process.operations.get(number)
        is_new = operation is None
        if operation is None:
            name = str(event.metadata.get("operation") or parts[2])
            operation = Operation(process.id, number, parts[1], name, began_ns)
            process.add(operation)
        self._describe(operation, event)
        if is_new:
            operation.after_given_up = operation.family == "training" and operation.model_id in process.given_up
            process.called(operation, str(event.metadata.get("thread_name") or ""))
        if parts[3] in ("stop", "exception"):
            _end_operation(process, operation, event, at_ns)

    def _describe(self, operation: Operation, event: Event) -> None:
        metadata = event.metadata
        operation.measurements.update(event.measurements)
        operation.metadata.update(metadata)
        if metadata.get("thread") is not None:
            operation.thread = metadata["thread"]
        if metadata.get("loop") is not None:
            operation.loop = metadata["loop"]
        operation.model_id = str(metadata.get("model_id") or operation.model_id)
        if operation.step is None:
            operation.step = event.scope.get("step", metadata.get("step"))
        self.model = self.model or str(metadata.get("base_model") or "")

    def _submit_start(self, process: Process, event: Event, at_ns: int) -> None:
        insort(process.submit_starts, at_ns)
        operation = _operation_of(process, event)
        if operation is not None:
            _line(operation, event.metadata.get("submission_id")).submits.append(Submit(at_ns))

    def _submit_end(self, process: Process, event: Event, at_ns: int) -> None:
        operation = _operation_of(process, event)
        if operation is None:
            return
        line = _line(operation, event.metadata.get("submission_id"))
        open_ones = [submit for submit in line.submits if submit.ended_ns is None]
        submit = open_ones[-1] if open_ones else Submit(at_ns - _int(event.measurements.get("duration")))
        if not open_ones:
            line.submits.append(submit)
        submit.ended_ns = at_ns
        if "serialise_duration" in event.measurements:
            submit.serialise_ns = _int(event.measurements["serialise_duration"])
        request_id = event.metadata.get("request_id")
        if event.name.endswith(".stop") and (request_id or not line.turned_away):
            submit.accepted_ns = at_ns
            submit.request_id = request_id
            if request_id:
                _request(process, operation, request_id)

    def _http_start(self, process: Process, event: Event, at_ns: int) -> None:
        operation = _operation_of(process, event)
        path = str(event.metadata.get("path") or "")
        if operation is None or path in POLL_PATHS:
            return
        attempt = Attempt(at_ns, path, submission_id=event.metadata.get("submission_id"))
        process.attempts[event.metadata.get("http_id")] = attempt
        _line_of_attempt(operation, event).attempts.append(attempt)

    def _http_end(self, process: Process, event: Event, at_ns: int) -> None:
        metadata = event.metadata
        if metadata.get("path") in POLL_PATHS:
            process.polls_on_loop = metadata.get("transport") == ON_LOOP
            return
        if metadata.get("operation_id") is None:
            return
        attempt = process.attempts.pop(metadata.get("http_id"), None)
        if attempt is None:
            attempt = Attempt(at_ns - _int(event.measurements.get("duration")), str(metadata.get("path") or ""))
            operation = _operation_of(process, event)
            if operation is not None:
                _line_of_attempt(operation, event).attempts.append(attempt)
        attempt.ended_ns = at_ns
        if "headers_duration" in event.measurements:
            attempt.headers_ns = min(at_ns, attempt.began_ns + _int(event.measurements["headers_duration"]))
        attempt.starved_ns = _int(event.measurements.get("starved"))
        attempt.status_code = metadata.get("status_code")
        attempt.failed = event.name.endswith(".exception") or (attempt.status_code or 0) >= 400
        attempt.connected = metadata.get("error_type") not in NOT_CONNECTED
        if not attempt.failed:
            process.took((attempt.headers_ns or at_ns) - attempt.began_ns)

    def _poll_end(self, process: Process, event: Event, at_ns: int) -> None:
        began_ns = at_ns - _int(event.measurements.get("duration"))
        headers = event.measurements.get("headers_duration")
        headers_ns = at_ns if headers is None else min(at_ns, began_ns + _int(headers))
        metadata = event.metadata
        outcome = str(metadata.get("outcome") or ("error" if event.name.endswith(".exception") else "pending"))
        poll = Poll(
            began_ns,
            headers_ns,
            at_ns,
            outcome,
            str(metadata.get("queue_state") or ""),
            str(metadata.get("queue_state_reason") or ""),
            metadata.get("status_code"),
            _int(event.measurements.get("starved")),
            metadata.get("error_type") in TIMEOUTS,
            process.polls_on_loop,
        )
        request = _request_of(process, event)
        if request is not None:
            insort(request.polls, poll, key=attrgetter("headers_ns"))
        if outcome == "pending" and poll.paused is None:
            process.pending_ns = max(poll.held_ns, process.pending_ns or 0)
        elif poll.final and process.pending_ns is None:
            process.alike.add(str(metadata.get("operation")), poll.held_ns)

    def _request_start(self, process: Process, event: Event, at_ns: int) -> None:
        request = _request_of(process, event)
        if request is not None:
            request.began_ns = at_ns

    def _request_end(self, process: Process, event: Event, at_ns: int) -> None:
        request = _request_of(process, event)
        if request is not None:
            request.done_ns = at_ns if request.done_ns is None else max(request.done_ns, at_ns)
            request.error = str(event.metadata.get("error") or event.metadata.get("reason") or "")

    def _result_ready(self, process: Process, event: Event, at_ns: int) -> None:
        request = _request_of(process, event)
        if request is not None:
            request.done_ns = request.done_ns or at_ns
            request.decode_ns = _int(event.measurements.get("decode_duration"))

    def _claim_start(self, process: Process, event: Event, at_ns: int) -> None:
        operation, thread = _operation_of(process, event), event.metadata.get("thread") or 0
        process.seen_outside(thread, at_ns)
        if operation is None:
            return
        claim = Claim(at_ns, operation, thread, event.metadata.get("loop"))
        operation.claims.append(claim)
        insert(process.claims, claim)
        process.open_claims[event.metadata.get("claim_id")] = claim

    def _claim_end(self, process: Process, event: Event, at_ns: int) -> None:
        claim = process.open_claims.pop(event.metadata.get("claim_id"), None)
        if claim is None:
            self._claim_start(process, event, at_ns - _int(event.measurements.get("duration")))
            claim = process.open_claims.pop(event.metadata.get("claim_id"), None)
        if claim is not None:
            claim.ended_ns = max(at_ns, claim.began_ns)

    def _queue_pause(self, process: Process, event: Event, at_ns: int) -> None:
        metadata = event.metadata
        request_id = str(metadata.get("request_id") or "")
        since_ns = _int(event.measurements.get("since", at_ns))
        pause = Pause(
            request_id,
            _operation_of(process, event),
            str(metadata.get("operation") or ""),
            str(metadata.get("reason") or "unknown"),
            str(metadata.get("reason_text") or ""),
            since_ns,
            at_ns,
        )
        process.pauses.append(pause)
        process.open_pauses[request_id] = pause

    def _queue_resume(self, process: Process, event: Event, at_ns: int) -> None:
        measured = event.measurements
        pause = process.open_pauses.pop(str(event.metadata.get("request_id") or ""), None)
        if pause is None:
            since_ns = at_ns - _int(measured.get("duration_max", measured.get("duration")))
            self._queue_pause(process, event, at_ns)
            pause = process.open_pauses.pop(str(event.metadata.get("request_id") or ""))
            pause.since_ns = pause.seen_ns = since_ns
        pause.ended_ns = at_ns
        pause.duration_ns = _int(measured.get("duration", at_ns - pause.since_ns))
        pause.min_ns = _int(measured.get("duration_min", pause.duration_ns))
        pause.max_ns = _int(measured.get("duration_max", pause.duration_ns))

    def _retry(self, process: Process, event: Event, at_ns: int) -> None:
        metadata, measured = event.metadata, event.measurements
        number = metadata.get("operation_id")
        process.retries.append(
            Retry(
                at_ns,
                number,
                str(metadata.get("operation") or ""),
                str(metadata.get("layer") or ""),
                _int(measured.get("attempt")),
                _int(measured.get("delay")),
                str(metadata.get("error_type") or ""),
                metadata.get("status_code"),
            )
        )
        operation = process.operations.get(number) if number is not None else None
        if operation is not None:
            operation.retries += 1

    def _loop_busy(self, process: Process, event: Event, at_ns: int) -> None:
        began_ns = at_ns - _int(event.measurements.get("duration"))
        if event.metadata.get("owner") == "sdk":
            process.sdk_busy.add(began_ns, at_ns)
        else:
            process.user_busy.setdefault(event.metadata.get("loop") or 0, BusyRuns()).add(began_ns, at_ns)

    def _stall(self, process: Process, event: Event, at_ns: int) -> None:
        if event.metadata.get("cause") != "loop":  # that loop's own busy run tells
            process.stalls.add(at_ns - _int(event.measurements.get("duration_max")), at_ns)

    def _session_create(self, process: Process, event: Event, at_ns: int) -> None:
        session_id = event.metadata.get("session_id")
        if session_id and session_id not in self.sessions:
            self.sessions.append(str(session_id))
        self.sdk_version = str(event.metadata.get("sdk_version") or self.sdk_version)

    def _session_start(self, process: Process, event: Event, at_ns: int) -> None:
        process.session_began_ns = at_ns
        self.name = self.name or str(event.metadata.get("run_name") or event.metadata.get("name") or "")

    def _session_stop(self, process: Process, event: Event, at_ns: int) -> None:
        process.session_ended_ns = at_ns
        process.status = str(event.metadata.get("status") or "success")
        exit_status = event.metadata.get("exit_status")
        process.exit_status = exit_status if isinstance(exit_status, int) else None


_ACTIONS: Mapping[str, Callable[[Fold, Process, Event, int], None]] = {
    "tinker.submit.start": Fold._submit_start,
    "tinker.submit.stop": Fold._submit_end,
    "tinker.submit.exception": Fold._submit_end,
    "tinker.http.request.start": Fold._http_start,
    "tinker.http.request.stop": Fold._http_end,
    "tinker.http.request.exception": Fold._http_end,
    "tinker.future.poll.stop": Fold._poll_end,
    "tinker.future.poll.exception": Fold._poll_end,
    "tinker.request.start": Fold._request_start,
    "tinker.request.stop": Fold._request_end,
    "tinker.request.exception": Fold._request_end,
    "tinker.result.ready": Fold._result_ready,
    "tinker.claim.start": Fold._claim_start,
    "tinker.claim.stop": Fold._claim_end,
    "tinker.claim.exception": Fold._claim_end,
    "process.thread.wait": lambda _, process, event, at_ns: process.sampled(sampled_wait(event, at_ns)),
    "tinker.queue.pause": Fold._queue_pause,
    "tinker.queue.resume": Fold._queue_resume,
    "tinker.retry": Fold._retry,
    "process.loop.busy": Fold._loop_busy,
    "process.stall": Fold._stall,
    "tinker.session.create": Fold._session_create,
    "telemetry.session.start": Fold._session_start,
    "telemetry.session.stop": Fold._session_stop,
    "telemetry.exception": lambda _, process, event, at_ns: process.failed(program_failure(event, at_ns)),
}


FOLDED = tuple(_ACTIONS)  # and those of the families


def _end_operation(process: Process, operation: Operation, event: Event, at_ns: int) -> None:
    if operation.ended_ns is not None:
        return  # it ended once; what says so again is a mistake
    process.ended.append(operation)
    operation.ended_ns = max(at_ns, operation.began_ns)
    operation.hold_ns, operation.round_trip_ns = process.hold_ns, process.round_trip_ns
    if "call_duration" in event.measurements:
        call_ns = operation.began_ns + _int(event.measurements["call_duration"])
        operation.call_ended_ns = min(call_ns, operation.ended_ns)
    failed = event.name.endswith(".exception")
    operation.status = str(event.metadata.get("status") or ("error" if failed else "success"))
    if failed:
        operation.failure = operation_failure(event, at_ns)
    process.settle_model(operation)


def _operation_of(process: Process, event: Event) -> Operation | None:
    number = event.metadata.get("operation_id")
    return None if number is None else process.operations.get(number)


def _line(operation: Operation, submission_id: Any) -> Line:
    line = operation.lines.get(submission_id)
    if line is None:
        line = operation.lines[submission_id] = Line(submission_id)
    return line


def _line_of_attempt(operation: Operation, event: Event) -> Line:
    """The submission's line; an exchange outside every submission is a line of its own, with those that repeat it."""
    key = event.metadata.get("submission_id")
    if key is None:
        key = operation.repeated(event.metadata.get("path")) or ("http", event.metadata.get("http_id"))
    return _line(operation, key)


def _request(process: Process, operation: Operation, request_id: str) -> Request:
    request = operation.requests.get(request_id)
    if request is None:
        request = operation.requests[request_id] = Request(request_id)
        process.requests[request_id] = (operation, request)
    return request


def _request_of(process: Process, event: Event) -> Request | None:
    request_id = event.metadata.get("request_id")
    if not request_id:
        return None
    if (known := process.requests.get(request_id)) is not None:
        request = known[1]
    else:
        operation = _operation_of(process, event)
        if operation is None:
            return None
        request = _request(process, operation, str(request_id))
    request.request_type = request.request_type or str(event.metadata.get("request_type") or "")
    request.model_id = request.model_id or str(event.metadata.get("model_id") or "")
    return request


def _stamp(event: Event) -> int:
    value = event.measurements.get("monotonic_time")
    return event.monotonic_ns if value is None else _int(value)


def _int(value: Any) -> int:
    if type(value) is int:  # nearly always
        return value
    return int(value) if isinstance(value, (int, float)) else 0
