"""The bus: events go in by name, handlers hear them at once, in the caller's thread.

The semantics are those of the BEAM's `telemetry` (facts/beam.md T1-T67), the items marked BEAT done the better way:
handlers run in attach order, ids are unique over all events, attaching works before, during and after anything else.

Reads are lock-free: an event's handlers are one generated function in a dict, replaced whole by whoever attaches or
detaches.
Threads  `execute` runs in the caller's thread; `attach` and `detach` in any.
Locks    `_lock`: held while the tables are rebuilt, never while a handler runs.
Fork     a child keeps the handlers and makes its locks anew.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType
from typing import Any, Literal, Protocol

import msgspec

from tinkertape.errors import EventNameError, HandlerExists, HandlerNotFound

HandlerFunction = Callable[[str, Mapping[str, Any], Mapping[str, Any], Any], object]
NAMES_MAX = 10_000  # names whose dispatch is kept: a program that makes names up must not fill the memory
OnFailure = Literal["detach", "keep"]
HANDLER_FAILURE = "telemetry.handler.failure"

_NAME = re.compile(r"[^\s.]+(\.[^\s.]+)*\Z")  # `Telemetry.log` takes any such name, so one must be able to attach to it
_EMPTY: Mapping[str, Any] = {}
_log = logging.getLogger("tinkertape")


class Execute(Protocol):
    """The type of `execute`."""

    def __call__(
        self,
        event: str | Sequence[str],
        measurements: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
    ) -> None: ...


class Handler(msgspec.Struct, frozen=True):
    """One attachment, as `list_handlers` shows it. `event_name` of an `attach_all` handler is its prefix with `.*`."""

    id: object
    event_name: str
    function: HandlerFunction
    config: Any


class Attachment(msgspec.Struct, frozen=True, eq=False):
    """A handler id and everything it listens to: names, or all names below a prefix."""

    id: object
    names: tuple[str, ...]
    prefix: str | None
    function: HandlerFunction
    config: Any
    keep: bool
    order: int

    def hears(self, event: str) -> bool:
        if self.prefix is None:
            return event in self.names
        return not self.prefix or event == self.prefix or event.startswith(self.prefix + ".")


Dispatch = Callable[..., None]  # (measurements, metadata={}): calls every handler of one event


class Listener(Protocol):
    """Who wants one event's handlers, and the call that runs them, at hand: a declared event type, a span."""

    name: str

    def inform(self, handlers: tuple[Attachment, ...], execute: Dispatch) -> None:
        """Told when it begins to listen, and at every attach and detach; holds the bus's lock."""

    def __hash__(self) -> int: ...


def _nobody(measurements: Mapping[str, Any], metadata: Mapping[str, Any] = _EMPTY) -> None:
    """The dispatch of an event that nobody listens to."""


@functools.lru_cache(maxsize=64)
def _dispatch_code(count: int) -> CodeType:
    """A function that calls `count` handlers one after the other, each guarded.

    Written out instead of a loop, with functions and configs as globals of the generated code: the interpreter caches
    globals in place, and that halves the cost (facts/performance.md §1).
    """
    lines = ["def dispatch(measurements, metadata=EMPTY):"]
    for number in range(count):
        lines += [
            " try:",
            f"  function_{number}(name, measurements, metadata, config_{number})",
            " except Exception as error:",
            f"  failed(attachment_{number}, name, measurements, metadata, error)",
        ]
    return compile("\n".join(lines), "<tinkertape dispatch>", "exec")


