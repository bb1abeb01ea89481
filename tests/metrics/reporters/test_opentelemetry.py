"""What is OpenTelemetry's own: names, units, buckets, temporality, an endpoint that is away."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from tests.metrics.reporters.ends.opentelemetry import OtlpServer
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import OpenTelemetryReporter, counter, distribution, last_value, sum_, summary

CUMULATIVE = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def server() -> Iterator[OtlpServer]:
    with closing(OtlpServer()) as server:
        yield server


def exported(server: OtlpServer) -> dict[str, Any]:
    """The metrics of the last export, by name."""
    [resource] = server.received[-1].resource_metrics
    [scope] = resource.scope_metrics
    assert scope.scope.name == "tinkertape"
    return {metric.name: metric for metric in scope.metrics}


def test_an_export_has_names_units_types_and_buckets(bus: Bus, server: OtlpServer) -> None:
    metrics = [
        counter("a.b.count", description="How many."),
        sum_("a.b.change", measurement="size", reporter_options={"monotonic": False}),
        last_value("a.b.size", unit="byte"),
        distribution("a.b.duration", unit=("nanosecond", "millisecond"), buckets=[10, 100]),
    ]
    with OpenTelemetryReporter(metrics, bus=bus, endpoint=server.endpoint, resource=Resource({"x": "y"})) as reporter:
        for duration in (5_000_000, 50_000_000, 500_000_000):
            bus.execute("a.b", {"size": -3, "duration": duration})
        assert reporter.flush()
    found = exported(server)

    assert {name: metric.unit for name, metric in found.items()} == {
        "a.b.count": "1",
        "a.b.change": "1",
        "a.b.size": "By",
        "a.b.duration": "ms",
    }
    assert found["a.b.count"].description == "How many."
    assert (found["a.b.count"].sum.is_monotonic, found["a.b.count"].sum.aggregation_temporality) == (True, CUMULATIVE)
    assert (found["a.b.change"].sum.is_monotonic, found["a.b.change"].sum.data_points[0].as_int) == (False, -9)
    assert found["a.b.size"].gauge.data_points[0].as_int == -3
    [point] = found["a.b.duration"].histogram.data_points
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([10, 100], [1, 1, 1])
    assert (point.count, point.sum, point.min, point.max) == (3, 555, 5, 500)
    assert point.start_time_unix_nano < point.time_unix_nano
    [attribute] = server.received[-1].resource_metrics[0].resource.attributes
    assert (attribute.key, attribute.value.string_value) == ("x", "y")


def test_exports_come_by_themselves_and_the_last_one_with_close(bus: Bus, server: OtlpServer) -> None:
    reporter = OpenTelemetryReporter([counter("a.b.count")], bus=bus, endpoint=server.endpoint, period_s=0.02)
    bus.execute("a.b", {})
    wait_until(lambda: server.received and exported(server))
    bus.execute("a.b", {})
    reporter.close()
    after = len(server.received)
    reporter.close()

    assert exported(server)["a.b.count"].sum.data_points[0].as_int == 2
    assert len(server.received) == after


def test_an_endpoint_that_is_away_costs_an_answer_of_false_and_nothing_is_lost(bus: Bus, server: OtlpServer) -> None:
    reporter = OpenTelemetryReporter(
        [counter("a.b.count")], bus=bus, endpoint=server.endpoint, period_s=3600, timeout_s=0.2
    )
    bus.execute("a.b", {})
    server.status = 400
    refused = reporter.flush()
    server.status = 200
    taken = reporter.flush()
    reporter.close()

    assert (refused, taken) == (False, True)
    assert exported(server)["a.b.count"].sum.data_points[0].as_int == 1


def test_a_monotonic_sum_takes_no_negative_value(bus: Bus, server: OtlpServer) -> None:
    with OpenTelemetryReporter([sum_("a.b.size")], bus=bus, endpoint=server.endpoint) as reporter:
        for size in (10, -4):
            bus.execute("a.b", {"size": size})

        assert reporter.skipped() == {("a.b.size", "error"): 1}
    assert exported(server)["a.b.size"].sum.data_points[0].as_int == 10


def test_a_summary_becomes_a_histogram_with_the_usual_buckets(bus: Bus, server: OtlpServer) -> None:
    with OpenTelemetryReporter([summary("a.b.size")], bus=bus, endpoint=server.endpoint):
        bus.execute("a.b", {"size": 3})
    [point] = exported(server)["a.b.size"].histogram.data_points

    assert list(point.explicit_bounds) == list(distribution("a.b.size").buckets or ())


def test_two_readers_of_one_provider_see_the_same_and_each_the_newest(bus: Bus) -> None:
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    provider = MeterProvider(readers)
    with OpenTelemetryReporter([counter("a.b.count"), counter("c.d.count")], bus=bus, meter_provider=provider):
        seen = []
        for _ in range(3):
            bus.execute("a.b", {})
            bus.execute("c.d", {})
            for reader in readers:
                data: Any = reader.get_metrics_data()
                metrics = data.resource_metrics[0].scope_metrics[0].metrics
                seen.append([metric.data.data_points[0].value for metric in metrics])
    provider.shutdown()

    assert seen == [[1, 1], [1, 1], [2, 2], [2, 2], [3, 3], [3, 3]]


def test_a_closed_reporter_is_silent_in_a_provider_that_lives_on(bus: Bus) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    OpenTelemetryReporter([counter("a.b.count")], bus=bus, meter_provider=provider).close()
    bus.execute("a.b", {})

    assert reader.get_metrics_data() is None
    provider.shutdown()


def test_what_a_provider_shows_of_the_reporter_after_a_closed_one(bus: Bus) -> None:
    """The SDK keeps an instrument with the callback that it was made with, and forgets the second one's."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics = [counter("a.b.count"), sum_("a.b.size"), last_value("a.b.level", measurement="size")]
    for size in (5, 7):
        with OpenTelemetryReporter(metrics, bus=bus, meter_provider=provider):
            bus.execute("a.b", {"size": size})
            assert seen_by(reader) == {"a.b.count": 1, "a.b.size": size, "a.b.level": size}
    provider.shutdown()


