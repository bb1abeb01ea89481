"""A signal's handler that executes events, collects, shows or sends metrics ends, whatever it interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from tests.metrics.interrupted import handled, interrupt, places, some_of
from tests.metrics.reporters.ends.opentelemetry import OtlpServer

from tinkertape.bus import Bus
from tinkertape.guard import count_failure, failures, forget_failures
from tinkertape.metrics import (
    Aggregate,
    OpenTelemetryReporter,
    PrometheusReporter,
    StatsDReporter,
    counter,
    distribution,
)
from tinkertape.metrics.tally import Tally
from tinkertape.metrics.turn import Turn

COUNT = counter("a.b.count", tags=["x"])


def everywhere(act: Callable[[], object], handle: Callable[[], object]) -> None:
    """Run `act` again and again, with a signal in another place each time."""
    act()
    with handled(handle):
        for place in some_of(places(act)):
            interrupt(act, place)


class Events:
    """Executes events on a bus of its own, each of the first 200 of a series that none before it had."""

    def __init__(self) -> None:
        self.bus, self.executed = Bus(), 0

    def execute(self) -> None:
        self.bus.execute("a.b", {}, {"x": f"x{self.executed % 200}"})
        self.executed += 1


def counted(aggregate: Aggregate) -> int:
    [family] = aggregate.collect()
    return sum(series.value for series in family.series)  # type: ignore[misc]


def in_another_thread(act: Callable[[], object]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_a_signals_handler_may_come_up_with_a_tag_that_equals_one_of_another_type_where_the_first_comes_up() -> None:
    bus, metric = Bus(), counter("a.b.count", tags=["x", "y"])

    def execute(*values: object) -> None:
        for value in values:
            bus.execute("a.b", {}, {"x": value, "y": value})

    def aggregate() -> Aggregate:
        made = Aggregate([metric], bus=bus)
        execute("text")
        return made

    with aggregate():
        number = places(lambda: execute(True))
    for place in range(number):
        with aggregate() as counting:
            with handled(lambda: execute("new", 1, 1.0)):
                interrupt(lambda: execute(True), place)
            execute(True, 1, 1.0, "text", "new")

            found = {series.tags[0][1]: series.value for series in counting.collect()[0].series}
            assert found == {"text": 2, "true": 2, "1": 4, "new": 2}, place
            assert counting.skipped() == {}


def test_a_signals_handler_may_wait_for_another_threads_collection_wherever_an_event_is_interrupted() -> None:
    events = Events()
    with Aggregate([COUNT], bus=events.bus, idle_s=1e9) as aggregate:
        everywhere(events.execute, lambda: in_another_thread(aggregate.collect))

        assert counted(aggregate) == events.executed


@pytest.mark.parametrize("ask", [Aggregate.collect, Aggregate.skipped, Aggregate.overflowed], ids=lambda a: a.__name__)
def test_a_handlers_own_collection_in_the_middle_of_another_counts_all_of_threads_that_ended(
    ask: Callable[[Aggregate], Any],
) -> None:
    events = Events()
    with Aggregate([COUNT], bus=events.bus) as aggregate:

        def act() -> None:
            in_another_thread(events.execute)
            before.append(events.executed)
            ask(aggregate)

        def handle() -> None:
            if before and before[-1] == events.executed:
                seen.append((counted(aggregate), events.executed))

        before: list[int] = []
        seen: list[tuple[int, int]] = []
        everywhere(act, handle)

        assert seen
        assert all(found == executed for found, executed in seen)


@pytest.fixture(params=["alone", "one of several processes"])
def prometheus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Events, PrometheusReporter]]:
    events = Events()
    directory = tmp_path if request.param != "alone" else None
    with PrometheusReporter([COUNT], bus=events.bus, directory=directory) as reporter:
        yield events, reporter


@pytest.mark.parametrize("name", ["text", "skipped", "execute"])
def test_a_signals_handler_may_show_metrics_to_prometheus(
    name: str, prometheus: tuple[Events, PrometheusReporter]
) -> None:
    events, reporter = prometheus
    acts: dict[str, Callable[[], object]] = {
        "text": reporter.text,
        "skipped": reporter.skipped,
        "execute": events.execute,
    }

    def handle() -> None:
        events.execute()
        reporter.text()

    everywhere(acts[name], handle)

    samples = [line for line in reporter.text().splitlines() if line.startswith("a_b_count_total")]
    assert sum(float(line.rpartition(" ")[2]) for line in samples) == events.executed


def test_a_signals_handler_may_execute_events_while_the_programs_own_registry_collects() -> None:
    events, registry = Events(), CollectorRegistry()
    with PrometheusReporter([COUNT], bus=events.bus, registry=registry):
        everywhere(lambda: generate_latest(registry), events.execute)

        [family] = registry.collect()
        assert sum(sample.value for sample in family.samples) == events.executed


@pytest.mark.parametrize("name", ["collect", "execute"])
def test_a_signals_handler_may_execute_events_while_the_programs_meter_provider_records_or_collects(name: str) -> None:
    events, reader = Events(), InMemoryMetricReader()
    metrics = [COUNT, distribution("a.b.size", measurement=lambda measurements: 1)]
    reporter = OpenTelemetryReporter(metrics, bus=events.bus, meter_provider=MeterProvider([reader]))
    acts: dict[str, Callable[[], object]] = {"collect": reader.get_metrics_data, "execute": events.execute}

    events.execute()
    with handled(events.execute):
        number = places(acts[name])
        for place in range(0, number, 1 + number // 200):  # all of an event's: few of them are inside a lock
            interrupt(acts[name], place)

    events.execute()  # what had to wait goes with the next one
    found: Any = reader.get_metrics_data()
    reporter.close()
    shown = {metric.name: metric.data.data_points for metric in found.resource_metrics[0].scope_metrics[0].metrics}
    assert sum(point.value for point in shown["a.b.count"]) == events.executed
    assert sum(point.count for point in shown["a.b.size"]) == events.executed


@pytest.mark.parametrize("name", ["flush", "skipped", "execute"])
def test_a_signals_handler_may_send_metrics_by_otlp(name: str) -> None:
    events = Events()
    with (
        closing(OtlpServer()) as server,
        OpenTelemetryReporter([COUNT], bus=events.bus, endpoint=server.endpoint, period_s=3_600) as reporter,
    ):
        acts: dict[str, Callable[[], object]] = {
            "flush": reporter.flush,
            "skipped": reporter.skipped,
            "execute": events.execute,
        }

        def handle() -> None:
            events.execute()
            reporter.flush()

        everywhere(acts[name], handle)

        assert reporter.flush()
        [metric] = server.received[-1].resource_metrics[0].scope_metrics[0].metrics
        assert sum(point.as_int for point in metric.sum.data_points) == events.executed


@pytest.mark.parametrize("kind", ["prometheus", "opentelemetry", "statsd"])
def test_a_signals_handler_may_close_what_is_being_made_used_or_closed(kind: str, tmp_path: Path) -> None:
    events = Events()
    made: list[Any] = []

    def close() -> None:
        for reporter in made:
            reporter.close()

    with closing(OtlpServer()) as server:
        make: dict[str, Callable[[], Any]] = {
            "prometheus": lambda: PrometheusReporter([COUNT], bus=events.bus, directory=tmp_path),
            "opentelemetry": lambda: OpenTelemetryReporter([COUNT], bus=events.bus, endpoint=server.endpoint),
            "statsd": lambda: StatsDReporter([COUNT], bus=events.bus, period_s=3_600),
        }

        def act() -> None:
            made.append(make[kind]())
            events.execute()
            close()
            made.clear()

        everywhere(act, close)

    assert events.bus.list_handlers("a.b") == []


def test_a_signals_handler_may_count_a_failure() -> None:
    made: list[str] = []

    def fail(error: Exception) -> None:
        count_failure("a test", error)
        made.append(type(error).__name__)

    try:
        everywhere(lambda: fail(ValueError()), lambda: fail(KeyError()))

        assert {kind: made.count(kind) for kind in made} == {
            kind: count for (place, kind), count in failures().items() if place == "a test"
        }
    finally:
        forget_failures("a test")


def test_a_tally_misses_nothing_that_a_signals_handler_counts() -> None:
    tally: Tally[str] = Tally()
    made = []

    def add() -> None:
        tally.add("x")
        made.append(None)

    everywhere(add, add)

    assert tally.total() == {"x": len(made)}


def test_a_turn_knows_its_own_thread() -> None:
    turn = Turn()
    with turn as is_outermost:
        assert is_outermost
        with turn as is_outermost, turn.if_free() as is_free:
            assert (is_outermost, is_free, turn.is_mine()) == (False, False, True)
        assert turn.is_mine()
        elsewhere: list[bool] = []

        def look() -> None:
            with turn.if_free() as is_free:
                elsewhere.extend((is_free, turn.is_mine()))

        in_another_thread(look)

    assert elsewhere == [False, False]
    with turn.if_free() as is_free:
        assert is_free
    assert not turn.is_mine()
