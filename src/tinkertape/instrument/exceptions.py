"""Exceptions that nobody catches: where Python and asyncio say so, an event is executed too.

    hook                                     event                  severity
    sys.excepthook                           telemetry.exception    ERROR    it ends the program
    threading.excepthook                     exception.thread       ERROR    it ends a thread
    an asyncio loop's exception handler      exception.asyncio      ERROR    of a task or callback that nobody awaits
    sys.unraisablehook                       exception.unraisable   WARNING  in `__del__` and the like; Python goes on

The hook that was there is called afterwards, with the same arguments: the program's own hooks and Python's words are as
before, and our frame is taken out of what they raise. An exception is one event however many decorators and hooks it
passes (`exception_record`). A thread of ours ("tinkertape-…") is not the program.

asyncio: the loops of the standard library, whose class is patched. uvloop's is made in C and cannot be: under it, set
`loop.set_exception_handler` to a function of yours that executes an event.

Threads  the hooks run in whichever failed. `_lock` is held by `install` and `uninstall`.
Fork     the hooks stay.
Exit     the hooks pass on after recording has ended; `uninstall` is not needed.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from tinkertape.events import (
    EXCEPTION_ASYNCIO,
    EXCEPTION_THREAD,
    EXCEPTION_UNRAISABLE,
    TELEMETRY_EXCEPTION,
    EventType,
)
from tinkertape.exception_record import exception_metadata, first_fatal, first_passing, is_failure
from tinkertape.guard import failures, forget_failures, guard
from tinkertape.instrument.patches import Patches, passing_on

_PLACES = "instrument.exceptions."
_OURS = "tinkertape-"

_lock = threading.Lock()
_patches = Patches()
_installed = False


def install() -> None:
    """Record what nobody catches: in the main thread, in others, in asyncio's loops, and what cannot be raised.

    A second call changes nothing. Any thread.
    """
    global _installed
    with _lock:
        if _installed:
            return
        for place in {place for place, _ in failures() if place.startswith(_PLACES)}:
            forget_failures(place)
        _patches.replace(sys, "excepthook", lambda hook: _before(hook, _tell_fatal))
        _patches.replace(threading, "excepthook", lambda hook: _before(hook, _tell_thread))
        _patches.replace(sys, "unraisablehook", lambda hook: _before(hook, _tell_unraisable))
        _patches.replace(asyncio.BaseEventLoop, "call_exception_handler", lambda hook: _before(hook, _tell_asyncio))
        _installed = True


def uninstall() -> None:
    """Give back the very same hooks. One that somebody wrapped in turn stays below theirs, and only passes on."""
    global _installed
    with _lock:
        _patches.restore()
        _installed = False


def _before(hook: Callable[..., Any], tell: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(hook)
    def pass_on(*args: Any) -> Any:
        if _installed:
            tell(*args)
        try:
            return hook(*args)
        except BaseException as failed:
            passing_on(failed)
            raise

    return pass_on


@guard(f"{_PLACES}fatal")
def _tell_fatal(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not TELEMETRY_EXCEPTION.handlers:
        return
    at_a_prompt = hasattr(sys, "ps1")  # there nothing ends
    if error is not None and is_failure(error) and not at_a_prompt and first_fatal(error):
        TELEMETRY_EXCEPTION.execute({}, exception_metadata(error, trace))


@guard(f"{_PLACES}thread")
def _tell_thread(failure: Any) -> None:
    name = getattr(failure.thread, "name", "") or ""
    _tell(EXCEPTION_THREAD, failure.exc_value, failure.exc_traceback, {"thread_name": name}, name)


@guard(f"{_PLACES}unraisable")
def _tell_unraisable(failure: Any) -> None:
    # of the object only its class or name: its repr may run code of a half destroyed thing, keeping it resurrects it
    where = getattr(failure.object, "__qualname__", None) or type(failure.object).__qualname__
    told = {"message": failure.err_msg or "Exception ignored in", "where": str(where)}
    _tell(EXCEPTION_UNRAISABLE, failure.exc_value, failure.exc_traceback, told)


@guard(f"{_PLACES}asyncio")
def _tell_asyncio(loop: object, context: Mapping[str, Any]) -> None:
    error = context.get("exception")
    task = context.get("task") or context.get("future")
    told = {"message": str(context.get("message", "")), "loop": id(loop)}
    if isinstance(task, asyncio.Task):
        told["task"] = task.get_name()
    if error is not None:
        _tell(EXCEPTION_ASYNCIO, error, error.__traceback__, told)


def _tell(
    event: EventType,
    error: BaseException | None,
    trace: TracebackType | None,
    told: Mapping[str, Any],
    thread_name: str | None = None,
) -> None:
    if not event.handlers:
        return
    name = threading.current_thread().name if thread_name is None else thread_name
    if error is not None and is_failure(error) and not name.startswith(_OURS) and first_passing(error, event.name):
        known = exception_metadata(error, trace)
        known.pop("recorded_as", None)  # by this very event
        event.execute({}, {**known, **told})
