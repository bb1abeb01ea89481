"""`tinkertape.metrics.start`: everything begins with one call and ends with another."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console
from tests.waiting import wait_until

import tinkertape
from tinkertape.errors import MetricError, PollerError
from tinkertape.metrics import ConsoleReporter, PrometheusReporter, counter, start


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("tinkertape-poller")}


def test_the_default_metrics_of_the_process_arrive_in_every_reporter() -> None:
    console = Console(file=io.StringIO(), width=150)
    with start(
        reporters=[PrometheusReporter, lambda metrics: ConsoleReporter(metrics, console=console)], period_s=0.05
    ) as reporting:
        first = reporting.reporters[0]
        assert isinstance(first, PrometheusReporter)
        for family in ("process_run_queue", "process_memory_"):  # each is measured in its own time
            wait_until(lambda family=family: family in first.text(), within_s=10)

    assert "process.run_queue" in console.file.getvalue()  # type: ignore[attr-defined]


def test_closing_ends_all_of_it_and_closing_twice_is_closing_once() -> None:
    before = tinkertape.list_handlers()
    reporting = start([counter("a.b.count")], [PrometheusReporter], 0.05)
    assert threads()
    reporting.close()
    reporting.close()

    assert tinkertape.list_handlers() == before
    wait_until(lambda: not threads())


def test_a_reporter_that_is_made_already_is_refused_before_any_other_is_made() -> None:
    with PrometheusReporter([counter("a.b.count")]) as made:
        before = tinkertape.list_handlers()
        with pytest.raises(MetricError, match="give its class or a function"):
            start(reporters=[PrometheusReporter, made])  # type: ignore[list-item]

        assert tinkertape.list_handlers() == before and not threads()


@pytest.mark.parametrize(
    ("twice", "period_s", "error"), [(True, 10.0, MetricError), (False, 0.0, PollerError)], ids=["reporter", "period"]
)
def test_what_fails_leaves_nothing_behind(twice: bool, period_s: float, error: type[Exception]) -> None:
    before = tinkertape.list_handlers()
    metrics = [counter("a.b.count")] * (2 if twice else 1)
    makers = [lambda given: ConsoleReporter(given, console=Console(file=io.StringIO())), PrometheusReporter]

    with pytest.raises(error):
        start(metrics, makers, period_s)

    assert tinkertape.list_handlers() == before and not threads()
