"""docs/facts/beam.md 1.2 and 1.3: execute, and handlers that fail."""

from __future__ import annotations

import logging
import threading
from types import MappingProxyType
from typing import Any

import pytest
from tests.bus.hearing import Heard, fail

import tinkertape
from tinkertape.bus import HANDLER_FAILURE, Bus
from tinkertape.telemetry import get_telemetry


@pytest.mark.conformance("T27")
def test_T27_a_prefix_of_a_name_is_another_event(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "a.test.event", heard)

    bus.execute("a.test", {})

    assert heard == []


@pytest.mark.conformance("T28")
def test_T28_a_longer_name_is_another_event(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "a.test", heard)

    bus.execute("a.test.event.specific", {})

    assert heard == []


@pytest.mark.conformance("T29")
def test_T29_without_metadata_a_handler_sees_an_empty_mapping_of_its_own(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "e.x", heard)

    bus.execute("e.x", {"rows": 1})
    bus.execute("e.x", {"rows": 2}, None)

    assert [call[2] for call in heard] == [{}, {}]
    assert heard[0][2] is not heard[1][2]  # what one handler writes into it, no other event has


@pytest.mark.conformance("T32", differs="returns None")
def test_T32_execute_returns_the_same_whoever_listens_and_fails(bus: Bus) -> None:
    execute: Any = bus.execute
    unheard = execute("e.x", {})
    bus.attach("id", "e.x", fail)

    assert (unheard, execute("e.x", {})) == (None, None)


@pytest.mark.conformance("T33", differs="there is nothing to start: a bus works from the moment that it is made")
def test_T33_execute_needs_nothing_that_was_started() -> None:
    bus, heard = Bus(), []
    bus.attach("test", "e.x", lambda *event: heard.append(event))

    bus.execute("e.x", {}, {})

    assert len(heard) == 1


@pytest.mark.conformance("T34", beat="attach, detach and spans work before `tinkertape.start`, and without it")
def test_T34_attach_and_detach_work_with_nothing_started(heard: Heard) -> None:
    assert get_telemetry() is None

    tinkertape.attach_many("T34", ["t34.done", "t34.work.stop"], heard)
    tinkertape.execute("t34.done", {})
    result = tinkertape.span("t34.work")(lambda: 1)()
    tinkertape.detach("T34")

    assert (heard.names, result) == (["t34.done", "t34.work.stop"], 1)
    assert tinkertape.list_handlers("t34") == []


@pytest.mark.conformance(
    "T35", differs="`execute` checks nothing: no name is no event, and data go to the handlers as given"
)
def test_T35_an_empty_name_matches_nobody_and_data_are_not_checked(bus: Bus, heard: Heard) -> None:
    bus.attach_all("all", heard)

    bus.execute([], {})
    bus.execute("", {})
    assert heard == []

    bus.execute("e.x", MappingProxyType({"rows": 1}), [("a", 1)])  # type: ignore[arg-type]
    assert heard == [("e.x", {"rows": 1}, [("a", 1)], None)]


@pytest.mark.conformance("T36")
def test_T36_a_name_that_nobody_can_attach_to_is_accepted_silently(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "e.x", heard)

    for name in (["x", 1], 7, None, {"a": 1}, object()):
        bus.execute(name, {})  # type: ignore[arg-type]

    assert heard == []


@pytest.mark.conformance("T37")
def test_T37_handlers_run_in_the_callers_thread_before_execute_returns(bus: Bus) -> None:
    threads: list[int] = []
    for number in range(3):
        bus.attach(number, "e.x", lambda *_: threads.append(threading.get_ident()))

    bus.execute("e.x", {})

    assert threads == [threading.get_ident()] * 3


@pytest.mark.conformance("T38", beat="attach order, always, whatever the handlers were attached by")
def test_T38_handlers_run_in_attach_order(bus: Bus) -> None:
    order: list[str] = []
    bus.attach("first", "e.x", lambda *_: order.append("first"))
    bus.attach_all("second", lambda *_: order.append("second"))
    bus.attach_many("third", ["e.y", "e.x"], lambda *_: order.append("third"))
    bus.detach("first")
    bus.attach("first", "e.x", lambda *_: order.append("first again"))

    bus.execute("e.x", {})

    assert order == ["second", "third", "first again"]


@pytest.mark.conformance("T39")
def test_T39_a_handler_that_is_detached_during_a_dispatch_still_runs_in_it(bus: Bus, heard: Heard) -> None:
    def detach_later(*_: Any) -> None:
        if not heard:
            bus.detach("later")

    bus.attach("first", "e.x", detach_later)
    bus.attach("later", "e.x", heard)

    bus.execute("e.x", {})
    bus.execute("e.x", {})

    assert len(heard) == 1


