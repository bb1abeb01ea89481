"""The bus, by the items of docs/facts/beam.md: who hears what, in which order, and what a failing handler may do."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from tests.bus.hearing import Heard

from tinkertape.bus import HANDLER_FAILURE, Bus
from tinkertape.context import Event, replaying, severity_of
from tinkertape.errors import AlreadyDeclared, EventNameError, HandlerExists, HandlerNotFound
from tinkertape.events import EventType, catalogue, default_bus
from tinkertape.spans import span


@pytest.fixture
def bus() -> Bus:
    return Bus()


def test_a_handler_gets_the_event_its_measurements_metadata_and_config(bus: Bus) -> None:
    heard = Heard()
    bus.attach("a", "my.thing.done", heard, {"c": 1})

    bus.execute("my.thing.done", {"rows": 3}, {"path": "p"})

    assert heard == [("my.thing.done", {"rows": 3}, {"path": "p"}, {"c": 1})]


def test_a_sequence_of_segments_is_the_dotted_name(bus: Bus) -> None:
    heard = Heard()
    bus.attach("a", ["my", "thing"], heard)

    bus.execute(("my", "thing"), {})

    assert heard == [("my.thing", {}, {}, None)]


def test_matching_is_exact_in_both_directions(bus: Bus) -> None:
    heard = Heard()
    bus.attach("a", "my.thing", heard)

    bus.execute("my", {})
    bus.execute("my.thing.done", {})

    assert heard == []


def test_handlers_run_in_attach_order_whatever_they_are_attached_by(bus: Bus) -> None:
    order: list[str] = []
    bus.attach("first", "e.x", lambda *_: order.append("first"))
    bus.attach_all("second", lambda *_: order.append("second"))
    bus.attach_many("third", ["e.y", "e.x"], lambda *_: order.append("third"))

    bus.execute("e.x", {})

    assert order == ["first", "second", "third"]


def test_an_id_is_unique_over_all_events_and_the_first_handler_stays(bus: Bus) -> None:
    heard = Heard()
    bus.attach("a", "e.x", heard)

    with pytest.raises(HandlerExists, match="'a'"):
        bus.attach("a", "e.y", Heard())
    bus.execute("e.x", {})

    assert len(heard) == 1


@pytest.mark.parametrize("name", ["", ".a", "a.", "a..b", "a b", "a\n", ["a", 1], 7, []])
def test_a_bad_name_is_refused_before_anything_changes(bus: Bus, name: Any) -> None:
    with pytest.raises(EventNameError):
        bus.attach_many("a", ["good.one", name], Heard())

    assert bus.list_handlers() == []


def test_an_event_listed_twice_is_refused(bus: Bus) -> None:
    with pytest.raises(EventNameError, match="twice"):
        bus.attach_many("a", ["e.x", "e.x"], Heard())


def test_detach_takes_a_handler_off_all_its_events(bus: Bus) -> None:
    heard = Heard()
    bus.attach_many("a", ["e.x", "e.y"], heard)

    bus.detach("a")
    bus.execute("e.x", {})
    bus.execute("e.y", {})

    assert heard == []
    with pytest.raises(HandlerNotFound):
        bus.detach("a")


def test_attach_all_hears_names_executed_before_and_after_and_only_below_its_prefix(bus: Bus) -> None:
    heard = Heard()
    bus.execute("tinker.retry", {})
    bus.attach_all("all", heard, prefix="tinker")

    for name in ("tinker.retry", "tinkertape.x", "tinker", "tinker.new.name", "other"):
        bus.execute(name, {})

    assert heard.names == ["tinker.retry", "tinker", "tinker.new.name"]


def test_list_handlers_lists_one_entry_an_event_below_the_prefix(bus: Bus) -> None:
    bus.attach_many("a", ["a.b.c", "a.d"], Heard())

    assert [handler.event_name for handler in bus.list_handlers("a.b")] == ["a.b.c"]
    assert [handler.event_name for handler in bus.list_handlers()] == ["a.b.c", "a.d"]
    assert bus.list_handlers("a.b.c.d") == []


def test_a_raising_handler_is_detached_the_others_run_and_the_failure_is_told(bus: Bus) -> None:
    told, after = Heard(), Heard()
    bus.attach("failures", HANDLER_FAILURE, told)
    bus.attach_many("bad", ["e.x", "e.y"], lambda *_: 1 / 0)
    bus.attach("after", "e.x", after)

    bus.execute("e.x", {"m": 1}, {"k": 2})
    bus.execute("e.x", {})

    assert len(after) == 2
    assert [handler.id for handler in bus.list_handlers("e")] == ["after"]
    [(_, measurements, metadata, _)] = told
    assert set(measurements) == {"monotonic_time", "system_time"}
    assert metadata["handler_id"] == "bad"
    assert (metadata["event_measurements"], metadata["event_metadata"]) == ({"m": 1}, {"k": 2})
    assert isinstance(metadata["reason"], ZeroDivisionError)
    assert metadata["stacktrace"]


def test_a_kept_handler_goes_on_after_a_failure(bus: Bus) -> None:
    calls = Heard()

    def fail(*call: Any) -> None:
        calls(*call)
        raise RuntimeError

    bus.attach("a", "e.x", fail, on_failure="keep")
    bus.execute("e.x", {})
    bus.execute("e.x", {})

    assert len(calls) == 2


def test_a_failing_handler_of_the_failure_event_ends_the_story(bus: Bus) -> None:
    bus.attach("worse", HANDLER_FAILURE, lambda *_: 1 / 0)
    bus.attach("bad", "e.x", lambda *_: 1 / 0)

    bus.execute("e.x", {})

    assert bus.list_handlers() == []


def test_a_dispatch_is_a_snapshot(bus: Bus) -> None:
    late, victim = Heard(), Heard()

    def change(*_: Any) -> None:
        if victim == []:
            bus.detach("victim")
            bus.attach("late", "e.x", late)

    bus.attach("change", "e.x", change)
    bus.attach("victim", "e.x", victim)

    bus.execute("e.x", {})

    assert (len(victim), late) == (1, [])
    bus.execute("e.x", {})
    assert (len(victim), len(late)) == (1, 1)


def generates(*_: Any) -> Any:
    yield None


async def awaited(*_: Any) -> None:
    """Would never run."""


async def asks(*_: Any) -> Any:
    yield None


class Awaited:
    async def __call__(self, *_: Any) -> None:
        """Would never run."""


NEVER_RUN = {"generator": generates, "coroutine": awaited, "asynchronous generator": asks, "object": Awaited()}


@pytest.mark.parametrize("function", [*NEVER_RUN.values(), partial(awaited)], ids=[*NEVER_RUN, "partial"])
def test_a_handler_whose_body_a_call_does_not_run_is_refused(bus: Bus, function: Any) -> None:
    with pytest.raises(TypeError, match="called and not awaited or gone through"):
        bus.attach("never", "e.x", function)

    assert bus.list_handlers() == []


def test_a_declared_type_knows_whether_anybody_listens() -> None:
    event = EventType("test.declared.done", measurements={"rows": "count"}, severity="WARNING")
    heard = Heard()
    before = bool(event.handlers)
    default_bus.attach_all("declared", heard, prefix="test.declared")
    try:
        assert event.handlers
        event.execute({"rows": 1}, {"path": "p"})
    finally:
        default_bus.detach("declared")

    assert (before, bool(event.handlers)) == (False, False)
    assert heard == [("test.declared.done", {"rows": 1}, {"path": "p"}, None)]


def test_a_key_that_is_measurement_and_metadata_is_refused() -> None:
    with pytest.raises(EventNameError, match="'duration'"):
        EventType("test.both", measurements={"duration": "ns"}, metadata={"duration": "ns"})


@pytest.mark.parametrize("given", [["rows"], "rows", ("rows",)])
def test_keys_without_their_meaning_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="say by key what it means"):
        EventType("test.keys.alone", measurements=given)
    with pytest.raises(TypeError, match="say by key what it means"):
        EventType("test.keys.alone", metadata=given)


def test_a_severity_that_no_log_and_no_collector_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown severity 'warning'; use DEBUG, INFO, WARNING, ERROR, CRITICAL"):
        EventType("test.severity.typed", severity="warning")


def test_an_event_is_declared_once_and_whoever_declares_it_otherwise_is_told_where_and_what() -> None:
    first = EventType("test.once.done", measurements={"rows": "count"})
    same = EventType("test.once.done", measurements={"rows": "count"})

    with pytest.raises(AlreadyDeclared) as refused:
        EventType("test.once.done", measurements={"rows": "lines"}, severity="DEBUG")

    assert first.declared_at != same.declared_at
    said, _, unlike = str(refused.value).partition(" did, with other ")
    assert re.fullmatch(rf"cannot declare test\.once\.done at {re.escape(__file__)}:\d+: (.*)", said)
    assert said.endswith(f": {first.declared_at}")
    assert unlike == (
        "measurements and severity ({'rows': 'count'}, not {'rows': 'lines'}); declare it once and import it"
    )
    assert severity_of("test.once.done") == "INFO"


def test_a_declaration_that_is_dropped_makes_room_for_another() -> None:
    EventType("test.dropped.done", severity="DEBUG")

    kept = EventType("test.dropped.done", severity="ERROR")

    assert severity_of("test.dropped.done") == kept.severity == "ERROR"


def test_event_of_has_the_declared_severity_the_time_and_the_span(bus: Bus) -> None:
    EventType("test.severity.done", severity="CRITICAL")
    seen: list[Event] = []
    bus.attach_all("of", lambda event, measurements, metadata, _: seen.append(Event.of(event, measurements, metadata)))

    with span("test.severity", bus=bus):
        bus.execute("test.severity.done", {"rows": 1}, {"path": "p"})

    [start, done, stop] = seen
    assert (done.severity, done.measurements, done.metadata) == ("CRITICAL", {"rows": 1}, {"path": "p"})
    assert start.monotonic_ns <= done.monotonic_ns <= stop.monotonic_ns
    assert start.trace_id == done.trace_id == stop.trace_id is not None


def test_event_of_in_a_replay_is_the_replayed_event(bus: Bus) -> None:
    past = Event(
        name="e.x", measurements={}, metadata={}, time_ns=1, monotonic_ns=2, severity="ERROR", run="R", index=7
    )
    seen: list[Event] = []
    bus.attach(
        "of", "e.x", lambda event, measurements, metadata, _: seen.append(Event.of(event, measurements, metadata))
    )

    with replaying(past):
        bus.execute(past.name, past.measurements, past.metadata)

    assert seen == [past]


def test_every_event_of_the_catalogue_says_what_its_keys_mean() -> None:
    events = catalogue()

    assert len(events) > 60
    assert all(event.description for event in events)
    assert all(text for event in events for text in {**event.measurements, **event.metadata}.values())
