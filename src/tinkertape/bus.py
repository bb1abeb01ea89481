"""The bus: events go in by name, handlers hear them at once, in the caller's thread.

The semantics are those of the BEAM's `telemetry` (facts/beam.md T1-T66), the items marked BEAT done the better way:
docs/conformance.md has them one by one. Handlers run in attach order, ids are unique over all events, attaching works
before, during and after anything else.

Reads are lock-free: what runs an event's handlers is one entry of a dict. Whoever attaches or detaches takes the
entries out that are no longer true, and the next `execute` of such a name makes a new one.
Threads  `execute` runs in the caller's thread; `attach` and `detach` in any.
Locks    `_lock`: held while the tables are changed, never while a handler runs. A signal's handler may take it again in
         the middle of that, so whatever is made of `_attachments` is made again if they changed meanwhile.
Fork     a child keeps the handlers and makes its locks anew.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from tinkertape.dispatch import Attachment as Attachment
from tinkertape.dispatch import Call as Call
from tinkertape.dispatch import Dispatch as Dispatch
from tinkertape.dispatch import HandlerFunction as HandlerFunction
from tinkertape.dispatch import Tell as Tell
from tinkertape.dispatch import call_each, call_of, check_handler, dispatch_of
from tinkertape.errors import EventNameError, HandlerExists, HandlerNotFound
from tinkertape.event_name import event_name as event_name
from tinkertape.event_name import prefix_name as prefix_name
from tinkertape.failures import FailureLog, failure_metadata, make_room, now
from tinkertape.guard import count_failure, guarded

NAMES_MAX = 10_000  # names whose call is kept: a program that makes names up must not fill the memory
OnFailure = Literal["detach", "keep"]
HANDLER_FAILURE = "telemetry.handler.failure"


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


class Listener(Protocol):
    """Who wants one event's handlers, and the call that runs them, at hand: a declared event type, a span."""

    name: str

    def inform(self, handlers: tuple[Attachment, ...], execute: Dispatch) -> None:
        """Told when it begins to listen, and at every attach and detach that concerns it; holds the bus's lock."""


