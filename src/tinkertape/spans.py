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
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, Self, TypeVar

from tinkertape.bus import Attachment, Bus, Dispatch, default_bus, event_name
from tinkertape.context import SpanIds, current_span

_EMPTY: Mapping[str, Any] = {}
F = TypeVar("F", bound=Callable[..., Any])


class _Emitter:
    """One event of a span prefix, with its handlers kept current by the bus."""

    __slots__ = ("__weakref__", "execute", "handlers", "name")

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self.handlers: tuple[Attachment, ...] = ()
        self.execute: Dispatch
        bus.keep_current(self)


_Emitters = tuple[_Emitter, _Emitter, _Emitter]


class span(SpanIds):
    """Emit `<prefix>.start`, and `<prefix>.stop` or `<prefix>.exception`, around a block, coroutine's block or
    function.

    `with span(prefix, metadata) as s: s.add({"rows": 3}, {"path": p})`, `async with …`, or `@span(prefix)` on a
    function or coroutine function. Costs next to nothing while nobody listens. Raises `EventNameError` for a prefix
    that is no event name. Runs its handlers in the caller's thread.
    """

    __slots__ = ("_began_ns", "_bus", "_emitters", "_extra", "_metadata", "_token")

    def __init__(
        self,
        prefix: str | Sequence[str],
        metadata: Mapping[str, Any] | None = None,
        *,
        bus: Bus = default_bus,
    ) -> None:
        try:
            self._emitters: _Emitters = bus.span_emitters[prefix]
        except (KeyError, TypeError):
            self._emitters = _emitters(bus, prefix)
        self._bus = bus
        self._metadata = _EMPTY if metadata is None else metadata
        self._extra: dict[str, Any] | None = None
        self._token: Token[SpanIds | None] | None = None

    def __enter__(self) -> Self:
        start, stop, exception = self._emitters
        if start.handlers or stop.handlers or exception.handlers:
            self.parent = parent = current_span.get()
            self._token = current_span.set(self)
            if parent is not None:
                self._metadata = {"parent_span_id": parent.span_id, **self._metadata}
            self._began_ns = began_ns = perf_counter_ns()
            if start.handlers:
                start.execute({"monotonic_time": began_ns, "system_time": time_ns()}, self._metadata)
        return self

    def add(self, measurements: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Give the end more measurements and metadata; `duration` and `monotonic_time` stay the span's own."""
        if self._token is not None:  # else nobody listens
            self._extra = {**(self._extra or _EMPTY), **(measurements or _EMPTY)}
            self._metadata = {**self._metadata, **(metadata or _EMPTY)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is None:  # nobody listened when it began
            return
        now_ns = perf_counter_ns()
        measurements: dict[str, Any] = {"duration": now_ns - self._began_ns, "monotonic_time": now_ns}
        if self._extra is not None:
            measurements = {**self._extra, **measurements}
        _, stop, exception = self._emitters
        if error is None:
            if stop.handlers:
                stop.execute(measurements, {**self._metadata, "status": "success"})
        elif exception.handlers:
            exception.execute(measurements, {**self._metadata, **failure_of(error)})
        current_span.reset(self._token)
        self._token = None

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Decorate: every call of `function` is a span of its own."""
        prefix, metadata, bus = self._emitters[0].name.removesuffix(".start"), self._metadata, self._bus
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def traced_coroutine(*args: Any, **kwargs: Any) -> Any:
                with span(prefix, metadata, bus=bus):
                    return await function(*args, **kwargs)

            return traced_coroutine  # type: ignore[return-value]

        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with span(prefix, metadata, bus=bus):
                return function(*args, **kwargs)

        return traced  # type: ignore[return-value]


def _emitters(bus: Bus, prefix: str | Sequence[str]) -> _Emitters:
    name = event_name(prefix)
    known: _Emitters | None = bus.span_emitters.get(name)
    if known is not None:
        return known
    made = (_Emitter(bus, f"{name}.start"), _Emitter(bus, f"{name}.stop"), _Emitter(bus, f"{name}.exception"))
    bus.span_emitters[name] = made
    return made


def failure_of(error: BaseException) -> dict[str, Any]:
    """The metadata of a `*.exception` event."""
    return {
        "status": "error",
        "kind": "error" if isinstance(error, Exception) else "exit",
        "reason": str(error),
        "error_type": type(error).__name__,
        "stacktrace": "".join(traceback.format_exception(error)),
    }
