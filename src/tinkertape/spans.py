"""Spans: a start, and then one stop or one exception, with the time between.

`<prefix>.start` has `monotonic_time` and `system_time`; `<prefix>.stop` and `<prefix>.exception` have `duration` and
`monotonic_time`, all in nanoseconds of `time.perf_counter_ns` (system_time: of the wall clock). The start's metadata is
carried into the end (facts/beam.md T51 BEAT); an exception is told with `kind`, `reason` and `stacktrace`, and goes on
to the caller unchanged. Spans inside a span share its trace id and know it as their parent.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import Token
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, Self, TypeVar

from tinkertape.bus import Attachment, Bus, Dispatch, default_bus, event_name
from tinkertape.context import SpanIds, current_span
from tinkertape.guard import message_of

_EMPTY: Mapping[str, Any] = {}
F = TypeVar("F", bound=Callable[..., Any])


class _SpanDispatch:
    """What runs the handlers of a prefix's three events, None for one that nobody listens to.

    Kept current by the bus.
    """

    __slots__ = ("exception", "heard", "listeners", "prefix", "start", "stop")

    def __init__(self, bus: Bus, prefix: str) -> None:
        self.prefix = prefix
        self.heard = False
        self.start: Dispatch | None = None
        self.stop: Dispatch | None = None
        self.exception: Dispatch | None = None
        self.listeners = [_Listener(self, end) for end in ("start", "stop", "exception")]
        for listener in self.listeners:
            bus.keep_current(listener)


class _Listener:
    """One event of a prefix, told by the bus who listens to it."""

    __slots__ = ("__weakref__", "_end", "_of", "name")

    def __init__(self, of: _SpanDispatch, end: str) -> None:
        self.name = f"{of.prefix}.{end}"
        self._of, self._end = of, end

    def inform(self, handlers: tuple[Attachment, ...], execute: Dispatch) -> None:
        """The bus says who listens."""
        setattr(self._of, self._end, execute if handlers else None)
        self._of.heard = any((self._of.start, self._of.stop, self._of.exception))


class span(SpanIds):
    """Emit `<prefix>.start`, and `<prefix>.stop` or `<prefix>.exception`, around a block, coroutine's block or
    function.

    `with span(prefix, metadata) as s: s.add({"rows": 3}, {"path": p})`, `async with …`, or `@span(prefix)` on a
    function or coroutine function. Costs next to nothing while nobody listens. Raises `EventNameError` for a prefix
    that is no event name. Runs its handlers in the caller's thread.
    """

    __slots__ = ("_began_ns", "_bus", "_dispatch", "_extra", "_metadata", "_token")

    def __init__(
        self,
        prefix: str | Sequence[str],
        metadata: Mapping[str, Any] | None = None,
        *,
        bus: Bus = default_bus,
    ) -> None:
        try:
            self._dispatch: _SpanDispatch = bus.span_dispatch[prefix]
        except (KeyError, TypeError):  # not used before, or a list of segments
            self._dispatch = _dispatch_of(bus, prefix)
        self._bus = bus
        self._metadata = _EMPTY if metadata is None else metadata
        self._token: Token[SpanIds | None] | None = None

    def __enter__(self) -> Self:
        dispatch = self._dispatch
        if dispatch.heard:
            self.parent = parent = current_span.get()
            self._token = current_span.set(self)
            if parent is not None:
                self._metadata = {"parent_span_id": parent.span_id, **self._metadata}
            self._extra: dict[str, Any] | None = None
            self._began_ns = began_ns = perf_counter_ns()
            start = dispatch.start
            if start is not None:
                start({"monotonic_time": began_ns, "system_time": time_ns()}, self._metadata)
        return self

    def add(self, measurements: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Give the end more measurements and metadata; `duration` and `monotonic_time` stay the span's own."""
        if self._token is not None:  # else nobody listens
            self._extra = {**(self._extra or _EMPTY), **(measurements or _EMPTY)}
            self._metadata = {**self._metadata, **(metadata or _EMPTY)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token = self._token
        if token is None:  # nobody listened when it began
            return
        now_ns = perf_counter_ns()
        measurements: dict[str, Any] = {"duration": now_ns - self._began_ns, "monotonic_time": now_ns}
        if self._extra is not None:
            measurements = {**self._extra, **measurements}
        if error is None:
            stop = self._dispatch.stop
            if stop is not None:
                stop(measurements, {**self._metadata, "status": "success"})
        elif self._dispatch.exception is not None:
            self._dispatch.exception(measurements, {**self._metadata, **failure_of(error)})
        current_span.reset(token)
        self._token = None

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function or generator function: every call of it is a span of its own."""
        prefix, metadata, bus = self._dispatch.prefix, self._metadata, self._bus
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def traced_coroutine(*args: Any, **kwargs: Any) -> Any:
                with span(prefix, metadata, bus=bus):
                    return await function(*args, **kwargs)

            return traced_coroutine  # type: ignore[return-value]

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def traced_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                with span(prefix, metadata, bus=bus):
                    return (yield from function(*args, **kwargs))

            return traced_generator  # type: ignore[return-value]

        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with span(prefix, metadata, bus=bus):
                return function(*args, **kwargs)

        return traced  # type: ignore[return-value]


def _dispatch_of(bus: Bus, prefix: str | Sequence[str]) -> _SpanDispatch:
    name = event_name(prefix)
    known: _SpanDispatch | None = bus.span_dispatch.get(name)
    if known is None:
        known = bus.span_dispatch[name] = _SpanDispatch(bus, name)
    return known


def failure_of(error: BaseException) -> dict[str, Any]:
    """The metadata of a `*.exception` event."""
    return {
        "status": "error",
        "kind": "error" if isinstance(error, Exception) else "exit",
        "reason": message_of(error),
        "error_type": type(error).__name__,
        "stacktrace": "".join(traceback.format_exception(error)),
    }
