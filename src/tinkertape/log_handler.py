"""Events as records of the standard library's `logging`: `log_events()`.

A record's message is readable where only messages are shown (`HTTP request completed method=POST …`), and each figure
is an attribute of the record too, for formatters that write JSON. Secrets are taken out first: a log is a file.

A record made here carries `tinkertape_event`, by which whatever turns records into events leaves it alone; and what is
executed while one is being written (by a `logging.Handler` of the program) is not logged again: two logs never feed
each other.

Threads  the record is made and handled in the thread that executes the event.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, Self

import tinkertape.events  # noqa: F401  declares each event's severity
from tinkertape.bus import Bus, default_bus
from tinkertape.context import current_severity, severity_of
from tinkertape.errors import HandlerNotFound
from tinkertape.guard import attempt
from tinkertape.redact import redact, redact_text

VALUE_MAX = 500  # characters of one value in a message
_UNSEEN = ("tape.", "delivery.", "telemetry.handler.")  # told by their own rooms, in their own words
_CLOCK = ("monotonic_time", "system_time")  # every event has them; a record has its own time
_STACKS = ("stacktrace", "traceback")
_TAKEN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "tinkertape_event"}
_numbers = itertools.count(1)
_logging: ContextVar[bool] = ContextVar("tinkertape_logging", default=False)


class _Message(NamedTuple):
    """How one event is told: its words, and which fields, by the name they have there."""

    text: str
    fields: Mapping[str, str]


_MESSAGES = {  # the specification's own
    "tinker.http.request.stop": _Message(
        "HTTP request completed",
        {"method": "method", "path": "path", "duration": "duration", "status": "status", "status_code": "status_code"},
    ),
    "tinker.http.request.exception": _Message(
        "HTTP request failed", {"method": "method", "path": "path", "duration": "duration", "reason": "error"}
    ),
    "tinker.retry": _Message(
        "Retrying request",
        {"attempt": "attempt", "delay": "delay", "error_type": "error", "status_code": "status_code"},
    ),
}


class LogEvents:
    """Logs the events of a bus. Made by `log_events`; also a context manager."""

    def __init__(self, prefix: str, logger: str | logging.Logger, level: int, bus: Bus) -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._level, self._bus = level, bus
        self._id = ("tinkertape.log_events", next(_numbers))
        bus.attach_all(self._id, self._log, prefix=prefix, on_failure="keep")

    def close(self) -> None:
        """Log nothing more. Closing twice is closing once."""
        try:
            self._bus.detach(self._id)
        except HandlerNotFound:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _log(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], _: object) -> None:
        if event.startswith(_UNSEEN):
            return
        level = logging.getLevelName(current_severity() or severity_of(event))
        if level < self._level or _logging.get() or not self._logger.isEnabledFor(level):
            return
        token = _logging.set(True)
        try:
            record, _ = attempt(_record, self._logger.name, level, event, measurements, metadata)
            if record is None:
                record = _record(self._logger.name, level, event, _showable(event, measurements, metadata), {})
            self._logger.handle(record)
        finally:
            _logging.reset(token)


def log_events(
    prefix: str = "",
    *,
    logger: str | logging.Logger = "tinkertape",
    level: int | str | None = None,
    bus: Bus | None = None,
) -> LogEvents:
    """Log every event whose name begins with the segments of `prefix`, from now on, until `close()`.

    Each event has the level of its severity; what is below `level` (a number, or a name as `logging` has them) is left
    out; None leaves that to the logger. Completed HTTP requests, failed ones and retries have words of their own, every
    other event is its name; times are in milliseconds (`duration_ms`). Raises `ValueError` for an unknown level,
    `TypeError` for what is no logger, `EventNameError` for a prefix that is no event name.
    """
    if not isinstance(logger, str | logging.Logger):
        raise TypeError(f"logger is {logger!r}; want a logger of `logging`, or its name")
    return LogEvents(prefix, logger, _level(level), default_bus if bus is None else bus)


def _level(level: int | str | None) -> int:
    if level is None:
        return logging.NOTSET
    number: object = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"unknown level {level!r}: use DEBUG, INFO, WARNING, ERROR, CRITICAL or a number")
    return number


def _record(
    logger: str, level: int, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any]
) -> logging.LogRecord:
    given: dict[str, Any] = redact({str(key): value for key, value in {**metadata, **measurements}.items()})
    stack = next((given.pop(key) for key in _STACKS if key in given), None)
    told = _MESSAGES.get(event)
    text, fields = (_word(event), _all_fields(given)) if told is None else (told.text, _fields_of(given, told.fields))
    message = " ".join([text, *(f"{_word(key)}={_shown(value)}" for key, value in fields.items())])
    record = logging.LogRecord(logger, level, "(tinkertape)", 0, message, None, None, None, stack and str(stack))
    record.__dict__.update({f"{key}_" if key in _TAKEN else key: value for key, value in fields.items()})
    record.__dict__["tinkertape_event"] = event
    return record


def _showable(event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with a mark for each value that cannot be shown: one nested without end, one whose `repr` raises."""
    showable: dict[str, Any] = {}
    for key, value in {**metadata, **measurements}.items():
        _, error = attempt(_record, "", logging.NOTSET, event, {key: value}, {})
        name, no_name = attempt(str, key)
        failure = no_name or error
        showable[name or "unnamed"] = value if failure is None else f"<not shown: {type(failure).__name__}>"
    return showable


def _all_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_in_milliseconds(key, value) for key, value in given.items() if key not in _CLOCK)


def _fields_of(given: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, Any]:
    return dict(_in_milliseconds(name, given[key]) for key, name in wanted.items() if given.get(key) is not None)


def _in_milliseconds(key: str, value: Any) -> tuple[str, Any]:
    """`duration`, `delay` and whatever ends like them are nanoseconds on the bus."""
    is_time = key in ("duration", "delay") or key.endswith("_duration")
    if is_time and isinstance(value, int | float):
        return f"{key}_ms", round(value / 1e6, 3)
    return key, value


def _shown(value: object) -> str:
    """A value in a message: on one line, quoted where it has blanks, cut where it is long."""
    text = value if isinstance(value, str) else redact_text(repr(value))
    text = text if len(text) <= VALUE_MAX else f"{text[: VALUE_MAX - 1]}…"
    return _word(text) if text and not set(text) & set(' "=') else repr(text)


def _word(text: str) -> str:
    """Text that stands in a message as it is, but where it would begin a line of its own."""
    return text if text.isprintable() else repr(text)
