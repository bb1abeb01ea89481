"""docs/facts/beam.md 1.7: the console reporter."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable

import pytest
from rich.console import Console

from tinkertape.bus import Bus
from tinkertape.metrics import ConsoleReporter, Metric, counter, last_value, sum_, summary


@pytest.fixture
def bus() -> Bus:
    return Bus()


Print = Callable[..., str]


@pytest.fixture
def printed(bus: Bus) -> Print:
    """What is printed of metrics after some events, given as (measurements, metadata) of `vm.memory`."""

    def printed(*metrics: Metric, events: tuple[tuple[dict[str, object], dict[str, object]], ...]) -> str:
        file = io.StringIO()
        with ConsoleReporter(metrics, bus=bus, console=Console(file=file, width=150)):
            for measurements, metadata in events:
                bus.execute("vm.memory", measurements, metadata)
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines())

    return printed


def rows(text: str) -> list[list[str]]:
    """The cells of the table's rows."""
    lines = text.strip().splitlines()[2:]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


@pytest.mark.conformance("C1", differs="a missing argument is Python's own TypeError")
def test_C1_metrics_are_required() -> None:
    with pytest.raises(TypeError, match="metrics"):
        ConsoleReporter()  # type: ignore[call-arg]


@pytest.mark.conformance("C2", differs="a reporter is an object that its maker holds; it needs no name")
def test_C2_several_reporters_stand_side_by_side(bus: Bus) -> None:
    with (
        ConsoleReporter([counter("a.b.count")], bus=bus, console=Console(file=io.StringIO())),
        ConsoleReporter([counter("a.b.count")], bus=bus, console=Console(file=io.StringIO())),
    ):
        assert len(bus.list_handlers("a.b")) == 2


@pytest.mark.conformance("C3", differs="`console` is rich's, by default on stderr, off the program's output")
def test_C3_one_handler_an_event_is_attached_and_taken_off_at_the_end(
    bus: Bus, capsys: pytest.CaptureFixture[str]
) -> None:
    with ConsoleReporter([counter("a.b.count"), sum_("a.b.size"), counter("c.d.count")], bus=bus):
        assert sorted(handler.event_name for handler in bus.list_handlers()) == ["a.b", "c.d"]

    assert bus.list_handlers() == []
    captured = capsys.readouterr()
    assert captured.out == "" and "a.b.count" in captured.err


@pytest.mark.conformance(
    "C4", beat="a table of what the metrics are now, not a paragraph an event; events are for `log_events`"
)
def test_C4_the_table_has_each_metric_its_kind_and_its_value_with_the_unit(printed: Print) -> None:
    metrics = last_value("vm.memory.binary", unit="byte"), counter("vm.memory.total")

    text = printed(*metrics, events=(({"binary": 100, "total": 200}, {}),))

    assert rows(text) == [["vm.memory.binary (last value)", "100 B"], ["vm.memory.total (counter)", "1"]]


@pytest.mark.conformance("C5")
def test_C5_no_unit_prints_none(printed: Print) -> None:
    assert rows(printed(last_value("vm.memory.x"), events=(({"x": 7}, {}),))) == [["vm.memory.x (last value)", "7"]]


@pytest.mark.conformance("C6", differs="a counter's value is how many events there were")
def test_C6_a_counter_shows_its_count_whatever_was_measured(printed: Print) -> None:
    text = printed(counter("vm.memory.x", unit="byte"), events=(({"x": 700}, {}), ({}, {})))

    assert rows(text)[0][1].startswith("2")


@pytest.mark.conformance("C7", differs="counted as skipped, in the metric's row")
def test_C7_a_missing_measurement_is_told_as_skipped(printed: Print) -> None:
    assert rows(printed(sum_("vm.memory.x"), events=(({}, {}),))) == [
        ["vm.memory.x (sum)", "–", "1 missing measurement"]
    ]


@pytest.mark.conformance("C8", differs="what is no number is counted as skipped, in the same row")
def test_C8_what_is_no_number_is_told_as_skipped(printed: Print) -> None:
    text = printed(sum_("vm.memory.x"), events=(({"x": "hundred"}, {}), ({"x": 3}, {})))

    assert rows(text) == [["vm.memory.x (sum)", "3", "1 not a number"]]


@pytest.mark.conformance("C9", differs="an event that a rule drops leaves no trace: it was not asked for")
def test_C9_keep_and_drop_of_one_and_of_two_arguments_are_honoured(printed: Print) -> None:
    metrics = (
        counter("vm.memory.one", keep=lambda metadata: metadata["keep"]),
        counter("vm.memory.two", drop=lambda metadata, measured: measured["x"] > 1),
    )
    text = printed(*metrics, events=(({"x": 1}, {"keep": False}), ({"x": 2}, {"keep": True})))

    assert rows(text) == [["vm.memory.one (counter)", "1"], ["vm.memory.two (counter)", "1"]]


@pytest.mark.conformance("C10")
def test_C10_tags_come_from_tag_values_and_the_list_or_from_a_function(printed: Print) -> None:
    metrics = (
        counter("vm.memory.one", tags=["kind"], tag_values=lambda metadata: {"kind": metadata["x"], "other": 1}),
        counter("vm.memory.two", tags=lambda metadata: {"whole": metadata["x"]}),
    )
    text = printed(*metrics, events=(({}, {"x": "y z"}),))

    assert rows(text) == [
        ["vm.memory.one (counter)", "kind=y z", "1"],
        ["vm.memory.two (counter)", "whole=y z", "1"],
    ]


@pytest.mark.conformance("C11", differs="a metric is shown by its name; how it measures is in its definition")
def test_C11_a_function_as_measurement_is_used(printed: Print) -> None:
    text = printed(sum_("vm.memory.x", measurement=lambda measured: measured["a"] * 2), events=(({"a": 4}, {}),))

    assert rows(text) == [["vm.memory.x (sum)", "8"]]


@pytest.mark.conformance("C12", differs="logged once, and counted in the metric's row")
def test_C12_an_exception_in_one_metric_is_logged_and_told_and_the_others_go_on(
    printed: Print, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(measured: object) -> object:
        raise ZeroDivisionError("mine")

    with caplog.at_level(logging.WARNING, logger="tinkertape"):
        text = printed(summary("vm.memory.x", measurement=broken), counter("vm.memory.y"), events=(({}, {}), ({}, {})))

    assert rows(text) == [["vm.memory.x (summary)", "–", "2 error"], ["vm.memory.y (counter)", "2"]]
    assert [record.getMessage() for record in caplog.records if "vm.memory.x" in record.getMessage()] != []


@pytest.mark.conformance("C13")
def test_C13_a_converted_value_is_shown_with_the_unit_reported(printed: Print) -> None:
    metric = last_value("vm.memory.x", unit=("nanosecond", "millisecond"))

    assert rows(printed(metric, events=(({"x": 2_500_000}, {}),))) == [["vm.memory.x (last value)", "2.5 ms"]]
