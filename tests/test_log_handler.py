"""Events as log records: what a record says, and what is never logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tinkertape.bus import Bus
from tinkertape.context import with_severity
from tinkertape.errors import EventNameError
from tinkertape.log_handler import log_events
from tinkertape.redact import MARK


class Records(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record)


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def records() -> Iterator[Records]:
    logger, handler = logging.getLogger("tests.log_events"), Records()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def logged(bus: Bus, records: Records) -> Iterator[list[Any]]:
    with log_events(logger="tests.log_events", bus=bus):
        yield records.all


def test_a_completed_http_request_is_logged_at_info_in_the_words_of_the_specification(
    bus: Bus, logged: list[Any]
) -> None:
    metadata = {"method": "POST", "path": "/api/v1/asample", "status": "success", "status_code": 200, "http_id": 7}
    bus.execute("tinker.http.request.stop", {"duration": 12_345_678, "monotonic_time": 1}, metadata)

    [record] = logged
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        "HTTP request completed method=POST path=/api/v1/asample duration_ms=12.346 status=success status_code=200"
    )
    assert (record.method, record.path, record.duration_ms, record.status) == (
        "POST",
        "/api/v1/asample",
        12.346,
        "success",
    )


def test_a_failed_http_request_is_logged_at_error_with_its_error_and_its_stack(bus: Bus, logged: list[Any]) -> None:
    metadata = {"method": "GET", "path": "/x", "reason": "connection reset", "stacktrace": "Traceback …\n  boom"}
    bus.execute("tinker.http.request.exception", {"duration": 2_000_000}, metadata)

    [record] = logged
    assert (record.levelno, record.error) == (logging.ERROR, "connection reset")
    text = logging.Formatter("%(message)s").format(record)
    assert (
        text == "HTTP request failed method=GET path=/x duration_ms=2.0 error='connection reset'\nTraceback …\n  boom"
    )


def test_a_retry_is_logged_at_warning_with_its_attempt_and_delay(bus: Bus, logged: list[Any]) -> None:
    bus.execute("tinker.retry", {"attempt": 2, "delay": 1_500_000_000}, {"error_type": "ReadTimeout", "layer": "http"})

    [record] = logged
    assert (record.levelno, record.attempt, record.delay_ms) == (logging.WARNING, 2, 1500.0)
    assert record.getMessage() == "Retrying request attempt=2 delay_ms=1500.0 error=ReadTimeout"


def test_every_other_event_is_its_name_and_all_that_it_carries(bus: Bus, logged: list[Any]) -> None:
    bus.execute("my.thing.done", {"rows": 3, "monotonic_time": 9}, {"path": "a b", "empty": "", "name": "n"})

    [record] = logged
    assert record.getMessage() == "my.thing.done path='a b' empty='' name=n rows=3"
    assert (record.rows, record.name_, record.tinkertape_event) == (3, "n", "my.thing.done")
    assert record.name == "tests.log_events"


def test_a_key_that_is_no_text_hides_nothing(bus: Bus, logged: list[Any]) -> None:
    bus.execute("my.batch.loaded", {"rows": 128, 7: 1}, {None: "x"})

    assert logged[0].getMessage() == "my.batch.loaded None=x rows=128 7=1"


def test_a_record_has_the_level_that_the_event_was_given(bus: Bus, logged: list[Any]) -> None:
    with with_severity("CRITICAL"):
        bus.execute("my.thing", {})

    assert [record.levelname for record in logged] == ["CRITICAL"]


def test_a_message_is_one_line_whatever_the_event_carries(bus: Bus, logged: list[Any]) -> None:
    bus.execute("my.thing", {}, {"text": "first\nWARNING forged=1 \x1b[31m", "long": "x" * 10_000})

    message = logged[0].getMessage()
    assert message.isprintable() and len(message) < 1_000


def test_neither_the_name_of_an_event_nor_a_key_begins_a_line_of_its_own(bus: Bus, logged: list[Any]) -> None:
    bus.execute("my.thing\nERROR forged", {}, {"key\nERROR forged": 1})

    message = logged[0].getMessage()
    assert message == r"'my.thing\nERROR forged' 'key\nERROR forged'=1"


def test_no_secret_is_logged_neither_in_the_message_nor_in_the_fields_nor_in_the_stack(
    bus: Bus, logged: list[Any]
) -> None:
    secret = "tml-" + "Qw3rT" * 8
    metadata = {"x-api-key": "hunter2hunter2", "note": f"sent {secret}", "nested": {"password": "open sesame"}}
    bus.execute("my.thing.exception", {}, {**metadata, "stacktrace": f"key={secret}"})

    [record] = logged
    text = logging.Formatter("%(message)s").format(record) + repr(record.__dict__)
    assert not [word for word in (secret, "hunter2hunter2", "open sesame") if word in text]
    assert MARK in text


def test_a_value_that_cannot_be_shown_hides_no_other(bus: Bus, logged: list[Any]) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    endless: dict[str, Any] = {}
    endless["self"] = endless
    bus.execute("my.first", {"size": 3}, {"endless": endless, "who": "me"})
    bus.execute("my.second", {"size": 3}, {"broken": Broken(), "who": "me", "password": "open sesame"})
    bus.execute("tinker.retry", {"attempt": 1}, {"error_type": Broken()})
    bus.execute("my.third", {"size": 3}, {Broken(): 1})

    assert [record.getMessage() for record in logged] == [
        "my.first endless='<not shown: RecursionError>' who=me size=3",
        f"my.second broken='<not shown: RuntimeError>' who=me password={MARK} size=3",
        "Retrying request attempt=1 error='<not shown: RuntimeError>'",
        "my.third unnamed='<not shown: RuntimeError>' size=3",
    ]
    assert (logged[1].who, logged[1].size, logged[1].broken) == ("me", 3, "<not shown: RuntimeError>")


def test_only_events_below_the_prefix_and_not_under_the_level_are_logged(bus: Bus, records: Records) -> None:
    with log_events("tinker", logger="tests.log_events", level="warning", bus=bus):
        bus.execute("tinker.retry", {})
        bus.execute("tinker.future.poll.stop", {})
        bus.execute("tinkerer.exception", {})

    assert [record.tinkertape_event for record in records.all] == ["tinker.retry"]


def test_nothing_is_logged_after_close_and_closing_twice_is_closing_once(bus: Bus, records: Records) -> None:
    logging_events = log_events(logger="tests.log_events", bus=bus)
    logging_events.close()
    logging_events.close()

    bus.execute("my.thing", {})

    assert records.all == []


def test_what_a_log_handler_of_the_program_executes_is_not_logged_again(bus: Bus, logged: list[Any]) -> None:
    class Feedback(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            bus.execute("my.log.record", {}, {"message": record.getMessage()})

    feedback = Feedback()
    logging.getLogger("tests.log_events").addHandler(feedback)
    try:
        bus.execute("my.thing", {})
    finally:
        logging.getLogger("tests.log_events").removeHandler(feedback)

    assert [record.tinkertape_event for record in logged] == ["my.thing"]


def test_the_book_keeping_of_tape_and_delivery_is_not_logged(bus: Bus, logged: list[Any]) -> None:
    bus.execute("delivery.batch.stop", {})

    assert logged == []


@pytest.mark.parametrize("level", ["loud", "Level 7x", 2.5])
def test_an_unknown_level_is_refused(bus: Bus, level: Any) -> None:
    with pytest.raises(ValueError, match="unknown level"):
        log_events(level=level, bus=bus)


@pytest.mark.parametrize("logger", [None, 3, logging.StreamHandler(), logging.LoggerAdapter(logging.getLogger("x"))])
def test_what_is_no_logger_is_refused(bus: Bus, logger: Any) -> None:
    with pytest.raises(TypeError, match="want a logger"):
        log_events(logger=logger, bus=bus)

    assert bus.list_handlers() == []


def test_a_prefix_that_is_no_event_name_is_refused(bus: Bus) -> None:
    with pytest.raises(EventNameError):
        log_events("a..b", bus=bus)
