"""An operation ends: D, when the user's future is done; or where a call without one came back, or raised.

`concurrent.futures` wakes whoever waits before it runs callbacks, so a program could see its last result, or its last
exception, and be gone before the SDK's loop has told of it. So whoever comes first tells: the callback, or the wait
that ends (claims.py). An operation is closed outside the guard: one that cannot be told is not under way for ever.
Threads  the SDK's loop, the thread that waited, or the thread that cancels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from types import SimpleNamespace
from typing import Any

from tinkertape.guard import guard
from tinkertape.instrument.tinker import content
from tinkertape.instrument.tinker.base_models import remember
from tinkertape.instrument.tinker.failures import failure_and_fault
from tinkertape.instrument.tinker.flight import Operation
from tinkertape.instrument.tinker.futures import instance_dict
from tinkertape.instrument.tinker.results import names_and_counts


def done(operation: Operation, future: Future[Any], at_ns: int | None = None) -> None:
    """The user's future is done: D, now or at `at_ns`."""
    now = time.perf_counter_ns() if at_ns is None else at_ns
    if operation.close():
        _tell_future(operation, now, future)


class Countdown:
    """Ends an operation whose future has no state of its own: with the last of its parts, or the first that fails.

    Such a future puts its result together when it is claimed (a custom loss up to 0.36), by `transform`.
    """

    __slots__ = ("left", "operation", "parts", "transform")

    def __init__(self, operation: Operation, parts: int, transform: Any = None) -> None:
        self.operation = operation
        self.parts = parts
        self.left = parts  # counted on the SDK's loop
        self.transform = transform

    def __call__(self, future: Future[Any]) -> None:
        self.left -= 1
        if future.cancelled() or future.exception() is not None:
            done(self.operation, future)
        elif self.left == 0:
            now = time.perf_counter_ns()
            succeeded(self.operation, now, self._put_together(future) if self.parts == 1 else None)

    def _put_together(self, future: Future[Any]) -> Any:
        result = Future.result(future)
        together = None if self.transform is None else _transformed(self.transform, result)
        return result if together is None else together


@guard("instrument.tinker.transform")
def _transformed(transform: Callable[[list[Any]], Any], result: Any) -> Any:
    """What the SDK will make of the only part, as far as it is counted: its own function, on a copy of the metrics."""
    return transform([SimpleNamespace(metrics=dict(result.metrics))])


def succeeded(operation: Operation, now_ns: int, result: Any) -> None:
    """It ended at `now_ns` with this result. The second who says so is not heard."""
    if operation.close():
        _tell_success(operation, now_ns, result)


def failed(operation: Operation, now_ns: int, error: BaseException | None) -> None:
    """It ended at `now_ns` with this exception; None: it was cancelled. The second who says so is not heard."""
    if operation.close():
        _tell_failure(operation, now_ns, error)


def _tell_future(operation: Operation, now_ns: int, future: Future[Any]) -> None:
    try:
        error = future.exception()
    except CancelledError:
        _tell_failure(operation, now_ns, None)
        return
    if error is not None:
        _tell_failure(operation, now_ns, error)
    else:
        _tell_success(operation, now_ns, Future.result(future))  # the class's: the instance's is our claim


@guard("instrument.tinker.done")
def _tell_success(operation: Operation, now_ns: int, result: Any) -> None:
    if content.is_wanted:
        content.tell_result(operation, result)
    if operation.events.stop.handlers:
        _describe_result(operation, result)
        _end(operation, now_ns)
        if float in map(type, operation.result_counts.values()):  # a loss, which may be no number
            operation.events.stop.execute(*_success(operation))
        else:
            operation.events.stop.tell(_success, operation)


@guard("instrument.tinker.results")
def _describe_result(operation: Operation, result: Any) -> None:
    names, operation.result_counts = names_and_counts(instance_dict(result))
    operation.result_names = names
    if "model_id" in names or "sampling_session_id" in names:
        remember(names, operation.metadata.get("base_model"))


@guard("instrument.tinker.done")
def _tell_failure(operation: Operation, now_ns: int, error: BaseException | None) -> None:
    if operation.events.exception.handlers:
        _end(operation, now_ns)
        operation.events.exception.execute(_measured(operation), {**_metadata(operation), **failure_and_fault(error)})


def _end(operation: Operation, now_ns: int) -> None:
    operation.ended_ns = now_ns
    operation.call_ns = (operation.returned_ns or now_ns) - operation.began_ns


def _success(operation: Operation) -> tuple[dict[str, Any], dict[str, Any]]:
    return _measured(operation), {**_metadata(operation), "status": "success"}


def _measured(operation: Operation) -> dict[str, Any]:
    return {
        **operation.measured,
        **operation.result_counts,
        "duration": operation.ended_ns - operation.began_ns,
        "monotonic_time": operation.ended_ns,
        "call_duration": operation.call_ns,
        "payload_bytes": operation.payload_bytes,
        "retry_count": operation.retry_count,
        "poll_count": operation.poll_count,
        "pause_duration": operation.pause_ns,
    }


def _metadata(operation: Operation) -> dict[str, Any]:
    return {**operation.metadata, **operation.result_names, "request_ids": list(operation.request_ids)}
