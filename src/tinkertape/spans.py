"""Spans: a start, and then one stop or one exception, with the time between.

`<prefix>.start` has `monotonic_time` and `system_time`; `<prefix>.stop` and `<prefix>.exception` have `duration` and
`monotonic_time`, all in nanoseconds of `time.perf_counter_ns` (system_time: of the wall clock). The start's metadata,
as it was then, is carried into the end (facts/beam.md T51 BEAT); an exception is told with `kind`, `reason` and
`stacktrace`, and goes on to the caller unchanged. Spans inside a span share its trace id and know it as their parent.

A span that nobody listens to when it begins stays silent, and is nobody's parent: it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, Token
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, Protocol, TypeVar

import msgspec

from tinkertape.bus import Attachment, Bus, Call, Dispatch, default_bus, prefix_name
from tinkertape.context import Astray, SpanIds, before, current_span, go_astray, living, making
from tinkertape.exception_record import failure_of
from tinkertape.traced import traced

PREFIXES_MAX = 1_000  # prefixes whose dispatch is kept: a program that makes prefixes up must not fill the memory
F = TypeVar("F", bound=Callable[..., Any])

_current_get, _current_set, _current_reset = current_span.get, current_span.set, current_span.reset
_ENDED = Context().run(current_span.set, None)  # the token of a span that has ended; nothing is before it


class Span(Protocol):
    """What `span` returns: a context manager, an async context manager, and a decorator.

    Each time that it begins it is a span of its own, also inside itself and in other tasks meanwhile.
    """

    def __enter__(self) -> Span: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def __aenter__(self) -> Span: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, measurements: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Give the end more measurements and metadata; `duration` and `monotonic_time` stay the span's own."""

    def __call__(self, function: F) -> F:
        """Decorate a function of any kind: every call of it is a span of its own."""


def span(prefix: str | Sequence[str], metadata: Mapping[str, Any] | None = None, bus: Bus | None = None) -> Span:
    """Emit `<prefix>.start`, and `<prefix>.stop` or `<prefix>.exception`, around a block or the calls of a function.

    `with span(prefix, metadata) as s: s.add({"rows": 3}, {"path": p})`, `async with …`, or `@span(prefix)` on a
    function, coroutine function, generator function or async generator function; `span(prefix)(function)(…)` calls one.
    Raises `EventNameError` for a prefix that is no event name, `TypeError` for metadata that are no mapping.
    """
    try:
        dispatch = _dispatches[prefix] if bus is None else bus.span_dispatch[prefix]
    except (KeyError, TypeError):  # not used before, or a list of segments
        dispatch = _dispatch_of(default_bus if bus is None else bus, prefix)
    if type(metadata) is not dict:
        metadata = _as_dict(metadata)
    if dispatch.heard:
        live = _Live()  # as `_live_of`, one call less
        live._dispatch = dispatch
        live._metadata = metadata
        live._added = live._token = None
        return live
    return _Unheard(dispatch, metadata)


class _SpanDispatch:
    """What runs the handlers of a prefix's three events, None where nobody listens; the bus keeps it current."""

    __slots__ = ("exception", "failed", "heard", "listeners", "start", "stop")

    def __init__(self, bus: Bus, prefix: str) -> None:
        self.heard = False
        self.start: Call | None = None
        self.stop: Call | None = None
        self.exception: Call | None = None
        self.failed = bus.handler_failed
        self.listeners = [_Listener(self, bus, prefix, end) for end in ("start", "stop", "exception")]
        for listener in self.listeners:
            bus.keep_current(listener)


class _Listener:
    """One event of a prefix, told by the bus who listens to it."""

    __slots__ = ("__weakref__", "_bus", "_end", "_of", "name")

    def __init__(self, of: _SpanDispatch, bus: Bus, prefix: str, end: str) -> None:
        self.name = f"{prefix}.{end}".lstrip(".")
        self._of, self._bus, self._end = of, bus, end

    def inform(self, handlers: tuple[Attachment, ...], execute: Dispatch) -> None:
        """The bus says who listens."""
        setattr(self._of, self._end, self._bus.call_of(self.name))
        self._of.heard = any((self._of.start, self._of.stop, self._of.exception))


