"""The public calls: every public method of the SDK's clients (seam 4 of facts/sdk.md §4).

The outermost call counts: what a public method calls in turn is part of it. Deprecated methods are wrapped below their
warning, so that it still names the user's line. What comes back is handed on unchanged; its innermost concurrent future
tells when the operation is done, on the SDK's loop.

Threads  an operation begins in the thread that calls, and ends where its future is completed or cancelled.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Callable
from contextvars import Token
from types import FunctionType
from typing import Any

from tinkertape.events import SpanEvents, operation_events
from tinkertape.guard import guard
from tinkertape.instrument.patches import Patches
from tinkertape.instrument.tinker import claims, content, endings, waits
from tinkertape.instrument.tinker.arguments import argument_counts, argument_names, client_metadata
from tinkertape.instrument.tinker.flight import Operation, current_operation
from tinkertape.instrument.tinker.futures import combined_futures, concurrent_future, instance_dict, is_future

Method = Callable[..., Any]

_unseen_claims: dict[Operation, claims.Claim | None] = {}  # of coroutines that await a bare future

NO_OPERATIONS = {
    "get_telemetry": "the SDK calls it itself, for every exception",
    "on_queue_state_change": "the SDK calls it itself, for every poll",
    "get_console_url": "a piece of text",
    "create": "of SamplingClient: the SDK's own way to make one, inside create_sampling_client",
    "holder": "no method: the SDK's own object",
}
"""Public names of the clients that are no operation, and why."""


def put_on(client_class: type, family: str, patches: Patches) -> None:
    """Watch the public methods that a client class defines itself, static ones too."""
    for name, member in list(vars(client_class).items()):
        if name.startswith("_") or name in NO_OPERATIONS or not isinstance(member, (FunctionType, staticmethod)):
            continue
        operation = name.removesuffix("_async")
        wrap = functools.partial(_watched, events=operation_events(family, operation), name=operation)
        if isinstance(member, staticmethod):
            patches.replace(client_class, name, functools.partial(_watched_static, client_class, wrap))
        elif hasattr(member, "__deprecated__"):
            _put_below_warning(member, wrap, patches)
        else:
            patches.replace(client_class, name, wrap)


def _put_below_warning(deprecated: FunctionType, wrap: Callable[[Method], Method], patches: Patches) -> None:
    """`deprecated` warns a fixed number of frames up, so it stays outermost and calls ours in place of the method."""
    if "arg" in deprecated.__code__.co_freevars:  # the name in PEP 702's wrapper, as the SDK itself relies on it
        patches.replace_in_cell(deprecated, "arg", wrap)


def _watched_static(
    client_class: type, wrap: Callable[[Method], Method], original: staticmethod[..., Any]
) -> staticmethod[..., Any]:
    """A method without a client: the class stands for one."""
    function = original.__func__

    @functools.wraps(function)
    def without_client(_class: type, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    watched = wrap(without_client)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return watched(client_class, *args, **kwargs)

    return staticmethod(call)


def _watched(method: Method, events: SpanEvents, name: str) -> Method:
    if inspect.iscoroutinefunction(inspect.unwrap(method)):

        @functools.wraps(method)
        async def call_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            begun = _began(events, name, self, args, kwargs, is_coroutine=True)
            if begun is None:
                return await method(self, *args, **kwargs)
            operation, token = begun
            try:
                result = await method(self, *args, **kwargs)
            except BaseException as error:
                _awaited(operation, error)
                _raised(operation, error)
                raise
            finally:
                _leave(operation, token)
            _awaited(operation, None)
            _returned(operation, result)
            return result

        return call_async

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _began(events, name, self, args, kwargs, is_coroutine=False)
        if begun is None:
            result = method(self, *args, **kwargs)
            _adopt(name, result)
            return result
        operation, token = begun
        try:
            result = method(self, *args, **kwargs)
        except BaseException as error:
            _raised(operation, error)
            raise
        finally:
            _leave(operation, token)
        _returned(operation, result)
        return result

    return call


@guard("instrument.tinker.call")
def _began(
    events: SpanEvents, name: str, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_coroutine: bool
) -> tuple[Operation, Token[Operation | None]] | None:
    """None: a call inside another one, or ours is off."""
    outer = current_operation.get()
    # A user's done callback runs in the context of the call that made the future: that one is over, and no outer call.
    if outer is not None and outer.is_open:
        return None
    began_ns = time.perf_counter_ns()
    thread = threading.get_ident()
    loop = asyncio._get_running_loop()
    operation = Operation(name, events, began_ns, thread, is_coroutine=is_coroutine)
    token = current_operation.set(operation)
    _describe(operation, client, args, kwargs)
    waits.watch()
    metadata = operation.metadata
    metadata["thread"] = thread
    metadata["thread_name"] = threading.current_thread().name
    metadata["loop"] = None if loop is None else id(loop)
    if events.start.handlers:
        operation.began_at_ns = time.time_ns()
        events.start.tell(_start, operation)
    if content.is_wanted:
        content.tell_arguments(operation, args, kwargs)
    if not is_coroutine:
        waits.cover(operation.called_by)
    return operation, token


def _start(operation: Operation) -> tuple[dict[str, Any], dict[str, Any]]:
    begin = {"monotonic_time": operation.began_ns, "system_time": operation.began_at_ns}
    return {**begin, **operation.measured}, operation.metadata.copy()


@guard("instrument.tinker.arguments")
def _describe(operation: Operation, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Count what is handed over; an argument of an unknown kind costs the counts, and not the operation."""
    operation.metadata |= client_metadata(client)
    operation.metadata |= argument_names(operation.name, args, kwargs)
    operation.measured |= argument_counts(operation.name, args, kwargs)