@pytest.mark.conformance("T40")
def test_T40_a_handler_that_is_attached_during_a_dispatch_is_not_called_in_it(bus: Bus, heard: Heard) -> None:
    def attach_another(*_: Any) -> None:
        if len(bus.list_handlers()) == 1:
            bus.attach("another", "e.x", heard)

    bus.attach("first", "e.x", attach_another)

    bus.execute("e.x", {})
    assert heard == []
    assert [handler.id for handler in bus.list_handlers("e.x")] == ["first", "another"]

    bus.execute("e.x", {})
    assert len(heard) == 1


@pytest.mark.conformance(
    "T41",
    beat="`on_failure='keep'` keeps a handler that must not go silent; an interrupt or an exit in a handler is not the "
    "handler's failure, and passes",
)
def test_T41_raising_handler_is_detached(bus: Bus) -> None:
    bus.attach("bad", "e.x", fail)
    bus.attach("kept", "e.x", fail, on_failure="keep")

    bus.execute("e.x", {})
    assert [handler.id for handler in bus.list_handlers("e.x")] == ["kept"]

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    bus.attach("interrupt", "e.y", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bus.execute("e.y", {})
    assert bus.list_handlers("e.y") != []


@pytest.mark.conformance("T42")
def test_T42_one_failure_detaches_from_all_events(bus: Bus) -> None:
    bus.attach_many("bad", ["e.x", "e.y"], fail)

    bus.execute("e.x", {})

    assert bus.list_handlers() == []


@pytest.mark.conformance("T43", beat="the original event goes along, as `event_measurements` and `event_metadata`")
def test_T43_the_failure_is_an_event_with_all_that_is_known(bus: Bus, heard: Heard) -> None:
    bus.attach("told", HANDLER_FAILURE, heard)
    bus.attach("bad", "e.x", fail, {"config": 1})

    bus.execute("e.x", {"rows": 3}, {"path": "p"})

    [(event, _, metadata, _)] = heard
    assert event == "telemetry.handler.failure"
    assert set(metadata) == {
        "event_name",
        "event_measurements",
        "event_metadata",
        "handler_id",
        "handler_config",
        "kind",
        "reason",
        "stacktrace",
    }
    assert (metadata["event_name"], metadata["handler_id"], metadata["handler_config"]) == ("e.x", "bad", {"config": 1})
    assert (metadata["event_measurements"], metadata["event_metadata"]) == ({"rows": 3}, {"path": "p"})
    assert "got an event" in "".join(metadata["stacktrace"])


@pytest.mark.conformance("T44", differs="`kind` is always `error`: nothing is thrown here that is no exception")
def test_T44_the_failure_has_both_clocks_and_the_exception_itself(bus: Bus, heard: Heard) -> None:
    bus.attach("told", HANDLER_FAILURE, heard)
    bus.attach("bad", "e.x", fail)

    bus.execute("e.x", {})

    [(_, measurements, metadata, _)] = heard
    assert set(measurements) == {"monotonic_time", "system_time"}
    assert metadata["kind"] == "error"
    assert isinstance(metadata["reason"], ValueError)


@pytest.mark.conformance("T45", beat="the original measurements and metadata are in the failure event")
def test_T45_the_failure_is_told_after_the_detaching_and_before_the_remaining_handlers(bus: Bus) -> None:
    seen: list[Any] = []
    bus.attach("told", HANDLER_FAILURE, lambda *_: seen.append([handler.id for handler in bus.list_handlers("e.x")]))
    bus.attach("bad", "e.x", fail)
    bus.attach("after", "e.x", lambda event, measurements, *_: seen.append(measurements))

    bus.execute("e.x", {"rows": 3})

    assert seen == [["after"], {"rows": 3}]


@pytest.mark.conformance("T46")
def test_T46_a_failing_handler_of_failures_is_detached_too_and_that_is_the_end(bus: Bus) -> None:
    bus.attach("worse", HANDLER_FAILURE, fail)
    bus.attach("bad", "e.x", fail)

    bus.execute("e.x", {})

    assert bus.list_handlers() == []


@pytest.mark.conformance(
    "T46a", beat="repeats of one handler's failure are in the log once a minute at most, with their number"
)
def test_T46a_a_failure_is_in_the_log_with_its_traceback(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    bus.attach("bad", "e.x", fail)
    bus.attach("kept", "e.x", fail, on_failure="keep")

    with caplog.at_level(logging.ERROR, logger="tinkertape"):
        for _ in range(100):
            bus.execute("e.x", {})

    assert [record.getMessage() for record in caplog.records] == [
        "tinkertape: handler 'bad' failed on e.x and has been detached",
        "tinkertape: handler 'kept' failed on e.x and was kept",
    ]
    assert all(record.exc_info for record in caplog.records)
