"""What is recorded of an exception, and that it is recorded once.

An exception carries two marks: one when it passed a decorator or a hook that told it (`exception.…`), one when it
ended the program (`telemetry.exception`). So it is at most one event of each, however many of them it passes. A mark
is worth something in the process that set it; a copy that is pickled into another is another exception.

Threads  any; setting a mark is one atomic step.
"""

from __future__ import annotations

import os
import signal
from types import TracebackType
from typing import Any, Literal

from tinkertape.exception_text import text_of
from tinkertape.faults import INTERRUPTIONS, fault_metadata
from tinkertape.guard import attempt, message_of

_PASSED = "__tinkertape_passed__"
_FATAL = "__tinkertape_fatal__"
_WORDLESS = {  # what ends a span without a message of its own
    "CancelledError": "cancelled",
    "GeneratorExit": "dropped before its end",
    "KeyboardInterrupt": "interrupted",
}


def is_failure(error: object) -> bool:
    """Is it an exception to record? Interruptions, exits and what asyncio cancelled are not."""
    if isinstance(error, Exception):
        return True
    if not isinstance(error, BaseException):
        return False
    return INTERRUPTIONS.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def status_of(error: BaseException | None) -> Literal["success", "errored", "interrupted"]:
    """How a program, a worker or a block ended that this exception left; None: by itself."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "success"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "errored"


def exit_status_of(error: BaseException | None) -> int:
    """What a shell sees of the process that ends by this."""
    if error is None or (isinstance(error, SystemExit) and error.code is None):
        return 0
    if not isinstance(error, SystemExit):
        return 128 + signal.SIGINT if type(error) is KeyboardInterrupt else 1
    return error.code & 0xFF if isinstance(error.code, int) else 1


def first_passing(error: BaseException, event: str) -> bool:
    """Is nobody known who recorded that this exception passed? Then `event` is who does."""
    return _set_mark(error, _PASSED, event)


def first_fatal(error: BaseException) -> bool:
    """Is it not recorded yet that this exception ended the program?"""
    return _set_mark(error, _FATAL, "telemetry.exception")


def _set_mark(error: BaseException, mark: str, event: str) -> bool:
    ours = (os.getpid(), event)
    marks = _marks_of(error)
    found = marks.setdefault(mark, ours)
    if found is not ours and found[0] != ours[0]:
        found = marks[mark] = ours
    return found is ours


def _marks_of(error: BaseException) -> dict[str, Any]:
    """The dict that every exception has, whatever its class makes of attributes (a frozen dataclass refuses them)."""
    found, failed = attempt(object.__getattribute__, error, "__dict__")
    return found if failed is None and isinstance(found, dict) else {}


def exception_metadata(error: BaseException, trace: TracebackType | None = None) -> dict[str, Any]:
    """The metadata of an exception's event: type, text, traceback, whose fault; which event told it before.

    `trace` is its traceback where that is another than the one it carries. Never raises; an exception whose own text
    fails is described all the same.
    """
    text, _ = attempt(text_of, error, trace)
    told_by = _marks_of(error).get(_PASSED)
    known = {"recorded_as": told_by[1]} if told_by is not None and told_by[0] == os.getpid() else {}
    return {
        "exception_type": type(error).__name__,
        "exception_message": message_of(error),
        "traceback": text or "",
        **fault_metadata(error),
        **known,
    }


def failure_of(error: BaseException) -> dict[str, Any]:
    """The metadata of a `*.exception` event."""
    return {
        "status": "error",
        "kind": "error" if isinstance(error, Exception) else "exit",
        "reason": message_of(error) or _WORDLESS.get(type(error).__name__, ""),
        "error_type": type(error).__name__,
        "stacktrace": text_of(error),
    }
