"""One API future: from being made until its result is decoded (seam 3 of facts/sdk.md §4).

Threads  `_APIFuture.__init__` and the done callback run on the SDK's loop; a cancelled future's callback in the thread
         that cancels. The callback holds the request's stamps, never the future.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from tinkertape.events import REQUEST, RESULT_READY
from tinkertape.guard import guard, message_of
from tinkertape.instrument.patches import Patches
from tinkertape.instrument.tinker import flight, queue, submissions
from tinkertape.instrument.tinker.failures import failure_and_fault
from tinkertape.instrument.tinker.flight import (
    Request,
    begin_at,
    call_of,
    current_operation,
    forget_request,
    request_of,
)
from tinkertape.instrument.tinker.futures import concurrent_future


def put_on(api_future_class: Any, patches: Patches) -> None:
    """Watch every `_APIFuture`."""

    def wrap(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            _began(self)

        return __init__

    patches.replace(api_future_class, "__init__", wrap)


@guard("instrument.tinker.request")
def _began(api_future: Any) -> None:
    now = time.perf_counter_ns()
    untyped = api_future.untyped_future
    if untyped is None or not flight.is_watching:
        return  # the service's answer was `null`: the SDK is about to fail of it
    request = request_of(untyped.request_id, current_operation.get())
    operation = request.operation
    request.request_type = api_future.request_type
    request.model_id = getattr(untyped, "model_id", None)
    if request.model_id is None and operation is not None:
        request.model_id = operation.metadata.get("model_id")
    request.began_ns = now
    if request.accepted_ns is None:
        request.accepted_ns = now
    REQUEST.start.tell(_begin, request)
    future = concurrent_future(api_future)
    if future is not None:
        future.add_done_callback(functools.partial(_done, request))


@guard("instrument.tinker.request")
def _done(request: Request, future: Future[Any]) -> None:
    now = time.perf_counter_ns()
    if not forget_request(request):
        return
    if request.pause is not None:
        queue.observe(request, None, None, now, finished=True)
    try:
        error = future.exception()
    except CancelledError:
        _failed(request, now, None)
        return
    if error is None:
        _ready(request, now)
        return
    if type(error).__name__ == "RetryableException":
        submissions.promise_expired(request.submission, now, "RetryableException", 410)
    _failed(request, now, error)


def _failed(request: Request, now: int, error: BaseException | None) -> None:
    if REQUEST.exception.handlers:
        REQUEST.exception.execute(
            _measured(request, now),
            {**request.metadata(), "model_id": request.model_id, **failure_and_fault(error), "error": _text(error)},
        )


def _ready(request: Request, now_ns: int) -> None:
    request.done_ns = now_ns
    RESULT_READY.tell(_decoded, request)
    REQUEST.stop.tell(_success, request)


def _begin(request: Request) -> tuple[dict[str, int], dict[str, Any]]:
    return begin_at(request.began_ns), {**request.metadata(), "model_id": request.model_id}


def _decoded(request: Request) -> tuple[dict[str, int], dict[str, Any]]:
    measured = {"monotonic_time": request.done_ns}
    if request.read_ns is not None:
        measured["decode_duration"] = request.done_ns - request.read_ns
    return measured, {**call_of(request.operation), "request_id": request.request_id}


def _success(request: Request) -> tuple[dict[str, int], dict[str, Any]]:
    told = {**request.metadata(), "model_id": request.model_id, "status": "success"}
    return _measured(request, request.done_ns), told


def _text(error: BaseException | None) -> str:
    return message_of(error) if error is not None else "cancelled"


def _measured(request: Request, now_ns: int) -> dict[str, int]:
    measured = {
        "duration": now_ns - request.began_ns,
        "monotonic_time": now_ns,
        "iterations": request.iterations,
        "data_size": request.data_size,
    }
    if request.submitted_ns is not None and request.accepted_ns is not None:
        measured["roundtrip_duration"] = request.accepted_ns - request.submitted_ns
    return measured
