"""The generated calls: the same for one handler, for a few, and for many."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from tests.bus.hearing import Heard, fail

from tinkertape import bus as bus_module
from tinkertape.bus import Bus, default_bus
from tinkertape.dispatch import UNROLLED_MAX
from tinkertape.events import EventType

COUNTS = [1, 2, UNROLLED_MAX, UNROLLED_MAX + 1, 100]


@pytest.mark.parametrize("count", COUNTS)
def test_every_handler_is_called_in_order_with_the_same_data(bus: Bus, count: int) -> None:
    heard = Heard()
    measurements, metadata = {"rows": 1}, {"path": "p"}
    for number in range(count):
        bus.attach(number, "e.x", heard, number)

    bus.execute("e.x", measurements, metadata)

    assert [call[3] for call in heard] == list(range(count))
    assert all(call[1] is measurements and call[2] is metadata for call in heard)


@pytest.mark.parametrize("count", COUNTS)
def test_a_failing_handler_in_the_midst_does_not_keep_the_others(bus: Bus, count: int) -> None:
    heard = Heard()
    for number in range(count):
        bus.attach(number, "e.x", heard)
    bus.attach("bad", "e.x", fail)
    bus.attach("last", "e.x", heard)

    bus.execute("e.x", {})
    bus.execute("e.x", {})

    assert len(heard) == 2 * (count + 1)


@pytest.mark.parametrize("count", COUNTS)
def test_a_declared_event_is_dispatched_as_one_that_is_executed_by_name(count: int) -> None:
    event = EventType("test.dispatch.done")
    heard = Heard()
    for number in range(count):
        default_bus.attach(("test_dispatch", number), "test.dispatch.done", heard, number)
    try:
        event.execute({"rows": 1})
        default_bus.execute("test.dispatch.done", {"rows": 1})
    finally:
        for number in range(count):
            default_bus.detach(("test_dispatch", number))

    assert heard[:count] == heard[count:] == [("test.dispatch.done", {"rows": 1}, {}, n) for n in range(count)]
    assert event.handlers == ()


def test_names_with_any_character_reach_the_handler_as_they_are(bus: Bus) -> None:
    heard = Heard()
    names = ["a'b\"c.\\n", "ünï.cødé", "the", "{0}.{1}", "%s"]
    for number in range(2):
        bus.attach_many(number, names, heard)

    for name in names:
        bus.execute(name, {})

    assert heard.names == [name for name in names for _ in range(2)]


def test_methods_partials_and_callable_objects_are_handlers(bus: Bus) -> None:
    heard = Heard()

    class Method:
        def hear(self, event: str, measurements: Any, metadata: Any, config: Any) -> None:
            heard(event, measurements, metadata, config)

    bus.attach("method", "e.x", Method().hear)
    bus.attach("partial", "e.x", functools.partial(heard))
    bus.attach("object", "e.x", heard)

    bus.execute("e.x", {})

    assert len(heard) == 3


def test_names_that_a_program_makes_up_do_not_fill_the_memory(
    bus: Bus, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "NAMES_MAX", 10)

    for number in range(100):
        bus.execute(f"made.up_{number}", {})

    assert len(heard) == 100
    assert len(bus._calls) == len(bus.heard_by) == 10


def test_an_event_that_is_told_is_described_only_where_somebody_listens() -> None:
    event = EventType("test.dispatch.told")
    described = Heard()

    def describe(subject: int) -> tuple[dict[str, Any], dict[str, Any]]:
        described.append((subject,))
        return {"n": subject}, {}

    event.tell(describe, 1)
    heard = Heard()
    for handler_id in ("test.told", "test.told.too"):
        default_bus.attach(handler_id, event.name, heard)
        event.tell(describe, 2)
    for handler_id in ("test.told", "test.told.too"):
        default_bus.detach(handler_id)
    event.tell(describe, 3)

    assert described == [(2,), (2,)]
    assert [call[1] for call in heard] == [{"n": 2}] * 3
