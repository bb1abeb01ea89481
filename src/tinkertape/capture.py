"""`capture_exceptions`: an exception that passes is recorded, once, and goes on unchanged.

It never swallows: the specification's sketch re-raises only some, which would hide a program's own errors; every
exception is raised again here, with the traceback that it had.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from tinkertape.bus import default_bus
from tinkertape.context import with_severity
from tinkertape.events import TELEMETRY_EXCEPTION
from tinkertape.faults import fault_metadata, is_user_error
from tinkertape.guard import guarded, message_of
from tinkertape.telemetry import Telemetry, get_telemetry

F = TypeVar("F", bound=Callable[..., Any])

# set on an exception, so that it is recorded once however many decorators it passes
_CAPTURED = "__tinkertape_captured__"
FATAL_FLUSH_S = 0.5


class _Capture:
    """Records an exception that passes, as `exception.<place>`. A context manager and a decorator."""

    def __init__(self, place: str, fatal: bool, severity: str | None, telemetry: Telemetry | None) -> None:
        self._place, self._fatal, self._severity, self._telemetry = place, fatal, severity, telemetry

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            with guarded("capture_exceptions"):
                self._record(error, trace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _record(self, error: Exception, trace: TracebackType | None) -> None:
        if getattr(error, _CAPTURED, False):
            return
        # an exception with __slots__ cannot be marked: then it may be told twice
        with guarded("capture_exceptions.mark"):
            setattr(error, _CAPTURED, True)
        user = is_user_error(error)
        data = {
            "exception_type": type(error).__name__,
            "exception_message": message_of(error),
            "traceback": "".join(traceback.format_exception(type(error), error, trace)),
            **fault_metadata(error),
        }
        severity = self._severity or ("WARNING" if user and not self._fatal else "ERROR")
        telemetry = self._telemetry or get_telemetry()
        if telemetry is not None:
            telemetry.log(f"exception.{self._place}", data, severity=severity)
        else:
            with with_severity(severity):
                default_bus.execute(f"exception.{self._place}", {}, data)
        if self._fatal:
            if TELEMETRY_EXCEPTION.handlers:
                TELEMETRY_EXCEPTION.execute({}, data)
            if telemetry is not None:
                telemetry.flush(FATAL_FLUSH_S)

    def __call__(self, function: F) -> F:
        """Decorate a function, method, coroutine function, generator or async generator function."""
        capture = _Capture(function.__name__, self._fatal, self._severity, self._telemetry)
        return _decorated(function, capture)


def _decorated(function: F, capture: _Capture) -> F:
    wrapper: Any
    if inspect.isasyncgenfunction(function):
        wrapper = _around_async_generator(function, capture)
    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrap_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with capture:
                return (yield from function(*args, **kwargs))

        wrapper = wrap_generator
    elif inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrap_coroutine(*args: Any, **kwargs: Any) -> Any:
            with capture:
                return await function(*args, **kwargs)

        wrapper = wrap_coroutine
    else:

        @functools.wraps(function)
        def wrap(*args: Any, **kwargs: Any) -> Any:
            with capture:
                return function(*args, **kwargs)

        wrapper = wrap
    return wrapper  # type: ignore[no-any-return]


def _around_async_generator(function: Callable[..., AsyncGenerator[Any, Any]], capture: _Capture) -> Any:
    @functools.wraps(function)
    async def wrap(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with capture, contextlib.suppress(StopAsyncIteration):
            inner = function(*args, **kwargs)
            value = await anext(inner)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  thrown in from outside: the inner generator decides
                    value = await inner.athrow(thrown)
                else:
                    value = await inner.asend(sent)

    return wrap


@overload
def capture_exceptions(function: F) -> F: ...
@overload
def capture_exceptions(
    *, fatal: bool = False, severity: str | None = None, telemetry: Telemetry | None = None
) -> _Capture: ...
def capture_exceptions(
    function: F | None = None,
    *,
    fatal: bool = False,
    severity: str | None = None,
    telemetry: Telemetry | None = None,
) -> F | _Capture:
    """Record every exception that leaves a function or a block, as `exception.<function>`; the exception goes on
    unchanged.

    `@capture_exceptions`, `@capture_exceptions(fatal=True)` or `with capture_exceptions():`. `fatal` records it as an
    unhandled exception too and brings the tape up to date before it goes on, in half a second at most. `severity`
    defaults to ERROR, WARNING for a user's error. `telemetry` defaults to the running one; without one, the event is
    still executed on the bus. Works for functions, methods, coroutine functions, generators and async generators.
    """
    if function is not None:
        return _Capture("", False, None, None)(function)
    return _Capture("block", fatal, severity, telemetry)