class Bus:
    """Carries events to handlers. The module's functions are the methods of one `Bus`, the default one.

    A handler is called as `function(event, measurements, metadata, config)`. One that raises never reaches the caller:
    it is detached (`on_failure="detach"`) or kept, and `telemetry.handler.failure` is executed with the original
    event's data.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._attachments: dict[object, Attachment] = {}
        self._order = 0
        self.heard_by: dict[str, tuple[Attachment, ...]] = {}  # of the names that were executed or attached to
        self._dispatch: dict[Any, Dispatch] = {}
        self.execute = _named_execute(self._dispatch, self._dispatch_of)
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._failed: set[object] = set()
        self.span_dispatch: dict[Any, Any] = {}  # prefix → what runs its three events; filled and read by `span`
        _buses.add(self)

    def attach(
        self,
        handler_id: object,
        event: str | Sequence[str],
        function: HandlerFunction,
        config: Any = None,
        *,
        on_failure: OnFailure = "detach",
    ) -> None:
        """Call `function` for every event of exactly this name. Raises `HandlerExists`, `EventNameError`."""
        self.attach_many(handler_id, [event], function, config, on_failure=on_failure)

    def attach_many(
        self,
        handler_id: object,
        events: Iterable[str | Sequence[str]],
        function: HandlerFunction,
        config: Any = None,
        *,
        on_failure: OnFailure = "detach",
    ) -> None:
        """Attach one handler to several names, all or none.

        Raises `HandlerExists`, `EventNameError`; a name given twice is refused.
        """
        if isinstance(events, str):
            raise EventNameError(f"attach_many wants a list of event names, got the one name {events!r}; use attach")
        names = tuple(event_name(event) for event in events)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise EventNameError(f"cannot attach {handler_id!r}: event {twice!r} is listed twice")
        if names:
            self._add(handler_id, names, None, function, config, on_failure)

    def attach_all(
        self,
        handler_id: object,
        function: HandlerFunction,
        config: Any = None,
        *,
        prefix: str = "",
        on_failure: OnFailure = "detach",
    ) -> None:
        """Call `function` for every event whose name begins with the segments of `prefix`, declared or not, executed
        before or after.
        """
        self._add(handler_id, (), event_name(prefix) if prefix else "", function, config, on_failure)

    def _add(
        self,
        handler_id: object,
        names: tuple[str, ...],
        prefix: str | None,
        function: HandlerFunction,
        config: Any,
        on_failure: OnFailure,
    ) -> None:
        if not callable(function):
            raise TypeError(f"cannot attach {handler_id!r}: {function!r} is not callable")
        if on_failure not in ("detach", "keep"):
            raise ValueError(f"cannot attach {handler_id!r}: on_failure is {on_failure!r}; use 'detach' or 'keep'")
        with self._lock:
            if handler_id in self._attachments:
                raise HandlerExists(
                    f"cannot attach {handler_id!r}: the id is taken; detach it first, or choose another"
                )
            self._order += 1
            self._attachments[handler_id] = Attachment(
                handler_id, names, prefix, function, config, on_failure == "keep", self._order
            )
            self._failed.discard(handler_id)
            self._rebuild()

    def detach(self, handler_id: object) -> None:
        """Take a handler off all its events; a dispatch that is under way still runs it. Raises `HandlerNotFound`."""
        with self._lock:
            if self._attachments.pop(handler_id, None) is None:
                raise HandlerNotFound(f"cannot detach {handler_id!r}: nothing is attached under this id")
            self._rebuild()

    def _rebuild(self) -> None:
        """Bring every known name up to date, one at a time: a reader sees the old dispatch of a name or the new,
        whole.
        """
        known = set(self._dispatch) | {name for attachment in self._attachments.values() for name in attachment.names}
        for name in known:
            self._resolve(name)
        for listener in list(self._listeners):
            self._inform(listener)

    def _resolve(self, event: str) -> Dispatch:
        handlers = tuple(attachment for attachment in self._attachments.values() if attachment.hears(event))
        dispatch = self._unrolled(event, handlers) if handlers else _nobody
        if event in self._dispatch or handlers or len(self._dispatch) < NAMES_MAX:
            self.heard_by[event], self._dispatch[event] = handlers, dispatch
        return dispatch

    def _unrolled(self, event: str, handlers: tuple[Attachment, ...]) -> Dispatch:
        names: dict[str, Any] = {"EMPTY": _EMPTY, "name": event, "failed": self._failed_in}
        for number, handler in enumerate(handlers):
            names[f"function_{number}"], names[f"config_{number}"] = handler.function, handler.config
            names[f"attachment_{number}"] = handler
        exec(_dispatch_code(len(handlers)), names)
        dispatch: Dispatch = names["dispatch"]
        return dispatch

    def _dispatch_of(self, event: str | Sequence[str]) -> Dispatch:
        """What runs the handlers of an event that was not executed before, or whose name was given in segments."""
        name = event if isinstance(event, str) else ".".join(event)
        dispatch = self._dispatch.get(name)
        if dispatch is not None:
            return dispatch
        with self._lock:
            return self._resolve(name)

    def handlers_of(self, event: str) -> tuple[Attachment, ...]:
        """Who hears events of this name now, in attach order."""
        self._dispatch_of(event)
        return self.heard_by.get(event, ())

    def _inform(self, listener: Listener) -> None:
        dispatch = self._dispatch_of(listener.name)
        listener.inform(self.heard_by.get(listener.name, ()), dispatch)

    def keep_current(self, listener: Listener) -> None:
        """Inform the listener now and at every later attach and detach, as long as the
        listener lives.
        """
        with self._lock:
            self._listeners.add(listener)
            self._inform(listener)

    def list_handlers(self, prefix: str | Sequence[str] = "") -> list[Handler]:
        """All attachments whose event name is `prefix` or below it, in attach order; one entry an event."""
        below = event_name(prefix) if prefix else ""
        found = []
        for attachment in list(self._attachments.values()):
            shown = attachment.names if attachment.prefix is None else (f"{attachment.prefix}.*".lstrip("."),)
            for name in shown:
                if not below or name == below or name.startswith(below + "."):
                    found.append(Handler(attachment.id, name, attachment.function, attachment.config))
        return found

    def call(
        self,
        handlers: tuple[Attachment, ...],
        name: str,
        measurements: Mapping[str, Any],
        metadata: Mapping[str, Any],
    ) -> None:
        """Call these handlers in order; what one raises is told to the bus, never to the caller."""
        for handler in handlers:
            try:
                handler.function(name, measurements, metadata, handler.config)
            except Exception as error:  # noqa: BLE001  the promise of the bus: a handler never breaks the program
                self._failed_in(handler, name, measurements, metadata, error)

    def _failed_in(
        self,
        handler: Attachment,
        event: str,
        measurements: Mapping[str, Any],
        metadata: Mapping[str, Any],
        error: Exception,
    ) -> None:
        with self._lock:
            first = handler.id not in self._failed
            self._failed.add(handler.id)
            if not handler.keep and self._attachments.get(handler.id) is handler:
                del self._attachments[handler.id]
                self._rebuild()
        self.execute(
            HANDLER_FAILURE,
            {"monotonic_time": time.perf_counter_ns(), "system_time": time.time_ns()},
            {
                "handler_id": handler.id,
                "handler_config": handler.config,
                "event_name": event,
                "event_measurements": measurements,
                "event_metadata": metadata,
                "kind": "error",
                "reason": error,
                "stacktrace": traceback.format_exception(error),
            },
        )
        if first:
            outcome = "was kept" if handler.keep else "has been detached"
            _log.error("tinkertape: handler %r failed on %s and %s", handler.id, event, outcome, exc_info=error)


def _named_execute(table: dict[Any, Dispatch], dispatch_of: Callable[[Any], Dispatch]) -> Execute:
    """`Bus.execute`, as a function over the table instead of a method: one look-up less on the hottest path."""

    def execute(
        event: str | Sequence[str], measurements: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Call every handler of this event, in attach order, in this thread.

        Never raises an `Exception` of a handler (an exit or an interrupt passes). A name that nobody knows matches
        nobody.
        """
        try:
            dispatch = table[event]
        except (KeyError, TypeError):  # not executed before, or a list of segments
            dispatch = dispatch_of(event)
        if dispatch is not _nobody:
            dispatch(measurements, _EMPTY if metadata is None else metadata)

    return execute


_buses: weakref.WeakSet[Bus] = weakref.WeakSet()  # a fork hook cannot be removed: one a module, holding nobody alive


def _start_over() -> None:
    for bus in list(_buses):
        bus._lock = threading.RLock()


os.register_at_fork(after_in_child=_start_over)

default_bus = Bus()


def event_name(event: str | Sequence[str]) -> str:
    """The one form of an event name: segments joined by dots, lower-case where it is declared.

    Raises `EventNameError`, saying what is wrong with it.
    """
    if isinstance(event, str):
        name = event
    elif isinstance(event, Sequence) and all(isinstance(segment, str) for segment in event):
        name = ".".join(event)
    else:
        raise EventNameError(f"an event name is a string or a sequence of strings, got {event!r}")
    if not _NAME.match(name):
        raise EventNameError(f"{name!r} is no event name: use segments joined by single dots, 'my.thing.done'")
    return name


attach = default_bus.attach
attach_many = default_bus.attach_many
attach_all = default_bus.attach_all
detach = default_bus.detach
list_handlers = default_bus.list_handlers
execute = default_bus.execute
