"""Your code waits: `result()` or `await` on a future that a public call handed out (facts/partition.md §4).

Only objects with our tag count, so that the SDK's own waits do not. The tag is an instance attribute; type and identity
stay. The raw future inside gets its own `result`, as an instance attribute that holds it weakly, but its answer not:
who kept that `result`, or a copy of the future, may have let the future go. Not seen here: `concurrent.futures.wait`,
`as_completed`, `wrap_future`; waits.py samples them.

Threads  the one that waits.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

import msgspec

from tinkertape.events import CLAIM
from tinkertape.exception_record import failure_of
from tinkertape.guard import guard
from tinkertape.instrument.patches import Patches, passing_on
from tinkertape.instrument.tinker import endings, loop, waits
from tinkertape.instrument.tinker.flight import Operation, begin_at
from tinkertape.instrument.tinker.futures import layers

_TAG = "_tinkertape_operation"
# packages that hand a result on, and do not wait for it
_MACHINERY = ("asyncio.", "concurrent.futures.", "tinker.", "tinkertape.")

_claimable: tuple[type, ...] = ()
_claimed: ContextVar[Operation | None] = ContextVar("tinkertape_claimed", default=None)
# a thread waits for it here: what the SDK awaits on its loop on this wait's behalf (up to 0.36) is no second claim


class Claim(msgspec.Struct, eq=False, gc=False):
    """One wait under way."""

    operation: Operation
    future: Future[Any] | None  # held no longer than the wait itself holds it
    thread: int
    loop: int | None
    cpu_ns: int  # of processor time that the thread had used
    began_ns: int
    id: int = msgspec.field(default_factory=itertools.count(1).__next__)
    ended_ns: int = 0
    used_ns: int = 0  # of processor time, while it lasted

    def metadata(self) -> dict[str, Any]:
        """What its events say of it."""
        return {"claim_id": self.id, **self.operation.call, "thread": self.thread, "loop": self.loop}


def put_on(future_class: Any, patches: Patches) -> None:
    """Watch the waits on one of the SDK's classes of futures."""
    global _claimable
    _claimable += (future_class,)
    patches.on_undo(lambda: _no_longer(future_class))
    patches.replace(future_class, "result", _watched_result)
    patches.replace(future_class, "result_async", _watched_result_async)


def _no_longer(future_class: type) -> None:
    global _claimable
    _claimable = tuple(known for known in _claimable if known is not future_class)


def tag(operation: Operation, future: object, innermost: Future[Any] | None) -> None:
    """Mark what a public call returned, and the raw future inside, so that waiting is a claim of this operation."""
    outermost = future if type(future) in _claimable else _claimable_in(future)  # isinstance asks an ABC: 2 us
    if outermost is not None:
        object.__setattr__(outermost, _TAG, (operation, innermost))
    if innermost is not None:
        answer: list[Any] = []
        result = functools.partial(_raw_result, weakref.ref(innermost), answer, operation)
        object.__setattr__(innermost, "result", result)
        innermost.add_done_callback(functools.partial(_keep, answer))


def _keep(answer: list[Any], future: Future[Any]) -> None:
    answer += (future._state, future._result, future._exception)


def _tag_of(future: object) -> tuple[Operation, Future[Any] | None] | None:
    """By no way that a subclass could intercept: its `__getattr__` may wait for the network, or raise."""
    try:
        tagged: tuple[Operation, Future[Any] | None] = object.__getattribute__(future, _TAG)
    except AttributeError:
        return None
    return tagged


