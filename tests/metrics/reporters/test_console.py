"""What is the console's own: figures that can be read, a live table, hostile text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import ConsoleReporter, counter, distribution, summary


@pytest.fixture
def bus() -> Bus:
    return Bus()


def test_distributions_and_summaries_show_count_and_the_figures_that_people_ask_for(bus: Bus) -> None:
    unit = ("nanosecond", "millisecond")
    file = io.StringIO()
    metrics = [distribution("a.b.took", measurement="t", unit=unit), summary("a.b.spread", measurement="t", unit=unit)]
    with ConsoleReporter(metrics, bus=bus, console=Console(file=file, width=150)):
        for milliseconds in (10, 20, 1_234_560):
            bus.execute("a.b", {"t": milliseconds * 1_000_000})

    assert "3 · mean 411 530 ms · max 1 234 560 ms" in file.getvalue()
    assert "3 · p50 20" in file.getvalue()


def test_a_terminal_is_drawn_anew_while_events_come(bus: Bus) -> None:
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, legacy_windows=False)
    with ConsoleReporter([counter("a.b.count")], bus=bus, console=console, period_s=0.01):
        bus.execute("a.b", {})
        wait_until(lambda: "1" in file.getvalue().split("a.b.count (counter)")[-1], within_s=10)
        bus.execute("a.b", {})

    assert file.getvalue().rstrip().split("a.b.count (counter)")[-1].split()[0].startswith("2")


def test_hostile_tags_stay_on_their_line_and_send_no_control_character(bus: Bus) -> None:
    file = io.StringIO()
    with ConsoleReporter([counter("a.b.count", tags=["x"])], bus=bus, console=Console(file=file, width=200)):
        bus.execute("a.b", {}, {"x": "[bold]a\x1b]0;title\x07\nb"})

    assert r"x='[bold]a\x1b]0;title\x07\nb'" in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_more_series_than_a_screen_has_lines_are_counted_instead(bus: Bus) -> None:
    file = io.StringIO()
    with ConsoleReporter([counter("a.b.count", tags=["x"])], bus=bus, console=Console(file=file, width=100)):
        for number in range(50):
            bus.execute("a.b", {}, {"x": number})

    assert "and 30 more" in file.getvalue()
    assert file.getvalue().count("x=") == 20


def test_closing_prints_the_table_once(bus: Bus) -> None:
    file = io.StringIO()
    reporter = ConsoleReporter([counter("a.b.count")], bus=bus, console=Console(file=file, width=100))
    reporter.close()
    reporter.close()

    assert file.getvalue().count("a.b.count") == 1


def test_a_period_that_is_none_is_refused(bus: Bus) -> None:
    with pytest.raises(MetricError, match="period_s"):
        ConsoleReporter([], bus=bus, period_s=0)