def seen_by(reader: InMemoryMetricReader) -> dict[str, Any]:
    data: Any = reader.get_metrics_data()
    found = data.resource_metrics[0].scope_metrics[0].metrics
    return {metric.name: point.value for metric in found for point in metric.data.data_points}


def test_an_integer_of_more_than_64_bits_silences_nothing(bus: Bus, server: OtlpServer) -> None:
    metrics = [
        counter("a.b.count"),
        sum_("a.b.size"),
        last_value("a.b.level", measurement="size"),
        distribution("a.b.sizes", measurement="size"),
    ]
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with (
        OpenTelemetryReporter(metrics, bus=bus, endpoint=server.endpoint) as reporter,
        OpenTelemetryReporter(metrics[:3], bus=bus, meter_provider=provider),
    ):
        for size in (2**70, -(2**63)):
            bus.execute("a.b", {"size": size})
        assert reporter.flush()
        assert seen_by(reader) == {"a.b.count": 2, "a.b.size": 2.0**70, "a.b.level": -(2**63)}
    found = exported(server)
    provider.shutdown()

    assert found["a.b.count"].sum.data_points[0].as_int == 2
    assert found["a.b.size"].sum.data_points[0].as_double == 2.0**70
    assert found["a.b.level"].gauge.data_points[0].as_int == -(2**63)
    assert found["a.b.sizes"].histogram.data_points[0].count == 2