def _watched_result(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def result(self: Any, *args: Any, **kwargs: Any) -> Any:
        claim = _began(self)
        if claim is None:
            try:
                return original(self, *args, **kwargs)
            except BaseException as error:
                passing_on(error)
                raise
        token = _claimed.set(claim.operation)
        try:
            value = original(self, *args, **kwargs)
        except BaseException as error:
            passing_on(error)
            _raised(claim, error)
            raise
        finally:
            _claimed.reset(token)
        _ended(claim)
        return value

    return result


def _watched_result_async(original: Callable[..., Any]) -> Callable[..., Any]:
    async def claimed(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        claim = _began(self)
        if claim is None:
            try:
                return await original(self, *args, **kwargs)
            except BaseException as error:
                passing_on(error)
                raise
        loop.watch_running("user")
        try:
            value = await original(self, *args, **kwargs)
        except BaseException as error:
            passing_on(error)
            _raised(claim, error)
            raise
        _ended(claim)
        return value

    @functools.wraps(original)
    def result_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _tag_of(self) is None:  # the SDK's own await: not a frame more
            return original(self, *args, **kwargs)
        return claimed(self, args, kwargs)

    return result_async


def _raw_result(
    of_future: weakref.ref[Future[Any]], answer: list[Any], operation: Operation, timeout: float | None = None
) -> Any:
    """`result` of the raw future, in the place of its class's."""
    future = of_future()
    if future is None:
        return _result_of_gone(answer, timeout)
    # whose wait it is is told already, or the caller says it; last, as its frame becomes an object when it is asked for
    is_told = _claimed.get() is operation or f"{sys._getframe(1).f_globals.get('__name__')}.".startswith(_MACHINERY)
    claim = None if is_told else _began_raw(operation, future)
    try:
        value = Future.result(future, timeout)
    except BaseException as error:
        passing_on(error)
        if claim is not None:
            _raised(claim, error)
        raise
    if claim is not None:
        _ended(claim)
    return value


def _result_of_gone(answer: list[Any], timeout: float | None) -> Any:
    """What the future would say that was let go: no wait, so no claim."""
    future: Future[Any] = Future()
    if answer:
        future._state, future._result, future._exception = answer
    try:
        return Future.result(future, timeout)
    except BaseException as error:
        passing_on(error)
        raise


def is_claimable(future: object) -> bool:
    """Is a wait on this object seen, once it is tagged?"""
    return _claimable_in(future) is not None


def _claimable_in(future: object) -> Any:
    return next((layer for layer in layers(future) if isinstance(layer, _claimable)), None)


@guard("instrument.tinker.claim")
def begin(operation: Operation, future: Future[Any]) -> Claim | None:
    """A wait begins here that no object of ours sees: the SDK awaits the raw future inside the user's own task."""
    loop.watch_running("user")
    return _begun(operation, future)


def end(claim: Claim, error: BaseException | None) -> None:
    """It ended, with a result or with this exception."""
    if error is None:
        _ended(claim)
    else:
        _raised(claim, error)


@guard("instrument.tinker.claim")
def _began(future: object) -> Claim | None:
    tagged = _tag_of(future)
    if tagged is None or not _claimable:
        return None
    operation, innermost = tagged
    return None if _claimed.get() is operation else _begun(operation, innermost)


@guard("instrument.tinker.claim")
def _began_raw(operation: Operation, future: Future[Any]) -> Claim | None:
    return _begun(operation, future) if _claimable else None


def _begun(operation: Operation, future: Future[Any] | None) -> Claim:
    running = asyncio._get_running_loop()
    thread = threading.get_ident()
    waits.cover(thread)
    loop_id = None if running is None else id(running)
    claim = Claim(operation, future, thread, loop_id, time.thread_time_ns(), time.perf_counter_ns())
    CLAIM.start.tell(_start, claim)
    return claim


@guard("instrument.tinker.claim")
def _ended(claim: Claim) -> None:
    waits.uncover(claim.thread)
    _end_operation(claim)
    CLAIM.stop.tell(_success, claim)


@guard("instrument.tinker.claim")
def _raised(claim: Claim, error: BaseException) -> None:
    waits.uncover(claim.thread)
    _end_operation(claim)
    if CLAIM.exception.handlers:
        CLAIM.exception.execute(_measured(claim), {**claim.metadata(), **failure_of(error)})


def _end_operation(claim: Claim) -> None:
    claim.ended_ns = time.perf_counter_ns()
    future, claim.future = claim.future, None
    if future is not None and future.done():
        endings.done(claim.operation, future, claim.ended_ns)
    claim.used_ns = time.thread_time_ns() - claim.cpu_ns


def _start(claim: Claim) -> tuple[dict[str, int], dict[str, Any]]:
    return begin_at(claim.began_ns), claim.metadata()


def _success(claim: Claim) -> tuple[dict[str, int], dict[str, Any]]:
    return _measured(claim), {**claim.metadata(), "status": "success"}


def _measured(claim: Claim) -> dict[str, int]:
    ended_ns = claim.ended_ns
    return {"duration": ended_ns - claim.began_ns, "monotonic_time": ended_ns, "thread_cpu": claim.used_ns}
