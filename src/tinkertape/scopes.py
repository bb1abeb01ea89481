"""The scope: attributes on every event inside, through `Event.of` and on the tape.

It follows the flow of the program, by `contextvars`: into the functions that are called, into `asyncio` tasks that are
made inside and into `asyncio.to_thread`. Into a thread, an executor or another process it is carried.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextvars import Token
from functools import partial
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from tinkertape.context import NO_SCOPE, SpanIds, current_scope, current_span, living

P = ParamSpec("P")
T = TypeVar("T")


class _Attributes(dict[str, Any]):
    """All attributes that hold inside one scope, and what held before it."""

    __slots__ = ("before", "is_over", "token")
    before: Mapping[str, Any]
    is_over: bool  # it ended in another context than it began in, where it still is the current one
    token: Token[Mapping[str, Any]] | None  # of the context that it began in


class scope:
    """While inside, every event has these attributes, beside those of the scopes around it; the innermost wins.

    `with tinkertape.scope(step=3): …`, in plain and in `async` functions alike. Attributes are context, as metadata
    are: text, numbers, what JSON can say.
    """

    __slots__ = ("_attributes", "_entered")

    def __init__(self, /, **attributes: Any) -> None:
        self._attributes = attributes
        self._entered: dict[int, _Attributes] = {}  # by id: again inside itself, in other tasks and threads meanwhile

    def __enter__(self) -> Self:
        around = _living(current_scope.get())
        here = _Attributes(around)
        here.update(self._attributes)
        here.before, here.is_over = around, False
        here.token = current_scope.set(here)
        self._entered[id(here)] = here
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A scope that ends before one that began inside it, by a generator left in its midst, leaves it its place. One
        that ends in another context than it began in is unknown there: where it began it stays, until the next begins.
        """
        current = current_scope.get()
        here = self._innermost(current)
        here.is_over = not _began_here(here)
        if current is here:
            current_scope.set(_living(here.before))
        while isinstance(current, _Attributes) and current is not here:
            if current.before is here:
                current.before = here.before
            current = current.before
        if not here.is_over:
            here.before = NO_SCOPE  # it would keep the scope before alive, and that one the one before

    def _innermost(self, current: Mapping[str, Any]) -> _Attributes:
        """What ends now: the innermost of this context; in another context, what began last."""
        while isinstance(current, _Attributes):
            here = self._entered.pop(id(current), None)
            if here is not None:
                return here
            current = current.before
        return self._entered.popitem()[1]


def _began_here(attributes: _Attributes) -> bool:
    """Is this the context that they began in? Only there their token may be used, once."""
    current, token = current_scope.get(), attributes.token
    attributes.token = None
    try:
        current_scope.reset(token)  # type: ignore[arg-type]  # it began once, and ends once
    except ValueError:
        return False
    current_scope.set(current)
    return True


def _living(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """These, or those around the scopes that ended elsewhere."""
    while isinstance(attributes, _Attributes) and attributes.is_over:
        attributes = attributes.before
    return attributes


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """The function, to be called elsewhere with the scope and the span of here: in a thread, an executor, a process.

    `executor.submit(tinkertape.carry(work), batch)`, `Thread(target=tinkertape.carry(work))`. Takes functions and
    coroutine functions; what it returns can be pickled if the function and the scope's attributes can. Nothing else of
    the context goes along. Raises `TypeError` for a generator function, whose body runs only when it is asked, and for
    what is no function, such as what a call returned.
    """
    if not callable(function):
        raise TypeError(f"cannot carry {function!r}: carry the function, carry(work), and let the other side call it")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"cannot carry the generator function {function!r}: carry the function that runs through it")
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    run: Callable[..., Any] = _run_coroutine if is_coroutine else _run
    return partial(run, dict(_living(current_scope.get())), living(current_span.get()), function)


def _run(attributes: dict[str, Any], span: SpanIds | None, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    scope_token, span_token = current_scope.set(attributes), current_span.set(span)
    try:
        return function(*args, **kwargs)
    finally:
        current_span.reset(span_token)
        current_scope.reset(scope_token)


async def _run_coroutine(
    attributes: dict[str, Any], span: SpanIds | None, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    scope_token, span_token = current_scope.set(attributes), current_span.set(span)
    try:
        return await function(*args, **kwargs)
    finally:
        current_span.reset(span_token)
        current_scope.reset(scope_token)


class step(Generic[T]):
    """Goes through batches, each turn of the loop in a scope with its number: `for batch in tinkertape.step(batches):`.

    The number counts from `start`, and goes on if the same `step` is gone through again, as for a second epoch. Asking
    for a batch belongs to its step. After the loop, by its end, `break` or an exception, the scope is as it was before.
    `async for` takes asynchronous batches.
    """

    def __init__(self, batches: Iterable[T] | AsyncIterable[T], *, start: int = 0) -> None:
        self._batches = batches
        self.number = start  # of the next turn

    def __iter__(self) -> Iterator[T]:
        if not isinstance(self._batches, Iterable):
            raise TypeError(f"{self._batches!r} is asynchronous: use async for")
        return _Turns(self, iter(self._batches))

    def __aiter__(self) -> AsyncIterator[T]:
        if not isinstance(self._batches, AsyncIterable):
            raise TypeError(f"{self._batches!r} is not asynchronous: use for, without async")
        return _AsyncTurns(self, aiter(self._batches))

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]  # as those batches say it, or do not


class _Turn:
    """The scope of the turn that the loop is in; closed when the loop lets go of it."""

    def __init__(self, steps: step[Any]) -> None:
        self._steps = steps
        self._scope: scope | None = None

    def _begin(self) -> None:
        self._end()
        self._scope = scope(step=self._steps.number).__enter__()

    def _end(self) -> None:
        ended, self._scope = self._scope, None
        if ended is not None:
            ended.__exit__(None, None, None)

    def __del__(self) -> None:
        self._end()


class _Turns(_Turn, Iterator[T]):
    def __init__(self, steps: step[T], batches: Iterator[T]) -> None:
        super().__init__(steps)
        self._batches = batches

    def __next__(self) -> T:
        self._begin()
        try:
            batch = next(self._batches)
        except BaseException:  # no more of them, most of all
            self._end()
            raise
        self._steps.number += 1
        return batch


class _AsyncTurns(_Turn, AsyncIterator[T]):
    def __init__(self, steps: step[T], batches: AsyncIterator[T]) -> None:
        super().__init__(steps)
        self._batches = batches

    async def __anext__(self) -> T:
        self._begin()
        try:
            batch = await anext(self._batches)
        except BaseException:
            self._end()
            raise
        self._steps.number += 1
        return batch
