"""What is Prometheus's own: its text, its rules for names, exemplars, its own tools."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import prometheus_client
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import Metric, PrometheusReporter, counter, default, distribution, last_value, sum_, summary
from tinkertape.spans import span

HOSTILE = 'a"b\\c\nd{}=,#\x00é\ud800'


@pytest.fixture
def bus() -> Bus:
    return Bus()


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"this test runs {name} and found none; install Prometheus (Debian: apt-get install prometheus)")
    return found


def fill(bus: Bus) -> None:
    """An event with hostile tags for every default metric."""
    for metric in default():
        tags = [] if callable(metric.tags) else metric.tags
        measured = metric.measurement if isinstance(metric.measurement, str) else "duration"
        bus.execute(
            metric.event_name, {measured: 5, "iteration": 3}, {"status": HOSTILE, **dict.fromkeys(tags, HOSTILE)}
        )


def test_the_text_has_help_type_and_a_line_a_series_in_the_order_of_the_definitions(bus: Bus) -> None:
    metrics = [
        last_value("vm.memory.used", description="Memory in use."),
        distribution("http.request.duration", tags=["method"], buckets=[1, 2.5]),
        counter("http.request.total", event_name="http.request", tags=["code", "method"]),
        sum_("unused.event.size"),
    ]
    with PrometheusReporter(metrics, bus=bus) as reporter:
        bus.execute("http.request", {"duration": 2}, {"method": "post", "code": 200})
        bus.execute("vm.memory", {"used": 7})
        text = reporter.text()

    assert text == (
        "# HELP vm_memory_used Memory in use.\n"
        "# TYPE vm_memory_used gauge\n"
        "vm_memory_used 7.0\n"
        "# HELP http_request_duration Distribution of duration of http.request.\n"
        "# TYPE http_request_duration histogram\n"
        'http_request_duration_bucket{le="1.0",method="post"} 0.0\n'
        'http_request_duration_bucket{le="2.5",method="post"} 1.0\n'
        'http_request_duration_bucket{le="+Inf",method="post"} 1.0\n'
        'http_request_duration_sum{method="post"} 2.0\n'
        'http_request_duration_count{method="post"} 1.0\n'
        "# HELP http_request_total How often http.request happened.\n"
        "# TYPE http_request_total counter\n"
        'http_request_total{code="200",method="post"} 1.0\n'
    )


def test_without_an_event_the_page_is_empty_and_two_scrapes_without_one_between_are_alike(bus: Bus) -> None:
    with PrometheusReporter([counter("a.b.count")], bus=bus) as reporter:
        assert reporter.text() == ""
        bus.execute("a.b", {})
        assert reporter.text() == reporter.text() != ""


def test_a_summary_has_its_quantiles_sum_and_count(bus: Bus) -> None:
    metric = summary("a.b.size", reporter_options={"quantiles": [0, 0.5, 1]})
    with PrometheusReporter([metric], bus=bus) as reporter:
        for size in (10, 20, 30):
            bus.execute("a.b", {"size": size})
        [family] = reporter.registry.collect()

    found = {(sample.name, sample.labels.get("quantile")): sample.value for sample in family.samples}
    assert found["a_b_size", "0.0"] == 10 and found["a_b_size", "1.0"] == 30
    assert found["a_b_size", "0.5"] == pytest.approx(20, rel=0.01)
    assert found["a_b_size_sum", None] == 60 and found["a_b_size_count", None] == 3


@pytest.mark.parametrize("openmetrics_format", [True, False])
@pytest.mark.parametrize(
    "metric",
    [
        summary("my.step.reward", tags=["kind"], reporter_options={"quantiles": [0, 0.5, 1]}),
        distribution("my.step.reward", tags=["kind"], buckets=[-1, 0, 1]),
        distribution("my.step.reward", tags=["kind"], buckets=[0, 1]),
    ],
    ids=["summary", "negative bounds", "negative sum"],
)
def test_what_is_negative_has_the_same_series_and_the_standards_own_parser_takes_it(
    bus: Bus, metric: Metric, openmetrics_format: bool
) -> None:
    parse = text_string_to_metric_families if openmetrics_format else parser.text_string_to_metric_families
    with PrometheusReporter([metric], bus=bus) as reporter, span("my.outer", bus=bus):
        bus.execute("my.step", {"reward": 3}, {"kind": "a"})
        typed = list(parse(reporter.text(openmetrics_format=openmetrics_format)))
        bus.execute("my.step", {"reward": -5}, {"kind": "b"})
        families = list(parse(reporter.text(openmetrics_format=openmetrics_format)))

    def series_of(kind: str, shown: list[prometheus_client.Metric]) -> list[tuple[str, dict[str, str]]]:
        samples = [sample for family in shown for sample in family.samples if sample.labels["kind"] == kind]
        return [(sample.name, {**sample.labels, "kind": ""}) for sample in samples]

    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert series_of("a", typed) == series_of("a", families) == series_of("b", families)
    assert {family.type for family in families} == {"unknown"}
    assert (values["my_step_reward_sum"], values["my_step_reward_count"]) == (-5, 1)


def test_tags_of_a_function_that_become_alike_in_two_events_are_one_series(bus: Bus) -> None:
    bus.attach("listens", "my.work.start", lambda *_: None)
    metric = counter("a.b.count", tags=lambda metadata: metadata)
    with PrometheusReporter([metric], bus=bus, series_max=2) as reporter:
        with span("my.work", bus=bus):
            for tags in ({"x-y": 1}, {"x_y": 1}, {"x-y": 1, "x_y": 2}, {"x_y": 3}):
                bus.execute("a.b", {}, tags)
        text = reporter.text(openmetrics_format=True)

    assert 'a_b_count_total{x_y="1"} 2.0 # {span_id=' in text
    assert 'a_b_count_total{x_y="1",x_y_="2"} 1.0 # {span_id=' in text
    assert 'a_b_count_total{otel_metric_overflow="true"} 1.0' in text


@pytest.mark.parametrize("value", [Decimal(-4), Fraction(-4), numpy.int64(-4), numpy.float32(-4)], ids=repr)
def test_a_negative_number_of_any_type_makes_no_counter_go_down(bus: Bus, value: Any) -> None:
    with PrometheusReporter([sum_("a.b.up")], bus=bus) as reporter:
        for each in (10, value, abs(value)):
            bus.execute("a.b", {"up": each})

        assert "a_b_up_total 14.0\n" in reporter.text()
        assert reporter.skipped() == {("a.b.up", "error"): 1}


def test_what_a_registry_refuses_listens_to_nothing(bus: Bus, tmp_path: Path) -> None:
    registry = prometheus_client.CollectorRegistry()
    with PrometheusReporter([counter("a.b.count")], bus=bus, registry=registry) as reporter:
        handlers = bus.list_handlers()
        with pytest.raises(MetricError, match=r"registry refuses.*a_b_count"):
            PrometheusReporter([counter("a.b.count")], bus=bus, registry=registry, directory=tmp_path)

        assert bus.list_handlers() == handlers
        bus.execute("a.b", {})
        assert "a_b_count_total 1.0\n" in reporter.text()


def test_a_series_that_came_after_others_went_has_an_exemplar(bus: Bus) -> None:
    bus.attach("listens", "my.work.start", lambda *_: None)
    metric = counter("a.b.count", tags=["x"])
    with PrometheusReporter([metric], bus=bus, series_max=1, idle_s=1e-9) as reporter:
        for number in range(3):
            with span("my.work", bus=bus):
                bus.execute("a.b", {}, {"x": number})
            text = reporter.text(openmetrics_format=True)
            assert f'x="{number}"' in text and "trace_id" in text
            reporter.text()  # unchanged since: idle


def test_a_sum_that_is_a_counter_never_goes_down_and_one_that_is_a_gauge_may(bus: Bus) -> None:
    up = sum_("a.b.up", measurement="x")
    free = sum_("a.b.free", measurement="x", reporter_options={"prometheus_type": "gauge"})
    with PrometheusReporter([up, free], bus=bus) as reporter:
        for value in (10, -4):
            bus.execute("a.b", {"x": value})
        text, skipped = reporter.text(), reporter.skipped()

    assert "a_b_up_total 10.0\n" in text and "a_b_free 6.0\n" in text
    assert skipped == {("a.b.up", "error"): 1}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([counter("a.b-c.count"), counter("a.b_c.count")], "both 'a_b_c_count"),
        ([counter("a.b.x"), last_value("a.b.x")], "both"),
        ([summary("a.b.x"), counter("a.b.x.count", event_name="a.b")], "both"),
        ([counter("a.b.count", tags=["x-y", "x_y"])], "become the label 'x_y'"),
        ([counter("é.é")], "no letter or digit"),
    ],
)
def test_what_prometheus_would_refuse_is_refused_when_the_reporter_is_made(
    bus: Bus, metrics: list[Any], message: str
) -> None:
    with pytest.raises(MetricError, match=message):
        PrometheusReporter(metrics, bus=bus)

    assert bus.list_handlers() == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("foo123.bar.total", "foo123_bar_total"),
        ("123foo.bar", "_123foo_bar_total"),
        ("my-app.x:y._z", "my_app_x_y__z_total"),
        ("__u.v.w", "u_v_w_total"),
        ("é.b.c", "b_c_total"),
    ],
)
def test_a_name_is_made_of_what_prometheus_takes(bus: Bus, name: str, shown: str) -> None:
    with PrometheusReporter([counter(name, event_name="an.event")], bus=bus) as reporter:
        bus.execute("an.event", {})

        assert f"\n{shown} 1.0\n" in reporter.text()


def test_labels_of_a_function_that_become_alike_or_are_the_types_own_stay_apart(bus: Bus) -> None:
    tags = {"x-y": 1, "x_y": 2, "le": 3, "__name__": 4, "-": 5}
    with PrometheusReporter([distribution("a.b.size", tags=lambda metadata: metadata)], bus=bus) as reporter:
        bus.execute("a.b", {"size": 1}, tags)
        [family] = reporter.registry.collect()

    labels = family.samples[-1].labels
    assert sorted(labels.values()) == ["1", "2", "3", "4", "5"]
    assert "le" not in labels and "__name__" not in labels


def test_labels_that_are_another_types_own_are_none_of_a_counter(bus: Bus) -> None:
    with PrometheusReporter([counter("a.b.count", tags=["le", "quantile"])], bus=bus) as reporter:
        bus.execute("a.b", {}, {"le": 1, "quantile": 2})

        assert 'a_b_count_total{le_="1",quantile_="2"} 1.0' in reporter.text()  # else `promtool` has a lint error


def test_a_slow_bucket_leads_to_the_trace_of_a_call_that_fell_into_it(bus: Bus) -> None:
    metric = distribution("my.work.stop.duration", unit=("nanosecond", "millisecond"), buckets=[10_000])
    with PrometheusReporter([metric, counter("my.work.stop.count")], bus=bus) as reporter:
        ids = []
        bus.attach("ids", "my.work.start", lambda *call: None)
        with span("my.work", bus=bus) as current:
            ids.append({"trace_id": current.trace_id, "span_id": current.span_id})
        families = {
            family.name: family for family in text_string_to_metric_families(reporter.text(openmetrics_format=True))
        }

    first = families["my_work_stop_duration"].samples[0]
    assert first.exemplar is not None and first.exemplar.labels == ids[0]
    assert 0 <= first.exemplar.value < 10_000
    [total] = families["my_work_stop_count"].samples
    assert total.exemplar is not None and total.exemplar.labels == ids[0]


def test_events_outside_a_span_leave_no_exemplar(bus: Bus) -> None:
    with PrometheusReporter([counter("a.b.count")], bus=bus) as reporter:
        bus.execute("a.b", {})

        assert "trace_id" not in reporter.text(openmetrics_format=True)


def test_metrics_stand_in_the_programs_own_registry_until_they_are_closed(bus: Bus) -> None:
    registry = prometheus_client.CollectorRegistry()
    own = prometheus_client.Counter("own", "The program's.", registry=registry)
    own.inc()
    with PrometheusReporter([counter("a.b.count")], bus=bus, registry=registry):
        bus.execute("a.b", {})
        text = prometheus_client.generate_latest(registry).decode()

    assert "own_total 1.0" in text and "a_b_count_total 1.0" in text
    assert "a_b_count" not in prometheus_client.generate_latest(registry).decode()


def test_promtool_finds_nothing_wrong_with_the_default_metrics_under_hostile_tags(bus: Bus) -> None:
    with PrometheusReporter(default(), bus=bus) as reporter:
        fill(bus)
        text = reporter.text()

    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert text.count("# TYPE") == len(default())


@pytest.fixture
def prometheus(tmp_path: Path, bus: Bus) -> Iterator[tuple[PrometheusReporter, str]]:
    """A real Prometheus that scrapes a reporter of the default metrics each 0.2 s: the reporter, and its address."""
    with PrometheusReporter(default(), bus=bus) as reporter, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        server, thread = reporter.start_http_server(0)
        targets = [{"targets": [f"127.0.0.1:{server.server_port}"]}]
        job = {"job_name": "ours", "scrape_interval": "200ms", "scrape_timeout": "200ms", "static_configs": targets}
        settings = tmp_path / "prometheus.yml"
        settings.write_text(json.dumps({"scrape_configs": [job]}))
        listen = f"--web.listen-address=127.0.0.1:{port}"
        command = [tool("prometheus"), f"--config.file={settings}", f"--storage.tsdb.path={tmp_path / 'data'}", listen]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield reporter, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)
            server.shutdown()
            server.server_close()
            thread.join(10)


def ask(address: str, query: str) -> list[Any]:
    """What a query answers: metric and value by series; nothing while Prometheus does not answer yet."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?query={urllib.parse.quote(query)}", timeout=5) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
            return found
    except OSError:
        return []


def test_a_real_prometheus_scrapes_us_and_has_our_counts_and_our_hostile_labels(
    bus: Bus, prometheus: tuple[PrometheusReporter, str]
) -> None:
    _, address = prometheus
    for _ in range(3):
        fill(bus)

    [series] = wait_until(lambda: ask(address, "tinker_retry_count_total"), within_s=30)

    assert series["value"][1] == "3"
    assert series["metric"]["error_type"] == HOSTILE.encode("utf-8", "replace").decode()
    assert ask(address, "up{job='ours'}")[0]["value"][1] == "1"