def test_what_a_histogram_in_a_provider_cannot_use_is_counted_by_reason_and_said_once(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    provider = MeterProvider([InMemoryMetricReader()])
    with OpenTelemetryReporter([distribution("a.b.size", tags=["t"])], bus=bus, meter_provider=provider) as reporter:
        for size in (1, -1, -2, float("nan"), "x", "y", None):
            bus.execute("a.b", {"size": size}, {"t": "t"})
        bus.execute("a.b", {"size": 1}, {})

        reasons = {"error": 2, "not_finite": 1, "not_a_number": 2, "missing_measurement": 1, "missing_tag": 1}
        assert reporter.skipped() == {("a.b.size", reason): count for reason, count in reasons.items()}
    assert len([line for line in caplog.messages if "a.b.size" in line]) == 4  # what is missing is no warning


def test_a_histogram_in_a_provider_has_no_more_series_than_others(bus: Bus) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metric = distribution("a.b.size", tags=["x"])
    with OpenTelemetryReporter([metric], bus=bus, meter_provider=provider, series_max=2):
        for number in range(5):
            bus.execute("a.b", {"size": 1}, {"x": number})
        data: Any = reader.get_metrics_data()
    provider.shutdown()
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points

    assert {tuple(point.attributes.items()): point.count for point in points} == {
        (("x", "0"),): 1,
        (("x", "1"),): 1,
        (("otel.metric.overflow", "true"),): 3,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": [counter("a.b.count"), counter("A.b.Count")]}, "both"),
        ({"metrics": [counter("1.2", event_name="e")]}, "no letter"),
        ({"metrics": [], "endpoint": "http://127.0.0.1:9", "meter_provider": MeterProvider()}, "not both"),
        ({"metrics": [], "headers": {"x-key": "1"}}, "are for an endpoint"),
        ({"metrics": [], "meter_provider": MeterProvider(), "resource": Resource.create()}, "are for an endpoint"),
        ({"metrics": [], "period_s": 0}, "period_s"),
        ({"metrics": [], "endpoint": "localhost:4318"}, "endpoint"),
        ({"metrics": [], "endpoint": "http://127.0.0.1:9", "resource": {"service.name": "x"}}, "resource"),
    ],
)
def test_what_opentelemetry_would_refuse_is_refused_when_the_reporter_is_made(
    bus: Bus, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(MetricError, match=message):
        OpenTelemetryReporter(**arguments, bus=bus)

    assert bus.list_handlers() == []


def test_a_child_forked_while_another_thread_reads_has_what_it_counted_itself(bus: Bus) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with OpenTelemetryReporter([counter("a.b.count")], bus=bus, meter_provider=provider) as reporter:
        bus.execute("a.b", {})
        reads, go_on = threading.Event(), threading.Event()

        def read() -> None:
            with reporter._to._reading:  # type: ignore[union-attr]
                reads.set()
                go_on.wait()

        thread = threading.Thread(target=read)
        thread.start()
        reads.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            bus.execute("a.b", {})
            bus.execute("a.b", {})
            os._exit(seen_by(reader)["a.b.count"])
        go_on.set()
        thread.join()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
        assert seen_by(reader) == {"a.b.count": 1}
    provider.shutdown()


def test_close_ends_in_time_though_an_export_hangs(bus: Bus) -> None:
    """The one that is under way and the last one share `timeout_s`: it took both, one after the other."""
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody_answers:
        endpoint = f"http://127.0.0.1:{nobody_answers.getsockname()[1]}/v1/metrics"
        reporter = OpenTelemetryReporter([counter("a.b.count")], bus=bus, endpoint=endpoint, period_s=0.01, timeout_s=4)
        bus.execute("a.b", {})
        nobody_answers.accept()
        began_s = time.monotonic()
        reporter.close()

    assert time.monotonic() - began_s < 6.0  # it was 8 s less what had passed


def test_a_forked_child_sends_nothing(bus: Bus, server: OtlpServer) -> None:
    with OpenTelemetryReporter([counter("a.b.count")], bus=bus, endpoint=server.endpoint, period_s=3600) as reporter:
        bus.execute("a.b", {})
        child = os.fork()
        if child == 0:
            reporter.close()
            os._exit(0)
        os.waitpid(child, 0)

        assert server.received == []
