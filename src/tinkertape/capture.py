"""`capture_exceptions`: an exception that passes is recorded, once, and goes on unchanged.

It never swallows: the specification's sketch re-raises only some, which would hide a program's own errors; every
exception is raised again here, with the traceback that it had: no frame of ours is in it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, overload

from tinkertape.bus import default_bus
from tinkertape.context import with_severity
from tinkertape.events import TELEMETRY_EXCEPTION
from tinkertape.exception_record import exception_metadata, first_fatal, first_passing, is_failure
from tinkertape.failures import make_room
from tinkertape.guard import attempt, guarded
from tinkertape.telemetry import Telemetry, get_telemetry
from tinkertape.wire import SEVERITIES

F = TypeVar("F", bound=Callable[..., Any])

FATAL_FLUSH_S = 0.5


class TelemetryProvider(Protocol):
    """Whoever knows the `Telemetry` to record with: the specification's clients do."""

    def get_telemetry(self) -> Telemetry | None:
        """The one to record with; None: the running one."""
        ...


class _Capture:
    """Records an exception that passes, as `exception.<place>`. A context manager and a decorator."""

    def __init__(
        self, place: str, fatal: bool, severity: str | None, telemetry: Telemetry | TelemetryProvider | None
    ) -> None:
        self._place, self._fatal, self._severity, self._telemetry = place, fatal, severity, telemetry

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with guarded("capture_exceptions"):
                self._record(error, trace, None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _record(self, error: BaseException, trace: TracebackType | None, owner: object) -> None:
        event = f"exception.{self._place}"
        if not is_failure(error):
            return
        known = (_telemetry_of(self._telemetry), _telemetry_of(owner), get_telemetry())
        telemetry = next((each for each in known if each is not None and each.recording), None)
        if first_passing(error, event):
            data = exception_metadata(error, trace)
            data.pop("recorded_as", None)  # by this very event
            severity = self._severity or ("WARNING" if data["is_user_error"] and not self._fatal else "ERROR")
            if telemetry is not None:
                telemetry.log(event, data, severity=severity)
            else:
                with with_severity(severity):
                    default_bus.execute(event, {}, data)
        if self._fatal:
            self._record_fatal(error, telemetry)

    def _record_fatal(self, error: BaseException, telemetry: Telemetry | None) -> None:
        if telemetry is not None:
            telemetry.record_fatal(error)
            telemetry.flush(FATAL_FLUSH_S)
        elif TELEMETRY_EXCEPTION.handlers and first_fatal(error):
            TELEMETRY_EXCEPTION.execute({}, exception_metadata(error))

    def __call__(self, function: F) -> F:
        """Decorate a function, method, coroutine function, generator or async generator function.

        Raises `TypeError` for what cannot be called.
        """
        decorated: F = self._decorate(function)
        return decorated

    def _decorate(self, function: Any) -> Any:
        if isinstance(function, staticmethod | classmethod):
            return type(function)(self(function.__func__))
        if not callable(function):
            hint = "; put it below @property" if isinstance(function, property) else ""
            raise TypeError(f"capture_exceptions decorates what can be called, not {function!r}{hint}")
        return _decorated(function, _Capture(_name_of(function), self._fatal, self._severity, self._telemetry))


class _Call:
    """One call of a decorated function: records what it raises, and takes our frame out of its traceback."""

    __slots__ = ("_capture", "_owner")

    def __init__(self, capture: _Capture, arguments: tuple[Any, ...]) -> None:
        self._capture = capture
        self._owner = arguments[0] if arguments else None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or error is None:
            return
        if issubclass(kind, RecursionError):  # not `isinstance`, which asks the exception for its `__class__`
            try:
                make_room()
            except RecursionError:
                return  # at the end of the stack nothing can be done; a call further out has room
        with guarded("capture_exceptions"):
            while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next
            BaseException.with_traceback(error, trace)  # what leaves a `with` block goes on with this one
            self._capture._record(error, trace, self._owner)


def _name_of(function: Any) -> str:
    """What its event is called: a partial is called as its function, an object that can be called as its class."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def _telemetry_of(provider: object) -> Telemetry | None:
    """What to record with: the object itself, or what its own `get_telemetry()` gives, if that is one of ours.

    Only the class is asked for the method: on some objects of the SDK an attribute that is missing blocks on the
    network (facts/sdk.md §4, traps).
    """
    if isinstance(provider, Telemetry):
        return provider
    method = getattr(type(provider), "get_telemetry", None)
    found, _ = attempt(method, provider) if callable(method) else (None, None)
    return found if isinstance(found, Telemetry) else None


def _decorated(function: F, capture: _Capture) -> F:
    wrapper: Any
    kind: Any = function if hasattr(function, "__name__") else getattr(function, "func", type(function).__call__)
    if inspect.isasyncgenfunction(kind):
        wrapper = _around_async_generator(function, capture)
    elif inspect.isgeneratorfunction(kind):

        @functools.wraps(function)
        def wrap_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with _Call(capture, args):
                return (yield from function(*args, **kwargs))

        wrapper = wrap_generator
    elif inspect.iscoroutinefunction(kind):

        @functools.wraps(function)
        async def wrap_coroutine(*args: Any, **kwargs: Any) -> Any:
            with _Call(capture, args):
                return await function(*args, **kwargs)

        wrapper = wrap_coroutine
    else:

        @functools.wraps(function)
        def wrap(*args: Any, **kwargs: Any) -> Any:
            with _Call(capture, args):
                return function(*args, **kwargs)

        wrapper = wrap
    return wrapper  # type: ignore[no-any-return]


def _around_async_generator(function: Callable[..., AsyncGenerator[Any, Any]], capture: _Capture) -> Any:
    @functools.wraps(function)
    async def wrap(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with _Call(capture, args), contextlib.suppress(StopAsyncIteration):
            inner = function(*args, **kwargs)
            value = await anext(inner)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  thrown in from outside: the inner generator decides
                    value = await inner.athrow(_without_our_frame(thrown))
                else:
                    value = await inner.asend(sent)

    return wrap


def _without_our_frame(thrown: BaseException) -> BaseException:
    """What was thrown in was raised at our own `yield` first."""
    trace = thrown.__traceback__
    return thrown.with_traceback(trace.tb_next if trace is not None else None)


@overload
def capture_exceptions(function: F) -> F: ...
@overload
def capture_exceptions(
    *, fatal: bool = False, severity: str | None = None, telemetry: Telemetry | TelemetryProvider | None = None
) -> _Capture: ...
def capture_exceptions(
    function: F | None = None,
    *,
    fatal: bool = False,
    severity: str | None = None,
    telemetry: Telemetry | TelemetryProvider | None = None,
) -> F | _Capture:
    """Record every exception that leaves a function or a block, as `exception.<function>`; the exception goes on
    unchanged.

    `@capture_exceptions`, `@capture_exceptions(fatal=True)` or `with capture_exceptions():`. `fatal` records it as an
    unhandled exception too and brings the tape up to date before it goes on, in half a second at most. `severity`
    defaults to ERROR, WARNING for a user's error. `telemetry`, an object or who has a `get_telemetry()`, defaults to
    what the method's own object gives by `get_telemetry()`, then to the running one; without any, the event is still
    executed on the bus. Works for functions, methods, coroutine functions, generators and async generators.

    Raises `ValueError` for a severity that is none, and `TypeError` for what cannot be decorated.
    """
    if severity is not None and severity not in SEVERITIES:
        raise ValueError(f"unknown severity {severity!r}: use one of {', '.join(SEVERITIES)}")
    if telemetry is not None and not hasattr(type(telemetry), "get_telemetry") and not isinstance(telemetry, Telemetry):
        raise TypeError(f"cannot record with {telemetry!r}: it is no Telemetry, and has no get_telemetry()")
    if function is not None:
        return _Capture("", False, None, None)(function)
    return _Capture("block", fatal, severity, telemetry)
