"""What is told of handlers that fail: each failure on the bus; in the log once, its repeats at most once a minute.

Threads  any.
Locks    `_lock`: to count one failure, never while the log is written. A signal's handler may take it again.
Fork     a child goes on with its parent's counts; the lock is made anew by the bus (`start_over`).
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from tinkertape.dispatch import Attachment

REPEATS_S = 60.0
RECURSION_CALLS = 20
ROOM = 100  # calls, to detach, to format a traceback and to log it
KEPT_MAX = 1_000  # failures remembered; a program with more different ones sees some of them again

_log = logging.getLogger("tinkertape")


def now() -> dict[str, int]:
    """What a failure is measured by."""
    return {"monotonic_time": time.perf_counter_ns(), "system_time": time.time_ns()}


def failure_metadata(
    handler: Attachment,
    event: str,
    measurements: Mapping[str, Any],
    metadata: Mapping[str, Any],
    error: Exception,
) -> dict[str, Any]:
    """What `telemetry.handler.failure` says: the handler, the error, and the event that it failed on, whole."""
    return {
        "handler_id": handler.id,
        "handler_config": handler.config,
        "event_name": event,
        "event_measurements": measurements,
        "event_metadata": metadata,
        "kind": "error",
        "reason": error,
        "stacktrace": stack_of(error),
    }


def make_room(frames: int = ROOM) -> None:
    """Raises `RecursionError` if so many calls cannot be made from here.

    At the end of the stack nothing can be done about a failure. So it goes on outwards, to a call of `execute` around
    this one, until there is room to detach the handler, and to tell of it, whole.
    """
    if frames:
        make_room(frames - 1)


class FailureLog:
    """Logs a failure of a handler unless it is a repeat: the same handler, type of error and line of code."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._seen: dict[object, tuple[float, int]] = {}  # failure → when it was logged, and how often since

    def start_over(self) -> None:
        """In a forked child: the lock may have been held by a thread that is not here."""
        self._lock = threading.RLock()

    def failed(self, handler_id: object, event: str, outcome: str, error: BaseException) -> None:
        """One failure; `outcome` says what became of the handler."""
        unsaid = self._unsaid((handler_id, type(error), _line_of(error)))
        if unsaid is None:
            return
        again = f" ({unsaid} more like it since the last line)" if unsaid else ""
        line = "tinkertape: handler %r failed on %s and %s%s"
        if isinstance(error, RecursionError):
            _log.error(f"{line}\n%s", handler_id, event, outcome, again, "".join(stack_of(error)))
        else:
            _log.error(line, handler_id, event, outcome, again, exc_info=error)

    def _unsaid(self, failure: object) -> int | None:
        """How many repeats went unsaid before this one; None: this one goes unsaid too."""
        with self._lock:
            now_s = self._clock()
            logged_s, repeats = self._seen.pop(failure, (None, 0))
            if logged_s is not None and now_s - logged_s < REPEATS_S:
                self._seen[failure] = (logged_s, repeats + 1)
                return None
            self._seen[failure] = (now_s, 0)
            if len(self._seen) > KEPT_MAX:
                self._seen.pop(next(iter(self._seen)), None)
            return repeats


def stack_of(error: BaseException) -> list[str]:
    """The traceback as text. Of a recursion without end its last calls, and not the errors on the way there: the whole
    has a thousand calls for each of hundreds of errors.
    """
    if isinstance(error, RecursionError):
        return traceback.format_exception(error, limit=-RECURSION_CALLS, chain=False)
    return traceback.format_exception(error)


def _line_of(error: BaseException) -> tuple[str, int] | None:
    """Where it was raised."""
    trace = error.__traceback__
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
