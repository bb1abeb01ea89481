"""docs/facts/beam.md 1.8: the Prometheus reporter. What its numbers are made of is in test_metrics_aggregation.py."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import prometheus_client
import pytest

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import Metric, PrometheusReporter, counter, distribution, last_value, sum_, summary


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def report(bus: Bus, stack: ExitStack) -> Any:
    """Makes a reporter on the bus, closed after the test."""
    return lambda *metrics, **options: stack.enter_context(PrometheusReporter(metrics, bus=bus, **options))


def types_of(reporter: PrometheusReporter) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", reporter.text(), re.MULTILINE))


@pytest.mark.conformance("P1", differs="a reporter is an object; it needs no name among its like")
def test_P1_a_reporter_is_an_object_of_its_maker(report: Any) -> None:
    assert report().registry is not report().registry


@pytest.mark.conformance("P2", differs="its registry takes the place of named tables")
def test_P2_its_registry_is_there_once_it_is_made(report: Any) -> None:
    assert isinstance(report().registry, prometheus_client.CollectorRegistry)


@pytest.mark.conformance("P3", beat="listening begins when it is made: no event between start and registration is lost")
def test_P3_an_event_right_after_it_was_made_is_counted(bus: Bus, report: Any) -> None:
    reporter = report(counter("a.b.count"))
    bus.execute("a.b", {})

    assert "a_b_count_total 1.0" in reporter.text()


@pytest.mark.conformance("P4", differs="a missing argument is Python's own TypeError")
def test_P4_metrics_are_required() -> None:
    with pytest.raises(TypeError, match="metrics"):
        PrometheusReporter()  # type: ignore[call-arg]


@pytest.mark.conformance("P5", beat="a summary is supported, with quantiles")
def test_P5_all_five_kinds_are_supported(bus: Bus, report: Any) -> None:
    kinds: list[Any] = [counter, sum_, last_value, summary, distribution]
    reporter = report(*(kind(f"a.b.x{number}", measurement="x") for number, kind in enumerate(kinds)))
    bus.execute("a.b", {"x": 1})

    assert list(types_of(reporter).values()) == ["counter", "counter", "gauge", "summary", "histogram"]


@pytest.mark.conformance("P6", beat="what is defined twice is refused at once, instead of dropped with a line in a log")
@pytest.mark.conformance("P7", beat="two kinds under one name are refused, instead of keeping the first")
@pytest.mark.conformance("P50", beat="two names that become alike are refused, for Prometheus would refuse the page")
@pytest.mark.parametrize("second", [counter("a.b.x"), sum_("a.b.x"), counter("a.b-x", event_name="a")])
def test_P6_P7_P50_two_metrics_of_one_name_are_refused(bus: Bus, second: Metric) -> None:
    first = counter("a.b.x") if second.name == "a.b.x" else counter("a.b_x", event_name="a")
    with pytest.raises(MetricError, match="both"):
        PrometheusReporter([first, second], bus=bus)

    assert bus.list_handlers() == []


@pytest.mark.conformance("P8")
def test_P8_closing_detaches_and_leaves_the_registry(bus: Bus) -> None:
    registry = prometheus_client.CollectorRegistry()
    reporter = PrometheusReporter([counter("a.b.count")], bus=bus, registry=registry)
    bus.execute("a.b", {})
    reporter.close()

    assert (bus.list_handlers(), list(registry.collect())) == ([], [])


@pytest.mark.conformance("P9", beat="one handler an event, and each metric is guarded by itself")
def test_P9_one_metrics_failure_does_not_touch_another(bus: Bus, report: Any) -> None:
    reporter = report(counter("a.b.one", tags=["absent"]), counter("a.b.two"))
    assert len(bus.list_handlers("a.b")) <= 2
    bus.execute("a.b", {})

    assert types_of(reporter) == {"a_b_two_total": "counter"}


@pytest.mark.conformance("P10", differs="the registry describes them")
def test_P10_the_registry_knows_what_is_registered(report: Any) -> None:
    reporter = report(counter("a.b.count"), last_value("a.b.x"))

    assert [family.name for family in reporter.describe()] == ["a_b_count", "a_b_x"]


@pytest.mark.conformance("P11", beat="a summary too")
def test_P11_a_sum_is_a_counter_or_on_demand_a_gauge(bus: Bus, report: Any) -> None:
    reporter = report(sum_("a.b.x"), sum_("a.b.y", reporter_options={"prometheus_type": "gauge"}))
    bus.execute("a.b", {"x": 1, "y": 1})

    assert types_of(reporter) == {"a_b_x_total": "counter", "a_b_y": "gauge"}


@pytest.mark.conformance("P12", beat="checked where the definition is written")
def test_P12_another_type_is_refused(report: Any) -> None:
    with pytest.raises(MetricError, match="'counter' or 'gauge'"):
        sum_("a.b.x", reporter_options={"prometheus_type": "histogram"})
    [shown] = report(sum_("a.b.x", reporter_options={"prometheus_type": None})).describe()
    assert shown.type == "counter"


@pytest.mark.conformance("P13", beat="a sum that is a counter takes no negative value: it is skipped and counted")
def test_P13_a_counter_never_goes_down(bus: Bus, report: Any) -> None:
    reporter = report(sum_("a.b.x"))
    for value in (5, -4):
        bus.execute("a.b", {"x": value})

    assert "a_b_x_total 5.0" in reporter.text()
    assert reporter.skipped() == {("a.b.x", "error"): 1}


@pytest.mark.conformance("P23", differs="a bound is written as Go writes floats, as every Prometheus client does")
def test_P23_a_bound_is_written_as_a_float(bus: Bus, report: Any) -> None:
    reporter = report(distribution("a.b.x", buckets=[0.005, 1, 10.0]))
    bus.execute("a.b", {"x": 1})

    assert re.findall(r'le="([^"]+)"', reporter.text()) == ["0.005", "1.0", "10.0", "+Inf"]


@pytest.mark.conformance("P42", differs="numbers have a decimal point")
@pytest.mark.conformance("P45", differs="labels stand in the order of their names, `le` among them")
@pytest.mark.conformance("P46", differs="numbers have a decimal point")
def test_P42_P45_P46_the_text_of_scalars_and_histograms(bus: Bus, report: Any) -> None:
    reporter = report(
        counter("http.request.total", tags=["method", "code"], description="The total number of HTTP requests."),
        distribution("http.request.seconds", tags=["method"], buckets=[0.05], description="A histogram."),
    )
    bus.execute("http.request", {"seconds": 0.01}, {"method": "post", "code": 200})

    assert reporter.text() == (
        "# HELP http_request_total The total number of HTTP requests.\n"
        "# TYPE http_request_total counter\n"
        'http_request_total{code="200",method="post"} 1.0\n'
        "# HELP http_request_seconds A histogram.\n"
        "# TYPE http_request_seconds histogram\n"
        'http_request_seconds_bucket{le="0.05",method="post"} 1.0\n'
        'http_request_seconds_bucket{le="+Inf",method="post"} 1.0\n'
        'http_request_seconds_sum{method="post"} 0.01\n'
        'http_request_seconds_count{method="post"} 1.0\n'
    )


@pytest.mark.conformance("P43")
@pytest.mark.conformance("P44", beat="without a description the help says what is measured: promtool wants one")
@pytest.mark.conformance("P47")
def test_P43_P44_P47_without_tags_no_braces_and_help_and_a_newline_at_the_end(bus: Bus, report: Any) -> None:
    reporter = report(counter("http.request.total"))
    bus.execute("http.request", {})

    assert reporter.text() == (
        "# HELP http_request_total How often http.request happened.\n"
        "# TYPE http_request_total counter\n"
        "http_request_total 1.0\n"
    )


@pytest.mark.conformance("P48")
def test_P48_without_data_the_page_is_empty(report: Any) -> None:
    assert report(counter("a.b.count"), distribution("a.b.x")).text() == ""


@pytest.mark.conformance("P49", differs="what is no letter or digit becomes `_` instead of vanishing: names stay apart")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("foo123.bar.total", "foo123_bar_total"),
        ("my-app.x:y._z", "my_app_x_y__z_total"),
        ("__u.v.w", "u_v_w_total"),
    ],
)
def test_P49_names_are_made_fit(bus: Bus, report: Any, name: str, shown: str) -> None:
    reporter = report(counter(name, event_name="e"))
    bus.execute("e", {})

    assert list(types_of(reporter)) == [shown]


@pytest.mark.conformance("P51", beat="names of labels are made fit, and two that become alike are refused")
def test_P51_names_of_labels_are_made_fit(bus: Bus, report: Any) -> None:
    reporter = report(counter("a.b.count", tags=["a-b"]))
    bus.execute("a.b", {}, {"a-b": 1})

    assert 'a_b_count_total{a_b="1"} 1.0' in reporter.text()


@pytest.mark.conformance("P52", beat='1 and "1" are one series')
def test_P52_values_of_labels_are_text_and_equal_texts_one_series(bus: Bus, report: Any) -> None:
    reporter = report(counter("a.b.count", tags=["x"]))
    for value in (None, True, 1, "1", 1.0):
        bus.execute("a.b", {}, {"x": value})

    assert re.findall(r'x="(.*)"} (\S+)', reporter.text()) == [("", "1.0"), ("true", "1.0"), ("1", "3.0")]


@pytest.mark.conformance("P53")
@pytest.mark.conformance("P54", beat="quotes, backslashes and line feeds are escaped, in values and in help")
def test_P53_P54_everything_is_escaped(bus: Bus, report: Any) -> None:
    reporter = report(counter("a.b.count", tags=["x"], description="one\ntwo\\three"))
    bus.execute("a.b", {}, {"x": 'a"b\\c\nd'})
    help_line, _, line = reporter.text().splitlines()

    assert help_line == "# HELP a_b_count_total one\\ntwo\\\\three"
    assert line == 'a_b_count_total{x="a\\"b\\\\c\\nd"} 1.0'


@pytest.mark.conformance("P55", beat="every value has a text: its `str`, cut at 256 characters")
@pytest.mark.conformance("P56", beat="no value can spoil a later scrape")
def test_P55_P56_any_value_may_be_a_tag(bus: Bus, report: Any) -> None:
    reporter = report(counter("a.b.count", tags=["x"]))
    for value in ({"a": 1}, [1], object(), b"\xff"):
        bus.execute("a.b", {}, {"x": value})

    assert reporter.text().count("a_b_count_total{") == 4


@pytest.mark.conformance("P57", beat="in the order of the definitions")
def test_P57_metrics_stand_in_the_order_of_their_definitions(bus: Bus, report: Any) -> None:
    reporter = report(*(counter(f"a.b.x{number}") for number in (3, 1, 2)))
    bus.execute("a.b", {})

    assert list(types_of(reporter)) == ["a_b_x3_total", "a_b_x1_total", "a_b_x2_total"]


@pytest.mark.conformance("P58", differs="as Go writes floats")
@pytest.mark.parametrize(
    ("value", "shown"), [(0.1, "0.1"), (1e-7, "1e-07"), (1e21, "1e+21"), (-3, "-3.0"), (3e15, "3e+15")]
)
def test_P58_numbers_are_read_back_as_they_were(bus: Bus, report: Any, value: float, shown: str) -> None:
    reporter = report(last_value("a.b.x"))
    bus.execute("a.b", {"x": value})

    assert reporter.text().splitlines()[-1] == f"a_b_x {shown}"


@pytest.mark.conformance("P59", beat="OpenMetrics with exemplars, an ASGI app, a server, a push gateway")
def test_P59_openmetrics_is_there_too(bus: Bus, report: Any) -> None:
    reporter = report(counter("a.b.count"))
    bus.execute("a.b", {})

    assert reporter.text(openmetrics_format=True).endswith("a_b_count_total 1.0\n# EOF\n")


@pytest.mark.conformance("P60", differs="`text()`")
@pytest.mark.conformance("P61")
def test_P60_P61_several_reporters_are_scraped_each_by_itself(bus: Bus, report: Any) -> None:
    first, second = report(counter("a.b.count")), report(counter("a.b.count"), counter("c.d.count"))
    threads = [threading.Thread(target=bus.execute, args=(name, {})) for name in ("a.b", "c.d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(types_of(first)) == ["a_b_count_total"]
    assert list(types_of(second)) == ["a_b_count_total", "c_d_count_total"]
