"""docs/facts/beam.md 1.1: attach, detach, list."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.bus.hearing import Heard

from tinkertape.bus import Bus
from tinkertape.errors import EventNameError, HandlerExists, HandlerNotFound


@pytest.mark.conformance("T1")
def test_T1_a_handler_is_called_with_event_measurements_metadata_and_config(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "a.test.event", heard, {"config": 1})

    bus.execute("a.test.event", {"rows": 3}, {"path": "p"})

    assert heard == [("a.test.event", {"rows": 3}, {"path": "p"}, {"config": 1})]


@pytest.mark.conformance("T2", differs="raises `HandlerExists` instead of returning an error that is easily overlooked")
def test_T2_an_id_that_is_taken_is_refused_and_the_first_handler_stays(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "a.test.event", heard)

    with pytest.raises(HandlerExists, match="'id'"):
        bus.attach("id", "a.test.event", Heard())

    bus.execute("a.test.event", {})
    assert len(heard) == 1


@pytest.mark.conformance("T3")
def test_T3_an_id_is_taken_on_every_other_event_too(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "a.test.event", heard)

    with pytest.raises(HandlerExists):
        bus.attach("id", "another.event", heard)

    assert len(bus.list_handlers()) == 1


@pytest.mark.conformance("T4", beat="ids are unique over all events, however the handler was attached")
def test_T4_ids_are_unique_over_attach_attach_many_and_attach_all(bus: Bus, heard: Heard) -> None:
    bus.attach_all("all", heard)
    bus.attach_many("many", ["e.x", "e.y"], heard)

    for taken in ("all", "many"):
        with pytest.raises(HandlerExists):
            bus.attach(taken, "another.event", heard)
        with pytest.raises(HandlerExists):
            bus.attach_all(taken, heard)
    bus.detach("many")

    assert [handler.id for handler in bus.list_handlers()] == ["all"]


@pytest.mark.conformance("T5", differs="a name is a dotted string, or its segments; raises `EventNameError`")
def test_T5_a_segment_that_is_no_string_is_refused(bus: Bus, heard: Heard) -> None:
    with pytest.raises(EventNameError):
        bus.attach("id", ["some", 1], heard)  # type: ignore[list-item]


@pytest.mark.conformance("T6", differs="as T5; a string is a name, what is neither string nor sequence is none")
def test_T6_a_name_that_is_neither_string_nor_sequence_is_refused(bus: Bus, heard: Heard) -> None:
    for name in (None, 7, {"a": 1}, b"bytes"):
        with pytest.raises(EventNameError):
            bus.attach("id", name, heard)  # type: ignore[arg-type]


@pytest.mark.conformance("T7")
def test_T7_an_empty_name_is_refused(bus: Bus, heard: Heard) -> None:
    for name in ("", [], ()):
        with pytest.raises(EventNameError):
            bus.attach("id", name, heard)


@pytest.mark.conformance("T8")
def test_T8_one_bad_name_of_many_and_nothing_is_attached(bus: Bus, heard: Heard) -> None:
    with pytest.raises(EventNameError, match=r"'a\.\.b'"):
        bus.attach_many("id", ["good.one", "a..b"], heard)

    assert bus.list_handlers() == []


@pytest.mark.conformance(
    "T9", differs="a lone string is refused too, as the name that it is, not taken letter by letter"
)
def test_T9_what_is_no_list_of_events_is_refused(bus: Bus, heard: Heard) -> None:
    for events in (7, None, "my.event"):
        with pytest.raises(EventNameError, match="list of event names"):
            bus.attach_many("id", events, heard)  # type: ignore[arg-type]


@pytest.mark.conformance("T10", differs="raises `TypeError`, which says what a handler is called with")
def test_T10_a_function_that_cannot_take_four_arguments_is_refused(bus: Bus) -> None:
    def three(event: str, measurements: Any, metadata: Any) -> None: ...

    def one_more(event: str, measurements: Any, metadata: Any, config: Any, more: Any) -> None: ...

    for function in (three, one_more, "no function", None):
        with pytest.raises(TypeError, match="'id'"):
            bus.attach("id", "e.x", function)  # type: ignore[arg-type]
    bus.attach("variable", "e.x", lambda *call: None)
    bus.attach("default", "e.x", lambda event, measurements, metadata, config, more=1: None)
    bus.attach("written in C", "e.x", print)

    assert len(bus.list_handlers()) == 3


@pytest.mark.conformance("T11")
def test_T11_attaching_to_no_event_attaches_nothing(bus: Bus, heard: Heard) -> None:
    bus.attach_many("id", [], heard)

    assert bus.list_handlers() == []
    with pytest.raises(HandlerNotFound):
        bus.detach("id")


@pytest.mark.conformance("T12")
def test_T12_one_handler_of_many_events_hears_each_by_its_name(bus: Bus, heard: Heard) -> None:
    bus.attach_many("id", ["e.x", "e.y", "e.z"], heard)

    for name in ("e.x", "e.y", "e.z"):
        bus.execute(name, {})

    assert heard.names == ["e.x", "e.y", "e.z"]


@pytest.mark.conformance("T13", beat="an event that is listed twice is refused, always")
def test_T13_an_event_listed_twice_is_refused(bus: Bus, heard: Heard) -> None:
    with pytest.raises(EventNameError, match="twice"):
        bus.attach_many("id", ["e.x", ["e", "x"]], heard)

    assert bus.list_handlers() == []


@pytest.mark.conformance("T14")
def test_T14_a_detached_handler_is_not_called_again(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "e.x", heard)
    bus.execute("e.x", {})

    bus.detach("id")
    bus.execute("e.x", {})

    assert len(heard) == 1


@pytest.mark.conformance("T15", differs="raises `HandlerNotFound`")
def test_T15_detaching_an_unknown_id_is_an_error(bus: Bus) -> None:
    with pytest.raises(HandlerNotFound, match="'unknown'"):
        bus.detach("unknown")


@pytest.mark.conformance("T16")
def test_T16_detach_takes_a_handler_off_all_its_events(bus: Bus, heard: Heard) -> None:
    bus.attach_many("id", ["e.x", "e.y"], heard)

    bus.detach("id")
    bus.execute("e.x", {})
    bus.execute("e.y", {})

    assert (heard, bus.list_handlers()) == ([], [])


@pytest.mark.conformance("T17", differs="the second raises `HandlerNotFound`")
def test_T17_detaching_twice_is_an_error_the_second_time(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "e.x", heard)
    bus.detach("id")

    with pytest.raises(HandlerNotFound):
        bus.detach("id")


@pytest.mark.conformance("T18", differs="a frozen `Handler` with these four fields, and no others")
def test_T18_a_listed_handler_has_id_event_name_function_and_config(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "e.x", heard, 7)

    [handler] = bus.list_handlers("e.x")

    assert handler.__struct_fields__ == ("id", "event_name", "function", "config")
    assert (handler.id, handler.event_name, handler.function, handler.config) == ("id", "e.x", heard, 7)


@pytest.mark.conformance("T19")
def test_T19_handlers_are_listed_below_any_prefix_of_whole_segments(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "a.test.event", heard)

    for prefix in ("", [], "a", ["a"], "a.test", ["a", "test"], "a.test.event"):
        assert [handler.id for handler in bus.list_handlers(prefix)] == ["id"]
    assert bus.list_handlers("a.te") == []


@pytest.mark.conformance("T20")
def test_T20_a_longer_name_is_no_prefix(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "a.test.event", heard)

    assert bus.list_handlers("a.test.event.something") == []


@pytest.mark.conformance("T21")
def test_T21_a_handler_of_many_events_is_listed_once_for_each(bus: Bus, heard: Heard) -> None:
    bus.attach_many("id", ["e.x", "e.y"], heard)

    assert [(handler.id, handler.event_name) for handler in bus.list_handlers()] == [("id", "e.x"), ("id", "e.y")]


@pytest.mark.conformance("T22", differs="raises `EventNameError`; strings are what segments are made of here")
def test_T22_a_prefix_that_can_begin_no_name_is_refused(bus: Bus) -> None:
    for prefix in ([1], 7, None, "a..b"):
        with pytest.raises(EventNameError):
            bus.list_handlers(prefix)  # type: ignore[arg-type]


@pytest.mark.conformance("T24", differs="any value that can be hashed")
def test_T24_an_id_is_any_value(bus: Bus, heard: Heard) -> None:
    ids = ["text", ("a", 1), 7, None, object(), frozenset({1})]
    for handler_id in ids:
        bus.attach(handler_id, "e.x", heard)

    assert [handler.id for handler in bus.list_handlers()] == ids


@pytest.mark.conformance("T25")
def test_T25_a_handler_outlives_the_thread_that_attached_it(bus: Bus, heard: Heard) -> None:
    thread = threading.Thread(target=bus.attach, args=("id", "e.x", heard))
    thread.start()
    thread.join()

    bus.execute("e.x", {})

    assert len(heard) == 1


@pytest.mark.conformance("T26", differs="by a lock instead of a process; no reader takes it")
def test_T26_events_are_executed_while_somebody_else_attaches(bus: Bus, heard: Heard) -> None:
    bus.attach("id", "e.x", heard)
    bus.execute("e.x", {})

    with bus._lock:  # as whoever attaches holds it
        thread = threading.Thread(target=bus.execute, args=("e.x", {}))
        thread.start()
        thread.join(10)

    assert len(heard) == 2
