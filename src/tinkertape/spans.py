"""Spans: a start, and then one stop or one exception, with the time between.

`<prefix>.start` has `monotonic_time` and `system_time`; `<prefix>.stop` and `<prefix>.exception` have `duration` and
`monotonic_time`, all in nanoseconds of `time.perf_counter_ns` (system_time: of the wall clock). The start's metadata is
carried into the end (facts/beam.md T51 BEAT); an exception is told with `kind`, `reason` and `stacktrace`, and goes on
to the caller unchanged. Spans inside a span share its trace id and know it as their parent.
"""

from __future__ import annotations

import functools
import inspect
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, Self, TypeVar

from tinkertape.bus import Attachment, Bus, default_bus, event_name
from tinkertape.context import current_span, new_span_id, new_trace_id

F = TypeVar("F", bound=Callable[..., Any])


class _Emitter:
    """One event of a span prefix, with its handlers kept current by the bus."""

    __slots__ = ("__weakref__", "bus", "handlers", "name")

    def __init__(self, bus: Bus, name: str) -> None:
        self.bus = bus
        self.name = name
        self.handlers: tuple[Attachment, ...] = ()
        bus.keep_current(self)


_Emitters = tuple[_Emitter, _Emitter, _Emitter]


class span:
    """Emit `<prefix>.start`, and `<prefix>.stop` or `<prefix>.exception`, around a block, a coroutine's block or a
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
        key = prefix if isinstance(prefix, str) else event_name(prefix)
        self._bus = bus
        self._emitters: _Emitters = bus.span_emitters.get(key) or _emitters(bus, key)
        self._metadata = metadata
        self._extra: dict[str, Any] | None = None
        self._token: Token[tuple[str, str] | None] | None = None
        self._began_ns = 0

    def __enter__(self) -> Self:
        start, stop, exception = self._emitters
        if start.handlers or stop.handlers or exception.handlers:
            parent = current_span.get()
            self._token = current_span.set((parent[0] if parent else new_trace_id(), new_span_id()))
            if parent is not None:
                self._metadata = {"parent_span_id": parent[1], **(self._metadata or {})}
            self._began_ns = time.perf_counter_ns()
            if start.handlers:
                measurements = {"monotonic_time": self._began_ns, "system_time": time.time_ns()}
                self._bus.execute(start.name, measurements, self._metadata)
        return self

    def add(self, measurements: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Give the end more measurements and metadata; `duration` and `monotonic_time` stay the span's own."""
        if measurements:
            self._extra = {**(self._extra or {}), **measurements}
        if metadata:
            self._metadata = {**(self._metadata or {}), **metadata}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is None:  # nobody listened when it began
            return
        now_ns = time.perf_counter_ns()
        measurements = {"duration": now_ns - self._began_ns, "monotonic_time": now_ns}
        if self._extra:
            measurements = {**self._extra, **measurements}
        try:
            if error is None:
                self._bus.execute(self._emitters[1].name, measurements, {**(self._metadata or {}), "status": "success"})
            elif self._emitters[2].handlers:
                self._bus.execute(self._emitters[2].name, measurements, {**(self._metadata or {}), **failure_of(error)})
        finally:
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


def _emitters(bus: Bus, prefix: str) -> _Emitters:
    name = event_name(prefix)
    made = (_Emitter(bus, f"{name}.start"), _Emitter(bus, f"{name}.stop"), _Emitter(bus, f"{name}.exception"))
    bus.span_emitters[prefix] = made
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