_dispatches: dict[Any, _SpanDispatch] = default_bus.span_dispatch


def _dispatch_of(bus: Bus, prefix: str | Sequence[str]) -> _SpanDispatch:
    name = prefix_name(prefix)
    known: _SpanDispatch | None = bus.span_dispatch.get(name)
    if known is None:
        known = _SpanDispatch(bus, name)
        if len(bus.span_dispatch) >= PREFIXES_MAX:
            bus.span_dispatch.clear()  # prefixes that are in use come back at their next span
        bus.span_dispatch[name] = known
    return known


def _as_dict(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"a span's metadata are a mapping, got {metadata!r}")
    return dict(metadata)


class _Live(SpanIds):
    """A span that somebody listens to.

    Written for speed (benchmarks/bench_bus.py): it has no `__init__`, which would cost a call from C into Python.
    """

    __slots__ = ("_added", "_again", "_began_ns", "_carried", "_dispatch", "_metadata", "_token")

    _dispatch: _SpanDispatch
    _metadata: dict[str, Any]  # as given
    _carried: dict[str, Any]  # the start's as it was then, carried into the end
    _added: tuple[dict[str, Any], dict[str, Any]] | None
    _token: Token[SpanIds | None] | None  # None: it has not begun
    _began_ns: int
    _again: dict[_Live, None]  # what it began as again, and goes on; not there before

    def __enter__(self) -> _Live:
        if self._token is not None:
            return self._begin_again()
        self._token = _ENDED  # at once: another thread that begins it begins it again
        parent = _current_get()
        metadata = self._metadata
        if parent is not None:
            try:
                parent_id, self._trace = parent._own, parent._trace
            except AttributeError:  # nobody asked for them yet, or it ended elsewhere
                metadata = self._begun_in(parent, metadata)
            else:
                metadata = metadata.copy()
                metadata["parent_span_id"] = parent_id
        self._token = _current_set(self)
        self._began_ns = began_ns = perf_counter_ns()
        self._carried = metadata.copy()
        start = self._dispatch.start
        if start is not None:
            name, function, config, attachment = start
            measurements = {"monotonic_time": began_ns, "system_time": time_ns()}
            try:
                function(name, measurements, metadata, config)
            except Exception as error:  # noqa: BLE001  the promise of the bus, kept here: a call less, 5 % of a span
                self._dispatch.failed(attachment, name, measurements, metadata, error)
            except BaseException:  # an interrupt or exit in a handler: the block is not entered
                self._leave()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_current = _current_get() is self
        if not is_current:
            ending = self._innermost()
            if ending is not self:
                self._again.pop(ending, None)
                return ending.__exit__(kind, error, trace)
            elsewhere = _current_set(self)  # whoever hears its end sees its ids
        now_ns = perf_counter_ns()
        dispatch = self._dispatch
        end = dispatch.stop if error is None else dispatch.exception
        try:
            if end is not None:
                measurements = {"duration": now_ns - self._began_ns, "monotonic_time": now_ns}
                metadata = self._carried
                metadata["status"] = "success"
                if error is not None or self._added is not None:
                    measurements, metadata = self._whole(measurements, metadata, error)
                name, function, config, attachment = end
                try:
                    function(name, measurements, metadata, config)
                except Exception as failure:  # noqa: BLE001  as above
                    dispatch.failed(attachment, name, measurements, metadata, failure)
        finally:
            if is_current:  # as `_leave`, one call less
                try:
                    _current_reset(self._token)  # type: ignore[arg-type]  # it began, or it would not be the current one
                    self._token = _ENDED
                except ValueError:
                    self._leave()
            else:
                _current_reset(elsewhere)
                self._leave()

    def _begun_in(self, parent: SpanIds, metadata: dict[str, Any]) -> dict[str, Any]:
        """What its start tells inside this span; one that ended elsewhere gives its place to the one before it."""
        alive = living(parent)
        if alive is not parent:
            _current_set(alive)
        if alive is None:
            return metadata
        self._trace = alive.trace
        return {**metadata, "parent_span_id": alive.span_id}

    def _begin_again(self) -> _Live:
        """What begins now, inside it, after it, or elsewhere meanwhile, is one more span."""
        with making():
            self._again = getattr(self, "_again", {})
        again = _live_of(self._dispatch, self._metadata).__enter__()
        self._again[again] = None
        return again

    def _innermost(self) -> _Live:
        """What ends now: the innermost of this context; in another context, what began last."""
        again: Mapping[_Live, None] = getattr(self, "_again", {})
        current = _current_get()
        while again and isinstance(current, _Live):
            if current is self or current in again:
                return current
            current = before(current._token)
        return [self, *again][-1]  # in one go: another thread may begin it

    @property
    def is_begun(self) -> bool:
        return self._token not in (None, _ENDED) or getattr(self, "_again", {}) != {}

    def _whole(
        self, measurements: dict[str, Any], metadata: dict[str, Any], error: BaseException | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was added, and what went wrong. The span's own measurements and the real failure win."""
        added, self._added = self._added or ({}, {}), None
        failure = {} if error is None else failure_of(error)
        return {**added[0], **measurements}, {**metadata, **added[1], **failure}

    def _leave(self) -> None:
        """Be the current span no longer.

        One that ends before one that began inside it, by a generator left in its midst, is not the current one: it
        leaves its place to the one after it. One that ends in another context than it began in, by a generator that
        another task closes, is unknown there: where it began it stays the current one, and is nobody's parent.
        """
        token, self._token = self._token, _ENDED  # it would keep the span before alive, and that one the one before
        current = _current_get()
        if current is self:
            try:
                _current_reset(token)  # type: ignore[arg-type]  # None: TypeError
            except (ValueError, TypeError):  # a copy of the context that it began in; it had ended
                _current_set(before(token))
                current = None
        while isinstance(current, _Live) and current is not self:
            if before(current._token) is self:
                current._token = token
                return
            current = before(current._token)
        if current is not self and token not in (None, _ENDED):
            go_astray(self, _Astray, before(token))

    def add(self, measurements: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Give the end more measurements and metadata; `duration` and `monotonic_time` stay the span's own."""
        innermost = self._innermost()
        added = innermost._added or ({}, {})
        innermost._added = ({**added[0], **(measurements or {})}, {**added[1], **(metadata or {})})

    async def __aenter__(self) -> _Live:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        return _decorated(function, self._dispatch, self._metadata)


class _Astray(Astray, _Live):
    """One of ours that ended elsewhere."""

    __slots__ = ()

    def _leave(self) -> None:
        if _current_get() is self:
            _current_set(living(self))


class _Unheard(msgspec.Struct, eq=False, gc=False):
    """A span that nobody listens to; a Struct, because making one costs half of any other object."""

    dispatch: _SpanDispatch
    metadata: dict[str, Any]
    live: _Live | None = None  # if somebody listens by the time that it begins

    def __enter__(self) -> _Unheard | _Live:
        if not self.dispatch.heard:
            return self
        if self.live is None:
            with making():
                self.live = self.live or _live_of(self.dispatch, self.metadata)
        return self.live.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None and self.live.is_begun:  # else it began unheard
            self.live.__exit__(kind, error, trace)

    async def __aenter__(self) -> _Unheard | _Live:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def add(self, measurements: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Nobody will hear of it, if it began unheard."""
        if self.live is not None:
            self.live.add(measurements, metadata)

    def __call__(self, function: F) -> F:
        return _decorated(function, self.dispatch, self.metadata)


def _live_of(dispatch: _SpanDispatch, metadata: dict[str, Any]) -> _Live:
    live = _Live()
    live._dispatch, live._metadata = dispatch, metadata
    live._added = live._token = None
    return live


def _decorated(function: F, dispatch: _SpanDispatch, metadata: dict[str, Any]) -> F:
    def open_span() -> _Live:  # as `_live_of`, one call less
        live = _Live()
        live._dispatch = dispatch
        live._metadata = metadata
        live._added = live._token = None
        return live

    return traced(function, dispatch, open_span)
