"""Functions of every kind, each call of which is a span: plain ones, coroutine functions, generators of both kinds.

A generator's span lasts from the request for its first item until it is done, closed or dropped. It is the current span
only while the generator's body runs: between two items it is the caller's again, who may have spans of its own by then.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from tinkertape.context import SpanIds, current_span

F = TypeVar("F", bound=Callable[..., Any])
Open = Callable[[], AbstractContextManager[SpanIds]]  # a new span, not begun yet

_current_get, _current_set = current_span.get, current_span.set


class Audience(Protocol):
    """Does anybody listen to these spans?"""

    heard: bool


def traced(function: F, audience: Audience, open_span: Open) -> F:
    """The function, with every call of it a span of its own; a `staticmethod` or `classmethod` stays one.

    What a partial calls and an object's `__call__` says of which kind it is.
    """
    wrapper: Any
    if isinstance(function, staticmethod | classmethod):
        return type(function)(traced(function.__func__, audience, open_span))
    if not callable(function):
        raise TypeError(f"a span's function is called; decorate the function below, not {function!r}")
    body = _body_of(function)
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(body):
        wrapper = _coroutine(function, audience, open_span)
    elif inspect.isasyncgenfunction(body):
        wrapper = _async_generator(function, audience, open_span)
    elif inspect.isgeneratorfunction(body):
        wrapper = _generator(function, audience, open_span)
    else:
        wrapper = _plain(function, audience, open_span)
    functools.update_wrapper(wrapper, function)
    return wrapper  # type: ignore[no-any-return]


def _body_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """What runs when it is called: an object's own `__call__`, where it is no function and no class."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return type(function).__call__


def _plain(function: Callable[..., Any], audience: Audience, open_span: Open) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not audience.heard:
            return function(*args, **kwargs)
        span = open_span()
        span.__enter__()  # as `with`, which costs a tenth more: it calls from C
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            span.__exit__(type(error), error, error.__traceback__)
            raise
        span.__exit__(None, None, None)
        return result

    return call


def _coroutine(function: Callable[..., Any], audience: Audience, open_span: Open) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not audience.heard:
            return await function(*args, **kwargs)
        with open_span():
            return await function(*args, **kwargs)

    return call


class _Place:
    """The current span, changed over whenever control passes between a generator's body and its caller."""

    __slots__ = ("_inside", "_outside")

    def __init__(self) -> None:
        self._outside = self._inside = _current_get()

    def enter(self) -> None:
        """Into the body, wherever and by whomever it is resumed."""
        self._outside = _current_get()
        _current_set(self._inside)

    def leave(self) -> None:
        """To the caller."""
        self._inside = _current_get()
        _current_set(self._outside)


def _generator(function: Callable[..., Any], audience: Audience, open_span: Open) -> Callable[..., Any]:
    def items(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = function(*args, **kwargs)
        if not audience.heard:
            return (yield from body)
        place = _Place()
        try:
            with open_span():
                resume, value = body.send, None
                while True:
                    try:
                        item, value = resume(value), None
                    except StopIteration as end:
                        return end.value
                    place.leave()
                    try:
                        resume, value = body.send, (yield item)
                    except BaseException as thrown:  # noqa: BLE001  it goes to the body, a close too, which may tidy up
                        resume, value = body.throw, thrown
                    place.enter()
        finally:
            place.leave()

    return items


def _async_generator(function: Callable[..., Any], audience: Audience, open_span: Open) -> Callable[..., Any]:
    async def items(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        body = function(*args, **kwargs)
        place = _Place()
        try:
            with open_span() if audience.heard else contextlib.nullcontext():
                resume, value = body.asend, None
                while True:
                    try:
                        item, value = await resume(value), None
                    except StopAsyncIteration:
                        return
                    place.leave()
                    try:
                        resume, value = body.asend, (yield item)
                    except BaseException as thrown:  # noqa: BLE001  as above
                        resume, value = body.athrow, thrown
                    place.enter()
        finally:
            place.leave()

    return items
