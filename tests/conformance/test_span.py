"""docs/facts/beam.md 1.4 and 1.5: spans, the table of handlers, and the helper for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.bus.hearing import Heard

from tinkertape import spans
from tinkertape.bus import Bus
from tinkertape.context import Event, current_span
from tinkertape.errors import EventNameError
from tinkertape.spans import span
from tinkertape.testing import captured_events


@pytest.fixture
def heard(bus: Bus) -> Heard:
    heard = Heard()
    bus.attach_all("heard", heard)
    return heard


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.conformance(
    "T47", differs="`span(prefix, metadata)(function)(…)`; what the end shall carry besides, `span.add` says"
)
def test_T47_a_call_emits_start_and_stop_and_returns_the_result(bus: Bus, heard: Heard) -> None:
    result = span("my.work", {"a": 1}, bus=bus)(lambda number: number + 1)(2)

    assert result == 3
    assert heard.names == ["my.work.start", "my.work.stop"]


@pytest.mark.conformance("T48", differs="by `span.add` instead of a tuple to return")
def test_T48_added_measurements_go_under_the_spans_own(bus: Bus, heard: Heard) -> None:
    with span("my.work", bus=bus) as mine:
        mine.add({"rows": 3, "duration": -1, "monotonic_time": -1, "system_time": -1})

    measurements = heard.measurements_of("my.work.stop")
    assert measurements["duration"] >= 0
    assert measurements["monotonic_time"] > 0
    assert (measurements["rows"], measurements["system_time"]) == (3, -1)


@pytest.mark.conformance("T49", differs="nanoseconds")
def test_T49_each_end_has_exactly_its_measurements_as_integers(bus: Bus, heard: Heard) -> None:
    span("my.work", bus=bus)(int)()
    with pytest.raises(KeyError):
        span("my.fault", bus=bus)(raising(KeyError()))()

    assert set(heard.measurements_of("my.work.start")) == {"monotonic_time", "system_time"}
    assert set(heard.measurements_of("my.work.stop")) == {"duration", "monotonic_time"}
    assert set(heard.measurements_of("my.fault.exception")) == {"duration", "monotonic_time"}
    assert all(type(value) is int for _, measurements, *_ in heard for value in measurements.values())


@pytest.mark.conformance("T50")
def test_T50_the_duration_is_the_difference_of_the_two_stamps(bus: Bus, heard: Heard) -> None:
    with span("my.work", bus=bus):
        pass

    start, stop = heard.measurements_of("my.work.start"), heard.measurements_of("my.work.stop")
    assert stop["monotonic_time"] - start["monotonic_time"] == stop["duration"]


@pytest.mark.conformance(
    "T51", beat="the start's metadata is in the end too, so that a handler of the end needs nothing else"
)
def test_T51_the_starts_metadata_is_carried_into_the_end(bus: Bus, heard: Heard) -> None:
    with span("my.work", {"a": 1, "b": 1}, bus=bus) as mine:
        mine.add(metadata={"b": 2})

    assert heard.metadata_of("my.work.start") == {"a": 1, "b": 1}
    assert heard.metadata_of("my.work.stop") == {"a": 1, "b": 2, "status": "success"}


@pytest.mark.conformance(
    "T52",
    differs="with `status` and `error_type`, too; `reason` is the exception's text, the ids are the event's (T55)",
)
def test_T52_an_exception_is_told_with_the_starts_metadata_and_goes_on_unchanged(bus: Bus, heard: Heard) -> None:
    error = KeyError("k")

    with pytest.raises(KeyError) as caught:
        span("my.work", {"a": 1}, bus=bus)(raising(error))()

    assert caught.value is error
    assert heard.names == ["my.work.start", "my.work.exception"]
    metadata = heard.metadata_of("my.work.exception")
    assert (metadata["a"], metadata["status"], metadata["error_type"]) == (1, "error", "KeyError")
    assert "raise error" in metadata["stacktrace"]


@pytest.mark.conformance(
    "T53", differs="`error` for an `Exception`, `exit` for what is none: an interrupt, an exit, a cancellation"
)
def test_T53_the_kind_is_the_exceptions_and_the_users_own_keys_give_way(bus: Bus, heard: Heard) -> None:
    given = {"kind": "mine", "reason": "mine", "stacktrace": "mine"}
    for error, kind in ((ValueError("v"), "error"), (SystemExit(3), "exit")):
        heard.clear()
        with pytest.raises(type(error)):
            span("my.work", given, bus=bus)(raising(error))()

        metadata = heard.metadata_of("my.work.exception")
        assert (metadata["kind"], metadata["reason"]) == (kind, str(error))
        assert metadata["stacktrace"] != "mine"


@pytest.mark.conformance(
    "T54", differs="the ids are not metadata, but the event's (`Event.of`); a context of yours is carried like any key"
)
def test_T54_a_context_of_ones_own_is_in_both_ends_as_it_was_given(bus: Bus, heard: Heard) -> None:
    context = object()

    with span("my.work", {"telemetry_span_context": context}, bus=bus):
        pass

    assert [call[2]["telemetry_span_context"] for call in heard] == [context, context]


@pytest.mark.conformance("T55", differs="a W3C span id and trace id, in `Event.of` and on the tape")
def test_T55_both_ends_have_one_fresh_id_and_the_next_span_another(bus: Bus) -> None:
    ids: list[str | None] = []
    bus.attach_all(
        "of", lambda event, measurements, metadata, _: ids.append(Event.of(event, measurements, metadata).span_id)
    )

    for _ in range(2):
        with span("my.work", bus=bus):
            pass

    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert None not in ids


@pytest.mark.conformance(
    "T56", beat="what identifies a span cannot be lost on the way: both ends have it, whatever the metadata say"
)
def test_T56_start_and_stop_correlate_whatever_was_given_to_one_of_them(bus: Bus) -> None:
    events: dict[str, Event] = {}
    bus.attach_all(
        "of", lambda name, measurements, metadata, _: events.update({name: Event.of(name, measurements, metadata)})
    )

    with span("my.work", {"telemetry_span_context": "mine"}, bus=bus) as mine:
        mine.add(metadata={"more": 1})

    start, stop = events["my.work.start"], events["my.work.stop"]
    assert (start.span_id, start.trace_id) == (stop.span_id, stop.trace_id)
    assert stop.metadata["telemetry_span_context"] == "mine"


@pytest.mark.conformance("T57", beat="a function returns what it likes: the span has its end, and you have the value")
def test_T57_any_return_value_is_returned_and_the_span_stops(bus: Bus, heard: Heard) -> None:
    for value in (None, "ok", (1, 2), (1, 2, 3, 4)):
        heard.clear()

        assert span("my.work", bus=bus)(lambda value=value: value)() == value
        assert heard.names == ["my.work.start", "my.work.stop"]


@pytest.mark.conformance("T58")
def test_T58_without_a_prefix_the_events_are_start_and_stop(bus: Bus, heard: Heard) -> None:
    for prefix in ([], ""):
        with span(prefix, bus=bus):
            pass

    assert heard.names == ["start", "stop", "start", "stop"]


@pytest.mark.conformance("T59", differs="raises `TypeError`, whether somebody listens or not")
def test_T59_metadata_that_are_no_mapping_are_refused_before_anything_is_emitted(bus: Bus, heard: Heard) -> None:
    for on in (bus, Bus()):
        with pytest.raises(TypeError, match="mapping"):
            span("my.work", [1, 2], bus=on)  # type: ignore[arg-type]

    assert heard == []


@pytest.mark.conformance("T60", beat="no clock is read, no id made and nothing looked up twice while nobody listens")
def test_T60_a_span_that_nobody_listens_to_reads_no_clock(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[str] = []
    monkeypatch.setattr(spans, "perf_counter_ns", lambda: readings.append("perf_counter_ns"))
    monkeypatch.setattr(spans, "time_ns", lambda: readings.append("time_ns"))

    with span("my.work", {"a": 1}, bus=bus):
        assert current_span.get() is None
    span("my.work", bus=bus)(int)()

    assert readings == []


@pytest.mark.conformance("T63", beat="when the last handler is gone, so is everything that was kept of the event")
def test_T63_names_that_nobody_listens_to_any_more_are_forgotten(bus: Bus, heard: Heard) -> None:
    bus.detach("heard")
    for number in range(1_000):
        bus.attach(number, f"e.number_{number}", heard)
        bus.execute(f"e.number_{number}", {})
    for number in range(1_000):
        bus.detach(number)

    assert (bus._calls, bus.heard_by, bus.list_handlers()) == ({}, {}, [])


@pytest.mark.conformance(
    "T64", beat="every change is made under one lock: none is lost, whoever else changes the table"
)
def test_T64_no_change_is_lost_when_many_threads_attach_and_detach(bus: Bus, heard: Heard) -> None:
    def change(slot: int) -> None:
        for number in range(100):
            bus.attach((slot, number), f"e.x{number}", heard)
            if number % 2:
                bus.detach((slot, number))

    threads = [threading.Thread(target=change, args=(slot,)) for slot in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    expected: set[Any] = {(slot, number) for slot in range(8) for number in range(0, 100, 2)}
    assert {handler.id for handler in bus.list_handlers()} == {"heard", *expected}


@pytest.mark.conformance("T65", beat="a block takes the handler off again, and a name that nobody declares is found")
def test_T65_a_test_captures_events_and_lets_go(bus: Bus) -> None:
    with captured_events("e", bus=bus, strict=False) as events:
        bus.execute("e.x", {"rows": 3}, {"path": "p"})
        bus.execute("other.name", {})
    bus.execute("e.x", {})

    assert [(event.name, event.measurements, event.metadata) for event in events] == [
        ("e.x", {"rows": 3}, {"path": "p"})
    ]
    assert bus.list_handlers() == []
    with pytest.raises(EventNameError, match="mistyped"), captured_events("e", bus=bus):
        bus.execute("e.mistyped", {})


@pytest.mark.conformance(
    "T66", differs="the events are in a list that is there at once, instead of messages to a process"
)
def test_T66_what_was_captured_is_kept_in_order_from_every_thread(bus: Bus) -> None:
    with captured_events(bus=bus, strict=False) as events:
        bus.execute("e.first", {})
        thread = threading.Thread(target=bus.execute, args=("e.second", {}))
        thread.start()
        thread.join()

    assert events.names == ["e.first", "e.second"]
