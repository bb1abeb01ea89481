"""One suite for every reporter: what a definition says is honoured by all of them.

The folder is the list: a reporter without a far end in `ends/` fails here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.metrics.reporters.ends import Arrived, End, Key

from tinkertape.bus import Bus
from tinkertape.metrics import Metric, counter, distribution, last_value, sum_, summary
from tinkertape.metrics import reporters as folder

NAMES = sorted(path.stem for path in Path(folder.__path__[0]).glob("*.py") if path.stem != "__init__")


def ends_of(name: str) -> list[Any]:
    """The far ends of a reporter: its `ENDS`, where it has several, else the one `End`."""
    module = import_module(f"tests.metrics.reporters.ends.{name}")
    ends = getattr(module, "ENDS", None) or [module.End]
    return [pytest.param(end, id=name if end.__name__ == "End" else f"{name}-{end.__name__.lower()}") for end in ends]


ENDS = [end for name in NAMES for end in ends_of(name)]
Start = Callable[..., End]
NO_TAGS: frozenset[tuple[str, str]] = frozenset()


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture(params=ENDS)
def start(request: pytest.FixtureRequest, bus: Bus) -> Iterator[Start]:
    """Makes the reporter under test with its far end; closed after the test."""
    ends: list[End] = []

    def start(*metrics: Metric) -> End:
        ends.append(request.param(metrics, bus))
        return ends[-1]

    yield start
    for end in ends:
        end.close()


def counts(end: End) -> dict[Key, int | None]:
    return {key: arrived.count for key, arrived in end.read().items()}


def only(end: End) -> Arrived:
    [arrived] = end.read().values()
    return arrived


def test_a_counter_arrives_once_for_each_event_by_its_tags(bus: Bus, start: Start) -> None:
    end = start(counter("http.request.count", tags=["method", "status"]))
    for method, status in (("GET", 200), ("GET", 200), ("GET", 404)):
        bus.execute("http.request", {}, {"method": method, "status": status, "other": 1})

    assert counts(end) == {
        ("http.request.count", frozenset({("method", "GET"), ("status", "200")})): 2,
        ("http.request.count", frozenset({("method", "GET"), ("status", "404")})): 1,
    }


def test_a_sum_arrives_added_up(bus: Bus, start: Start) -> None:
    end = start(sum_("http.request.bytes"))
    for size in (23, 5):
        bus.execute("http.request", {"bytes": size})

    assert only(end).sum == 28


def test_a_last_value_arrives_as_it_was_last(bus: Bus, start: Start) -> None:
    end = start(last_value("vm.memory.total", tags=["name"]))
    for name, total in (("a", 200_000), ("b", 190_000), ("a", 210_000)):
        bus.execute("vm.memory", {"total": total}, {"name": name})

    assert {dict(tags)["name"]: arrived.last for (_, tags), arrived in end.read().items()} == {
        "a": 210_000,
        "b": 190_000,
    }


@pytest.mark.parametrize("kind", [summary, distribution])
def test_every_value_of_a_summary_and_a_distribution_arrives(bus: Bus, start: Start, kind: Any) -> None:
    end = start(kind("http.request.size"))
    for size in (1, 2, 3, 4):
        bus.execute("http.request", {"size": size})

    arrived = only(end)
    assert arrived.count == 4
    assert arrived.sum in (None, 10)


def test_what_keep_refuses_and_drop_takes_never_arrives(bus: Bus, start: Start) -> None:
    end = start(
        counter("a.kept.count", event_name="a.event", keep=lambda metadata: metadata["status"] == "ok"),
        counter("a.small.count", event_name="a.event", drop=lambda metadata, measured: measured["size"] > 10),
    )
    bus.execute("a.event", {"size": 1}, {"status": "ok"})
    bus.execute("a.event", {"size": 99}, {"status": "ok"})
    bus.execute("a.event", {"size": 2}, {"status": "failed"})

    assert counts(end) == {("a.kept.count", NO_TAGS): 2, ("a.small.count", NO_TAGS): 2}


def test_tags_come_from_tag_values_and_from_a_function(bus: Bus, start: Start) -> None:
    end = start(
        counter(
            "a.first.count", event_name="a.event", tags=["kind"], tag_values=lambda m: {"kind": m["status"] // 100}
        ),
        counter("a.second.count", event_name="a.event", tags=lambda m: {"status": m["status"]}),
    )
    bus.execute("a.event", {}, {"status": 404})

    assert counts(end) == {
        ("a.first.count", frozenset({("kind", "4")})): 1,
        ("a.second.count", frozenset({("status", "404")})): 1,
    }


def test_a_measurement_may_be_a_function_of_measurements_and_metadata(bus: Bus, start: Start) -> None:
    end = start(
        sum_("a.first.total", event_name="a.event", measurement=lambda measured: measured["x"] * 2),
        sum_(
            "a.second.total", event_name="a.event", measurement=lambda measured, metadata: measured["x"] + metadata["y"]
        ),
    )
    bus.execute("a.event", {"x": 10}, {"y": 7})

    assert {name: arrived.sum for (name, _), arrived in end.read().items()} == {
        "a.first.total": 20,
        "a.second.total": 17,
    }


def test_units_are_converted(bus: Bus, start: Start) -> None:
    end = start(
        sum_("a.time.total", event_name="a.event", measurement="duration", unit=("nanosecond", "millisecond")),
        last_value("a.size.last", event_name="a.event", measurement="size", unit=("byte", "kilobyte")),
    )
    bus.execute("a.event", {"duration": 3_000_000, "size": 76_000})

    arrived = {name: each for (name, _), each in end.read().items()}
    assert (arrived["a.time.total"].sum, arrived["a.size.last"].last) == (3, 76)


@pytest.mark.parametrize("value", [None, "much", float("nan"), float("inf"), True, [1]])
def test_one_bad_value_silences_nothing(bus: Bus, start: Start, value: object) -> None:
    end = start(sum_("a.event.size"), counter("a.event.count"))
    bus.execute("a.event", {"size": value})
    bus.execute("a.event", {"size": 5})

    arrived = {name: each for (name, _), each in end.read().items()}
    assert arrived["a.event.size"].sum == 5
    assert arrived["a.event.count"].count == 2


def test_a_function_that_raises_silences_neither_its_metric_nor_another(
    bus: Bus, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="tinkertape")
    end = start(
        counter("a.first.count", event_name="a.event", tags=["x"], tag_values=lambda metadata: {"x": metadata["x"]}),
        counter("a.second.count", event_name="a.event"),
    )
    bus.execute("a.event", {}, {})
    bus.execute("a.event", {}, {"x": 1})

    assert counts(end) == {("a.first.count", frozenset({("x", "1")})): 1, ("a.second.count", NO_TAGS): 2}


def test_an_event_without_a_listed_tag_is_skipped(bus: Bus, start: Start) -> None:
    end = start(counter("a.event.count", tags=["x"]))
    bus.execute("a.event", {}, {"y": 1})
    bus.execute("a.event", {}, {"x": 1})

    assert counts(end) == {("a.event.count", frozenset({("x", "1")})): 1}


HOSTILE = [
    'a"b\\c',
    "first\nsecond 1|c",
    "x,y|#z:1",
    "{} = # ;",
    "\x00\x1b[31m",
    "é漢🙂",
    "\ud800",
    "",
    " ",
    "x" * 5_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_hostile_tag_breaks_nothing_and_makes_nothing_up(bus: Bus, start: Start, value: str) -> None:
    end = start(counter("a.event.count", tags=["tag"]), counter("b.event.count"))
    bus.execute("a.event", {}, {"tag": value})
    bus.execute("b.event", {})

    arrived = counts(end)
    assert sorted(name for name, _ in arrived) == ["a.event.count", "b.event.count"]
    assert set(arrived.values()) == {1}
    assert all(key in ("tag",) for _, tags in arrived for key, _ in tags)


def test_updates_from_many_threads_all_arrive(bus: Bus, start: Start) -> None:
    end = start(counter("a.event.count"))
    threads = [
        threading.Thread(target=lambda: [bus.execute("a.event", {}) for _ in range(250)], daemon=True) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert only(end).count == 2_000


def test_several_reporters_at_once_each_report_all(bus: Bus, start: Start) -> None:
    first, second = start(counter("a.event.count")), start(counter("a.event.count"))
    bus.execute("a.event", {})

    assert (only(first).count, only(second).count) == (1, 1)


def test_closing_detaches_everything_and_closing_twice_is_closing_once(bus: Bus, start: Start) -> None:
    with closing(start(counter("a.event.count"), distribution("b.event.size"))) as end:
        assert bus.list_handlers()
        reporter: Any = end
    reporter.reporter.close()

    assert bus.list_handlers() == []
