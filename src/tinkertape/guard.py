"""The one guarded place for `except Exception`: nothing of ours reaches the program.

Threads  any; `_lock` is held to count, never while the guarded code runs. A signal's handler may take it again.
Fork     the counts go on in the child; the lock is made anew.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from types import CodeType, FunctionType, TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LIMIT = 5  # failures, then `disabled(place)`: a hook that fails again and again takes itself off

_log = logging.getLogger("tinkertape")
_lock = threading.RLock()
_failures: Counter[tuple[str, str]] = Counter()
_by_place: Counter[str] = Counter()
_off: set[str] = set()  # places that failed `LIMIT` times: what every guarded call looks at


def _start_over() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_start_over)


class guarded:
    """Keep an `Exception` of our own code from the program.

    `place` names the code for people ("instrument.tinker.send"). A failure is counted by place and type, the first of a
    place is logged with its traceback, and after the fifth `disabled(place)` is true: hooks look there and take
    themselves off. Use as `with guarded(place):` or through `guard`. `KeyboardInterrupt`, `SystemExit` and cancellation
    pass.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        count_failure(self.place, error)
        return True


def guard(place: str) -> Callable[[Callable[P, T]], Callable[P, T | None]]:
    """Decorate a function of ours so that its failure is counted and `None` comes back; off after the fifth."""

    def decorate(function: Callable[P, T]) -> Callable[P, T | None]:
        names = {"_call": function, "_place": place, "_off": _off, "_count_failure": count_failure}
        wrapper = FunctionType(_wrapper_code(*_parameters(function)), names, function.__name__, function.__defaults__)
        wrapper.__kwdefaults__ = function.__kwdefaults__
        return functools.wraps(function)(wrapper)

    return decorate


_WRAPPER = """
def wrapper({}):
    if _off and _place in _off:
        return None
    try:
        return _call({})
    except Exception as error:
        _count_failure(_place, error)
        return None
"""


@functools.cache
def _wrapper_code(parameters: str, arguments: str) -> CodeType:
    """Written out, not `*args, **kwargs`: the interpreter then calls the function without a tuple, a dict, and a frame
    of C.
    """
    module = compile(_WRAPPER.format(parameters, arguments), "<tinkertape guard>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))


def _parameters(function: Callable[..., Any]) -> tuple[str, str]:
    """As they stand in the function's head, and how they are handed on."""
    code = function.__code__
    count = code.co_argcount
    positional, named = code.co_varnames[:count], code.co_varnames[count : count + code.co_kwonlyargcount]
    head = (*positional, "*", *named) if named else positional
    return ", ".join(head), ", ".join((*positional, *(f"{name}={name}" for name in named)))


def outcome_of(function: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Run a stranger's function in a thread of ours: what it returned and None, or None and what it raised.

    An exit counts as a failure too: in a thread of ours nobody else would hear of it.
    """
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001  the one guarded place
        return None, error


def message_of(exception: BaseException) -> str:
    """The text of an exception, even of one whose own `__str__` fails."""
    try:
        return str(exception)
    except BaseException:  # noqa: BLE001  as `traceback` does: an exit that it asks for is not the program's
        return "<exception str() failed>"


def attempt(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T | None, Exception | None]:
    """What it returned, or the `Exception` it raised: for who counts the failures of a user's function himself."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001  the one guarded place
        return None, error


def count_failure(place: str, error: BaseException) -> None:
    """Count one failure, and log the first of a place."""
    with _lock:
        _failures[place, type(error).__name__] += 1
        _by_place[place] += 1
        count = _by_place[place]
        if count >= LIMIT:
            _off.add(place)
    if count == 1:
        _log.warning("tinkertape failed in %s and went on; the program is not affected", place, exc_info=error)
    elif count == LIMIT:
        _log.warning("tinkertape failed %d times in %s and leaves it off", count, place)


def disabled(place: str) -> bool:
    """Has this place failed so often that it should take itself off?"""
    return place in _off


def failures() -> dict[tuple[str, str], int]:
    """How often our own code failed, by (place, type of error)."""
    with _lock:
        return dict(_failures)


def forget_failures(place: str | None = None) -> None:
    """Start counting anew, for one place or all: a source that is installed again begins with a clean slate."""
    with _lock:
        for key in [key for key in _failures if place in (None, key[0])]:
            del _failures[key]
        for name in [name for name in _by_place if place in (None, name)]:
            del _by_place[name]
            _off.discard(name)
