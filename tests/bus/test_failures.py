"""What becomes of handlers that fail, and what the log says of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tests.bus.hearing import Heard, fail

from tinkertape.bus import HANDLER_FAILURE, Bus
from tinkertape.failures import KEPT_MAX, REPEATS_S, FailureLog
from tinkertape.guard import failures, forget_failures


class Clock:
    """Seconds, as a test moves them on."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    with caplog.at_level(logging.ERROR, logger="tinkertape"):
        yield caplog.messages


def error_of(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_repeats_of_a_failure_are_said_once_a_minute_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = FailureLog(clock)
    with caplog.at_level(logging.ERROR, logger="tinkertape"):
        for _ in range(58):
            log.failed("id", "e.x", "was kept", error_of("v"))
        clock.now_s += REPEATS_S
        log.failed("id", "e.x", "was kept", error_of("v"))

    assert caplog.messages == [
        "tinkertape: handler 'id' failed on e.x and was kept",
        "tinkertape: handler 'id' failed on e.x and was kept (57 more like it since the last line)",
    ]


def test_another_handler_and_another_error_are_no_repeats(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog(Clock())
    with caplog.at_level(logging.ERROR, logger="tinkertape"):
        log.failed("id", "e.x", "was kept", error_of("v"))
        log.failed("other", "e.x", "was kept", error_of("v"))
        log.failed("id", "e.x", "was kept", KeyError("never raised"))

    assert len(caplog.messages) == 3


def test_failures_that_are_all_different_do_not_fill_the_memory() -> None:
    log = FailureLog(Clock())
    logging.disable(logging.ERROR)
    try:
        for number in range(KEPT_MAX + 100):
            log.failed(number, "e.x", "was kept", error_of("v"))
    finally:
        logging.disable(logging.NOTSET)

    assert len(log._seen) == KEPT_MAX


def test_a_handler_that_is_attached_and_fails_again_and_again_does_not_flood_the_log(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="tinkertape"):
        for _ in range(100):
            bus.attach("bad", "e.x", fail)
            bus.execute("e.x", {})

    assert len(caplog.messages) == 1


def test_every_failure_is_an_event_also_those_that_the_log_leaves_out(bus: Bus) -> None:
    told = Heard()
    bus.attach("told", HANDLER_FAILURE, told)
    bus.attach("kept", "e.x", fail, on_failure="keep")

    for number in range(100):
        bus.execute("e.x", {"number": number})

    assert [call[2]["event_measurements"]["number"] for call in told] == list(range(100))


def test_a_kept_handler_that_fails_on_failures_is_told_of_each_once(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    told = Heard()
    bus.attach("worse", HANDLER_FAILURE, fail, on_failure="keep")
    bus.attach("told", HANDLER_FAILURE, told)
    bus.attach("kept", "e.x", fail, on_failure="keep")

    bus.execute("e.x", {})
    bus.execute("e.x", {})

    assert [call[2]["handler_id"] for call in told] == ["kept", "kept"]
    assert [message.split("'")[1] for message in caplog.messages] == ["worse", "kept"]


def test_a_handler_that_executes_its_own_event_is_detached_and_the_program_goes_on(bus: Bus) -> None:
    def endless(event: str, measurements: Any, metadata: Any, config: Any) -> None:
        bus.execute(event, measurements)

    bus.attach("endless", "e.x", endless)

    bus.execute("e.x", {})

    assert bus.list_handlers() == []


def test_a_new_handler_under_the_id_of_one_that_fails_stays(bus: Bus, heard: Heard) -> None:
    def replace(*_: Any) -> None:
        bus.detach("id")
        bus.attach("id", "e.y", Heard())
        raise ValueError

    bus.attach("id", "e.x", replace)
    bus.execute("e.x", {})

    assert [handler.event_name for handler in bus.list_handlers("e")] == ["e.y"]


@pytest.mark.parametrize("handlers", [1, 2, 40])
def test_an_exit_in_a_handler_passes_and_no_handler_is_blamed(bus: Bus, handlers: int) -> None:
    def leave(*_: Any) -> None:
        raise SystemExit(3)

    for number in range(handlers):
        bus.attach(number, "e.x", leave)

    with pytest.raises(SystemExit):
        bus.execute("e.x", {})
    assert len(bus.list_handlers()) == handlers


def test_an_exception_that_cannot_even_be_shown_harms_nobody(bus: Bus, lines: list[str]) -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    class Id:
        def __repr__(self) -> str:
            raise RuntimeError

    def fail_nastily(*_: Any) -> None:
        raise Nasty

    forget_failures("bus.failure")
    after = Heard()
    bus.attach(Id(), "e.x", fail_nastily)
    bus.attach("after", "e.x", after)
    logging.raiseExceptions, before = False, logging.raiseExceptions
    try:
        bus.execute("e.x", {})
    finally:
        logging.raiseExceptions = before
        forget_failures("bus.failure")

    assert len(after) == 1
    assert [handler.id for handler in bus.list_handlers()] == ["after"]


def test_a_recursion_too_deep_to_call_anybody_is_no_handlers_failure(bus: Bus, heard: Heard) -> None:
    bus.attach("second", "e.x", Heard())
    forget_failures("bus.execute")

    bus.handler_failed(None, "e.x", {}, {}, RecursionError())

    assert failures()["bus.execute", "RecursionError"] == 1
    assert len(bus.list_handlers()) == 2
    forget_failures("bus.execute")