@guard("instrument.tinker.leave")  # a place of its own: what was entered is left, even when nothing is entered any more
def _leave(operation: Operation, token: Token[Operation | None]) -> None:
    if not operation.is_coroutine:
        waits.uncover(operation.called_by)
    current_operation.reset(token)


@guard("instrument.tinker.call")
def _adopt(name: str, result: Any) -> None:
    """A coroutine of the SDK awaits its own plain form in the user's task: that future is its operation's.

    A call by another name is a part of it: up to 0.36 a custom loss goes on after its forward, and a client made from a
    state after its create.
    """
    operation = current_operation.get()
    if operation is None or not operation.is_coroutine or operation.adopted or operation.name != name:
        return
    if operation.called_by != threading.get_ident() or not is_future(result):
        return
    operation.adopted = True
    _returned(operation, result)
    future = concurrent_future(result)
    if future is not None and not claims.is_claimable(result):  # a bare future, up to 0.36
        _unseen_claims[operation] = claims.begin(operation, future)


def _awaited(operation: Operation, error: BaseException | None) -> None:
    claim = _unseen_claims.pop(operation, None)
    if claim is not None:
        claims.end(claim, error)


@guard("instrument.tinker.call")
def _returned(operation: Operation, result: Any) -> None:
    """The method came back: c1. A future says later when it is done; a value is all there is."""
    if operation.returned_ns is None:
        operation.returned_ns = time.perf_counter_ns()
    future = concurrent_future(result)
    parts = combined_futures(result) if future is None else []
    if parts:
        claims.tag(operation, result, None)
        countdown = endings.Countdown(operation, len(parts), instance_dict(result).get("transform"))
        for part in parts:
            part.add_done_callback(countdown)
    elif future is None:
        if not operation.adopted:
            endings.succeeded(operation, operation.returned_ns, result)
    else:
        claims.tag(operation, result, future)
        future.add_done_callback(functools.partial(endings.done, operation))  # twice does no harm: the first closes it


@guard("instrument.tinker.call")
def _raised(operation: Operation, error: BaseException) -> None:
    now = time.perf_counter_ns()
    operation.returned_ns = operation.returned_ns or now
    endings.failed(operation, now, error)