class Bus:
    """Carries events to handlers. The module's functions are the methods of one `Bus`, the default one.

    A handler is called as `function(event, measurements, metadata, config)`. One that raises never reaches the caller:
    it is detached (`on_failure="detach"`) or kept, and `telemetry.handler.failure` is executed with the original
    event's data.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._attachments: dict[object, tuple[Attachment]] = {}  # in attach order, each as `alone` gives it
        self._changes = 0  # of those
        self.heard_by: dict[str, tuple[Attachment, ...]] = {}  # of the names that are in `_calls`
        self._calls: dict[Any, Call | None] = {}
        self.execute = _named_execute(self._calls, self.call_of, self.handler_failed)
        self._listeners: weakref.WeakValueDictionary[int, Listener] = weakref.WeakValueDictionary()  # by id
        self._failures = FailureLog()
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
        self._add(handler_id, (event_name(event),), None, function, config, on_failure)

    def attach_many(
        self,
        handler_id: object,
        events: Iterable[str | Sequence[str]],
        function: HandlerFunction,
        config: Any = None,
        *,
        on_failure: OnFailure = "detach",
    ) -> None:
        """Attach one handler to several names, all or none. No name: nothing is attached, and the id stays free.

        Raises `HandlerExists`, `EventNameError`; a name given twice is refused.
        """
        if isinstance(events, str) or not isinstance(events, Iterable):
            raise EventNameError(f"attach_many wants a list of event names, got {events!r}; for one name use attach")
        names = tuple(event_name(event) for event in events)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise EventNameError(f"cannot attach {handler_id!r}: event {twice!r} is listed twice")
        self._add(handler_id, names, None, function, config, on_failure)

    def attach_all(
        self,
        handler_id: object,
        function: HandlerFunction,
        config: Any = None,
        *,
        prefix: str | Sequence[str] = "",
        on_failure: OnFailure = "detach",
        taker: Callable[[str], Tell | None] | None = None,
    ) -> None:
        """Call `function` for every event whose name begins with the segments of `prefix`, declared or not, executed
        before or after.

        `taker` makes of an event's name what is called in place of `function` by `EventType.tell`, as long as this
        is the event's only handler; None: nothing else is.
        """
        self._add(handler_id, (), prefix_name(prefix), function, config, on_failure, taker)

    def _add(
        self,
        handler_id: object,
        names: tuple[str, ...],
        prefix: str | None,
        function: HandlerFunction,
        config: Any,
        on_failure: OnFailure,
        taker: Callable[[str], Tell | None] | None = None,
    ) -> None:
        check_handler(handler_id, function)
        if on_failure not in ("detach", "keep"):
            raise ValueError(f"cannot attach {handler_id!r}: on_failure is {on_failure!r}; use 'detach' or 'keep'")
        alone = (Attachment(handler_id, names, prefix, function, config, on_failure == "keep", taker),)
        with self._lock:
            if handler_id in self._attachments:
                raise HandlerExists(
                    f"cannot attach {handler_id!r}: the id is taken; detach it first, or choose another"
                )
            if names or prefix is not None:
                self._attachments[handler_id] = alone
                self._changes += 1
                self._update(*alone)

    def detach(self, handler_id: object) -> None:
        """Take a handler off all its events; a dispatch that is under way still runs it. Raises `HandlerNotFound`."""
        with self._lock:
            alone = self._attachments.pop(handler_id, None)
            self._changes += 1
            if alone is None:
                raise HandlerNotFound(f"cannot detach {handler_id!r}: nothing is attached under this id")
            self._update(*alone)

    def alone(self, handler_id: object) -> tuple[Attachment]:
        """The very tuple that `heard_by` has for a name which only this handler hears. Raises `HandlerNotFound`."""
        try:
            return self._attachments[handler_id]
        except KeyError:
            raise HandlerNotFound(f"nothing is attached under {handler_id!r}") from None

    def _update(self, changed: Attachment) -> None:
        """Forget the calls of the names that this attachment came to or left, and tell who listens to one of them."""
        names = changed.names if changed.prefix is None else [name for name in list(self._calls) if changed.hears(name)]
        for name in names:
            self._calls.pop(name, None)
            self.heard_by.pop(name, None)
        for listener in self._living_listeners():
            if changed.hears(listener.name):
                self._inform(listener)

    def _living_listeners(self) -> list[Listener]:
        references = self._listeners.valuerefs()  # in one go, as no iteration is: a signal's handler may add some
        return [listener for reference in references if (listener := reference()) is not None]

    def call_of(self, event: str | Sequence[str]) -> Call | None:
        """What runs the handlers of an event now; whoever calls it guards it by `handler_failed`.

        For spans, and for `execute` of a name that is not in the table or was given in segments.
        """
        try:
            name = event if isinstance(event, str) else ".".join(event)
            if not name:
                return None
            return self._calls[name]
        except TypeError:  # no name: it matches nobody
            return None
        except KeyError:
            with self._lock:
                return self._resolve(name)

    def _resolve(self, name: str) -> Call | None:
        changes = None
        while changes != self._changes:  # again, if a signal's handler attached or detached meanwhile
            changes, attachments = self._changes, tuple(self._attachments.values())
            hearing = [alone for alone in attachments if alone[0].hears(name)]
            handlers = hearing[0] if len(hearing) == 1 else tuple(attachment for (attachment,) in hearing)
            call = call_of(name, handlers, self.handler_failed)
            if len(self._calls) >= NAMES_MAX:
                self._calls.clear()  # names that are in use come back at their next execute
                self.heard_by.clear()
        self.heard_by[name] = handlers  # before the call: who finds a name there finds its handlers here
        self._calls[name] = call
        return call

    def handlers_of(self, event: str) -> tuple[Attachment, ...]:
        """Who hears events of this name now, in attach order."""
        handlers = self.heard_by.get(event)
        if handlers is None:
            with self._lock:
                self.call_of(event)
                handlers = self.heard_by.get(event, ())
        return handlers

    def _inform(self, listener: Listener) -> None:
        changes = None
        while changes != self._changes:  # the last word is the newest, as in `_resolve`
            changes = self._changes
            handlers = self.handlers_of(listener.name)
            listener.inform(handlers, dispatch_of(listener.name, handlers, self.handler_failed))

    def keep_current(self, listener: Listener) -> None:
        """Inform the listener now and at every later attach and detach, as long as the
        listener lives.
        """
        with self._lock:
            self._listeners[id(listener)] = listener
            self._inform(listener)

    def list_handlers(self, prefix: str | Sequence[str] = "") -> list[Handler]:
        """All attachments whose event name is `prefix` or below it, in attach order; one entry an event.

        Raises `EventNameError`.
        """
        below = prefix_name(prefix)
        found = []
        with self._lock:
            attachments = list(self._attachments.values())
        for (attachment,) in attachments:
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
        call_each(handlers, self.handler_failed, name, measurements, metadata)

    def handler_failed(
        self,
        handler: Attachment | None,
        event: str,
        measurements: Mapping[str, Any],
        metadata: Mapping[str, Any],
        error: Exception,
    ) -> None:
        """A handler raised: it is detached unless it is kept, then the failure is told, on the bus and in the log.

        One that is kept and failed on a failure would be told of its own, and fail again: that one is logged alone.
        """
        if handler is None:  # no handler's: the program's own recursion was too deep to call any
            return count_failure("bus.execute", error)
        if isinstance(error, RecursionError):
            make_room()
        if not handler.keep:
            self._detach_failed(handler)
        with guarded("bus.failure"):
            if not (handler.keep and event == HANDLER_FAILURE):
                self.execute(HANDLER_FAILURE, now(), failure_metadata(handler, event, measurements, metadata, error))
            self._failures.failed(handler.id, event, "was kept" if handler.keep else "has been detached", error)

    def _detach_failed(self, handler: Attachment) -> None:
        with self._lock:
            if handler in self._attachments.get(handler.id, ()):  # else it was detached, or its id has a new handler
                self.detach(handler.id)

    def _start_over(self) -> None:
        """In a forked child: new locks; where a thread of the parent was changing the tables, they are made anew."""
        was_free = self._lock.acquire(blocking=False)
        self._lock = threading.RLock()
        self._failures.start_over()
        if not was_free:
            self._calls.clear()
            self.heard_by.clear()
            for listener in self._living_listeners():
                self._inform(listener)


def _named_execute(
    table: dict[Any, Call | None], call_of: Callable[[Any], Call | None], failed: Callable[..., None]
) -> Execute:
    """`Bus.execute`, as a function over the table instead of a method: one look-up less on the hottest path."""

    def execute(
        event: str | Sequence[str], measurements: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Call every handler of this event, in attach order, in this thread.

        Never raises an `Exception` of a handler (an exit or an interrupt passes). A name that nobody knows matches
        nobody.
        """
        try:
            call = table[event]
        except (KeyError, TypeError):  # not executed before, or a list of segments
            call = call_of(event)
        if call is not None:
            name, function, config, attachment = call
            metadata = {} if metadata is None else metadata
            try:
                function(name, measurements, metadata, config)
            except Exception as error:  # noqa: BLE001  the promise of the bus: a handler never breaks the program
                failed(attachment, name, measurements, metadata, error)

    return execute


_buses: weakref.WeakSet[Bus] = weakref.WeakSet()  # a fork hook cannot be removed: one a module, holding nobody alive


def _start_over() -> None:
    for bus in list(_buses):
        bus._start_over()


os.register_at_fork(after_in_child=_start_over)

default_bus = Bus()


attach = default_bus.attach
attach_many = default_bus.attach_many
attach_all = default_bus.attach_all
detach = default_bus.detach
list_handlers = default_bus.list_handlers
execute = default_bus.execute
