"""The calls of an event's handlers, written out: generated code instead of a loop.

The interpreter caches globals in place, and what a call site calls, so that a handler called by name from a function of
its own costs half of one fetched by a loop (facts/performance.md §1). Each event has its own code object: with one
shared by all, each event would spoil the caches of the others (benchmarks/RESULTS.md: 1.2 x with 64 events in turn).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import Any, Protocol

import msgspec

HandlerFunction = Callable[[str, Mapping[str, Any], Mapping[str, Any], Any], object]
UNROLLED_MAX = 16  # handlers; more are called in a loop, so that a thousand handlers are not a thousand compilations


class Dispatch(Protocol):
    """Calls every handler of one event, in attach order. Nothing that a handler raises comes out."""

    def __call__(self, measurements: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None: ...


Describe = Callable[[Any], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Measurements and metadata of an event, from what our own source knows about it."""
Tell = Callable[[Describe, Any], None]


class Attachment(msgspec.Struct, frozen=True, eq=False):
    """A handler id and everything it listens to: names, or all names below a prefix."""

    id: object
    names: tuple[str, ...]
    prefix: str | None
    function: HandlerFunction
    config: Any
    keep: bool
    taker: Callable[[str], Tell | None] | None = None

    def hears(self, event: str) -> bool:
        """Does it listen to this name?"""
        if self.prefix is None:
            return event in self.names
        return not self.prefix or event == self.prefix or event.startswith(self.prefix + ".")


Failed = Callable[[Attachment, str, Mapping[str, Any], Mapping[str, Any], Exception], None]
Call = tuple[str, HandlerFunction, Any, Attachment | None]
"""What runs all handlers of an event: its name, a function, that function's config, and whose it is. With one handler
it is that handler itself, and whoever calls it guards it; with more, a function that guards each.
"""


_DO_NOTHING = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def does_nothing(function: Callable[..., object]) -> bool:
    """Does calling it run none of it, as its result is to be awaited or gone through?"""
    return any(is_such(body) for is_such in _DO_NOTHING for body in (function, type(function).__call__))


def check_handler(handler_id: object, function: HandlerFunction) -> None:
    """Raises `TypeError` for what cannot be called as a handler is, if it says so, or would do nothing when called."""
    if not callable(function):
        raise TypeError(f"cannot attach {handler_id!r}: {function!r} is not callable")
    if does_nothing(function):
        raise TypeError(
            f"cannot attach {handler_id!r}: a handler is called and not awaited or gone through: {function!r}"
        )
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # written in C: it does not say
        return
    try:
        signature.bind("event", {}, {}, None)
    except TypeError:
        raise TypeError(
            f"cannot attach {handler_id!r}: a handler is called as (event, measurements, metadata, config), "
            f"this one takes {signature}"
        ) from None


def nobody(measurements: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """The dispatch of an event that nobody listens to."""


def dispatch_of(name: str, handlers: tuple[Attachment, ...], failed: Failed) -> Dispatch:
    """A function of measurements and metadata: for those who have one event at hand."""
    if not handlers:
        return nobody
    if len(handlers) > UNROLLED_MAX:
        return functools.partial(call_each, handlers, failed, name)
    dispatch: Dispatch = _unrolled(_DISPATCH, name, handlers, failed)
    return dispatch


def tell_of(name: str, handlers: tuple[Attachment, ...], dispatch: Dispatch) -> Tell:
    """What takes an event that is to be described: its only handler's own way to do so, else the dispatch. Where nobody
    listens nothing is described.
    """
    if not handlers:
        return _untold
    taker = handlers[0].taker if len(handlers) == 1 else None
    return (taker(name) if taker is not None else None) or (lambda describe, subject: dispatch(*describe(subject)))


def _untold(describe: Describe, subject: Any) -> None:
    """Nobody listens."""


def call_of(name: str, handlers: tuple[Attachment, ...], failed: Failed) -> Call | None:
    """What `execute` makes of a name; None when nobody listens."""
    if not handlers:
        return None
    if len(handlers) == 1:
        return (name, handlers[0].function, handlers[0].config, handlers[0])
    if len(handlers) > UNROLLED_MAX:
        return (name, functools.partial(call_each, handlers, failed), None, None)
    return (name, _unrolled(_CALL, name, handlers, failed), None, None)


def call_each(
    handlers: tuple[Attachment, ...],
    failed: Failed,
    name: str,
    measurements: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    config: Any = None,
) -> None:
    """Call these handlers in order, each guarded."""
    metadata = {} if metadata is None else metadata
    for handler in handlers:
        try:
            handler.function(name, measurements, metadata, handler.config)
        except Exception as error:  # noqa: BLE001  the promise of the bus: a handler never breaks the program
            failed(handler, name, measurements, metadata, error)


_NAME = "the event's name"
_DISPATCH = f"""
def dispatch(measurements, metadata=None):
    name = {_NAME!r}
    if metadata is None:
        metadata = {{}}
"""
_CALL = """
def dispatch(name, measurements, metadata, config):
"""
_HANDLER = """
    try:
        function_{0}(name, measurements, metadata, config_{0})
    except Exception as error:
        failed(attachment_{0}, name, measurements, metadata, error)
"""


@functools.cache
def _code(head: str, count: int) -> CodeType:
    source = head + "".join(_HANDLER.format(number) for number in range(count))
    module = compile(source, "<tinkertape dispatch>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))


def _unrolled(head: str, name: str, handlers: tuple[Attachment, ...], failed: Failed) -> Any:
    """The generated function: handlers and configs are its globals, the event's name is a constant of it."""
    names: dict[str, Any] = {"failed": failed}
    for number, handler in enumerate(handlers):
        names[f"function_{number}"], names[f"config_{number}"] = handler.function, handler.config
        names[f"attachment_{number}"] = handler
    code = _code(head, len(handlers))
    constants = tuple(name if constant == _NAME else constant for constant in code.co_consts)
    return FunctionType(code.replace(co_consts=constants), names, "dispatch", (None,) if head is _DISPATCH else None)
