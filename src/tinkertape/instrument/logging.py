"""Records of the standard library's `logging`, from a level on, as events `log.record`.

Told is what a logger hands to its handlers, whether it has any or not: what its own level or filters hold back is not.
The handlers are not touched, so that `logging.basicConfig` does what it did. Our own loggers' records, and those that
`log_events()` made of events, are left alone; what is logged while one is being told, by a handler of the bus, is not
told again: two logs never feed each other.

Threads  the one that logs; `_lock` is held by `install` and `uninstall`.
Fork     the patch stays.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from tinkertape.context import with_severity
from tinkertape.events import LOG_RECORD
from tinkertape.exception_record import exception_metadata
from tinkertape.guard import guard
from tinkertape.instrument.patches import Patches

MESSAGE_MAX = 4_000  # characters
_OURS = "tinkertape"
_lock = threading.Lock()
_patches = Patches()
_telling: ContextVar[bool] = ContextVar("tinkertape_telling", default=False)


def install(level: int | str = logging.WARNING) -> None:
    """Tell every record of `level` (a number, or a name as `logging` has them) or above.

    A second call changes nothing. Raises `ValueError` for an unknown level. Any thread.
    """
    lowest = level if isinstance(level, int) else logging.getLevelName(level.upper())
    if not isinstance(lowest, int):
        raise ValueError(f"unknown level {level!r}: use DEBUG, INFO, WARNING, ERROR, CRITICAL or a number")
    with _lock:
        if not len(_patches):
            _patches.replace(logging.Logger, "callHandlers", functools.partial(_watched, lowest))


def uninstall() -> None:
    """Give `logging` back the very same function. Any thread."""
    with _lock:
        _patches.restore()


def _watched(lowest: int, original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= lowest and not _telling.get():
            _tell(record)
        original(self, record)

    return callHandlers


@guard("instrument.logging")
def _tell(record: logging.LogRecord) -> None:
    if not LOG_RECORD.handlers:
        return
    if record.name.partition(".")[0] == _OURS or hasattr(record, "tinkertape_event"):
        return
    told: dict[str, Any] = {
        "logger": record.name,
        "level": record.levelname,
        "message": record.getMessage()[:MESSAGE_MAX],
        "file": record.filename,
        "line_number": record.lineno,
        "function": record.funcName,
        "thread": record.threadName,
    }
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        told.update(exception_metadata(error))
    token = _telling.set(True)
    try:
        with with_severity(_severity_of(record.levelno)):
            LOG_RECORD.execute({}, told)
    finally:
        _telling.reset(token)


def _severity_of(level: int) -> str:
    for severity in ("CRITICAL", "ERROR", "WARNING", "INFO"):
        if level >= logging.getLevelName(severity):
            return severity
    return "DEBUG"
