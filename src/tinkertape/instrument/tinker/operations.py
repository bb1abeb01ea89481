"""The public calls: every public method of the SDK's clients (seam 4 of facts/sdk.md §4).

The outermost call counts: what a public method calls in turn is part of it. What comes back is handed on unchanged; its
innermost concurrent future tells when the operation is done, on the SDK's loop. The functions that stand in the
methods' places are in importlib_bootstrap.py.

Threads  an operation begins in the thread that calls, and ends where its future is completed or cancelled.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from contextvars import Token
from typing import Any

from tinkertape.events import SpanEvents
from tinkertape.guard import attempt, guard
from tinkertape.instrument.tinker import claims, content, endings, flight, waits
from tinkertape.instrument.tinker.arguments import NAMED, argument_counts, argument_names, client_metadata
from tinkertape.instrument.tinker.flight import Operation, begin_at, current_operation
from tinkertape.instrument.tinker.futures import combined_futures, concurrent_future, instance_dict, is_future

_unseen_claims: dict[Operation, claims.Claim | None] = {}  # of coroutines that await a bare future


@guard("instrument.tinker.call")
def began(
    events: SpanEvents, name: str, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_coroutine: bool
) -> tuple[Operation, Token[Operation | None]] | None:
    """None: a call inside another one, or ours is off."""
    if not flight.is_watching:
        return None
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
    metadata = operation.metadata
    metadata["thread"] = thread
    metadata["thread_name"] = threading.current_thread().name
    metadata["loop"] = None if loop is None else id(loop)
    events.start.tell(_start, operation)
    if content.is_wanted:
        content.tell_arguments(operation, args, kwargs)
    if is_coroutine:
        waits.watch(thread)
    else:
        waits.cover(thread)
    return operation, token


def _start(operation: Operation) -> tuple[dict[str, Any], dict[str, Any]]:
    return {**begin_at(operation.began_ns), **operation.measured}, operation.metadata.copy()


@guard("instrument.tinker.arguments")
def _describe(operation: Operation, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Count what is handed over. An object of the program's that raises as it is looked at costs the counts of this
    call: the SDK will say so itself, and a user's mistake must not count as ours.
    """
    operation.metadata |= client_metadata(client)
    attempt(_count, operation, args, kwargs)


def _count(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if operation.name in NAMED:
        operation.metadata |= argument_names(operation.name, args, kwargs)
    operation.measured = argument_counts(operation.name, args, kwargs)


@guard("instrument.tinker.leave")  # a place of its own: what was entered is left, even when nothing is entered any more
def leave(operation: Operation, token: Token[Operation | None]) -> None:
    if not operation.is_coroutine:
        waits.uncover(operation.called_by)
    current_operation.reset(token)


@guard("instrument.tinker.call")
def adopt(name: str, result: Any) -> None:
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
    returned(operation, result)
    future = concurrent_future(result)
    if future is not None and not claims.is_claimable(result):  # a bare future, up to 0.36
        _unseen_claims[operation] = claims.begin(operation, future)


def awaited(operation: Operation, error: BaseException | None) -> None:
    claim = _unseen_claims.pop(operation, None)
    if claim is not None:
        claims.end(claim, error)


@guard("instrument.tinker.call")
def returned(operation: Operation, result: Any) -> None:
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
def raised(operation: Operation, error: BaseException) -> None:
    now = time.perf_counter_ns()
    operation.returned_ns = operation.returned_ns or now
    endings.failed(operation, now, error)
