"""`instrument.logging`: records of the program's loggers as events."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from tests.instrument.watching import Events, installed

import tinkertape
from tinkertape import instrument
from tinkertape.context import current_severity
from tinkertape.guard import failures, forget_failures

TOLD = "log.record"


@pytest.fixture
def events() -> Iterator[Events]:
    with installed(instrument.logging) as heard:
        yield heard
    assert failures() == {}


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("my.program")


def test_records_of_the_level_and_above_are_told_with_their_severity(events: Events, logger: logging.Logger) -> None:
    severities: list[str | None] = []
    tinkertape.attach("severity", TOLD, lambda *_: severities.append(current_severity()))

    logger.info("not this")
    logger.warning("a %s", "b")
    logger.log(logging.CRITICAL + 5, "worst")
    tinkertape.detach("severity")

    assert [e.metadata["message"] for e in events.named(TOLD)] == ["a b", "worst"]
    assert severities == ["WARNING", "CRITICAL"]
    first = events.named(TOLD)[0].metadata
    assert (first["logger"], first["file"], first["function"]) == (
        "my.program",
        "test_log_records.py",
        "test_records_of_the_level_and_above_are_told_with_their_severity",
    )


def test_an_exception_comes_along(events: Events, logger: logging.Logger) -> None:
    try:
        raise LookupError("lost")
    except LookupError:
        logger.exception("it failed")

    told = events.one(TOLD).metadata
    assert (told["exception_type"], told["exception_message"]) == ("LookupError", "lost")


def test_a_handler_that_logs_does_not_feed_itself(events: Events, logger: logging.Logger) -> None:
    tinkertape.attach("logs", TOLD, lambda *_: logger.error("again"))

    logger.warning("once")
    tinkertape.detach("logs")

    assert [e.metadata["message"] for e in events.named(TOLD)] == ["once"]


def test_records_made_of_events_and_our_own_are_left_alone(events: Events, logger: logging.Logger) -> None:
    with tinkertape.log_events("my", logger=logger):
        tinkertape.execute("my.event", {"rows": 1})
        tinkertape.execute("my.failure.exception", {})
    logging.getLogger("tinkertape.something").error("ours")

    assert events.named(TOLD) == []


def test_a_record_that_cannot_be_told_goes_to_its_handlers() -> None:
    logger = logging.getLogger("my.own")
    logger.propagate = False  # pytest's own handler would raise
    handled: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = handled.append  # type: ignore[method-assign]
    logger.addHandler(handler)

    with installed(instrument.logging) as heard:
        logger.error("%d", "no number")
    logger.removeHandler(handler)

    assert heard.named(TOLD) == [] and len(handled) == 1
    assert failures() == {("instrument.logging", "TypeError"): 1}
    forget_failures()


def test_the_handlers_are_not_touched_and_the_very_same_function_comes_back() -> None:
    before, handlers = logging.Logger.callHandlers, list(logging.getLogger().handlers)

    instrument.logging.install("info")
    instrument.logging.install()
    assert logging.getLogger().handlers == handlers
    instrument.logging.uninstall()

    assert logging.Logger.callHandlers is before
    with pytest.raises(ValueError, match="unknown level 'loud'"):
        instrument.logging.install("loud")
