"""Metrics: numbers over many events, for the system that watches them.

definitions.py  what to make of an event: pure data        units.py       times and bytes, correctly rounded
extraction.py   an event's tags and value, or why not      states.py      what is kept of a series, and its merge
aggregate.py    keeps the states, from the bus             sketch.py      quantiles with a stated error
values.py       what a reporter is given                 exemplars.py   the last trace of each bucket
reporters/      a file a system                          otlp.py        series as OpenTelemetry has them
notices.py      what is said once in the log             statsd/        lines, packets and sockets of StatsD
limits.py       how much and how long, refused where they mean nothing
reporter_options.py   what our own reporters take, likewise
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinkertape.metrics.aggregate import Aggregate as Aggregate
    from tinkertape.metrics.defaults import default as default
    from tinkertape.metrics.definitions import Metric as Metric
    from tinkertape.metrics.definitions import counter as counter
    from tinkertape.metrics.definitions import distribution as distribution
    from tinkertape.metrics.definitions import exponential_buckets as exponential_buckets
    from tinkertape.metrics.definitions import last_value as last_value
    from tinkertape.metrics.definitions import sum_ as sum_
    from tinkertape.metrics.definitions import summary as summary
    from tinkertape.metrics.reporters.console import ConsoleReporter as ConsoleReporter
    from tinkertape.metrics.reporters.opentelemetry import OpenTelemetryReporter as OpenTelemetryReporter
    from tinkertape.metrics.reporters.prometheus import PrometheusReporter as PrometheusReporter
    from tinkertape.metrics.reporters.statsd import StatsDReporter as StatsDReporter
    from tinkertape.metrics.values import Family as Family
    from tinkertape.metrics.values import Histogram as Histogram
    from tinkertape.metrics.values import Quantiles as Quantiles
    from tinkertape.metrics.values import Series as Series
    from tinkertape.reporting import start as start

_HOMES = {
    "Aggregate": "tinkertape.metrics.aggregate",
    "ConsoleReporter": "tinkertape.metrics.reporters.console",
    "Family": "tinkertape.metrics.values",
    "Histogram": "tinkertape.metrics.values",
    "Metric": "tinkertape.metrics.definitions",
    "OpenTelemetryReporter": "tinkertape.metrics.reporters.opentelemetry",
    "PrometheusReporter": "tinkertape.metrics.reporters.prometheus",
    "Quantiles": "tinkertape.metrics.values",
    "Series": "tinkertape.metrics.values",
    "StatsDReporter": "tinkertape.metrics.reporters.statsd",
    "counter": "tinkertape.metrics.definitions",
    "default": "tinkertape.metrics.defaults",
    "distribution": "tinkertape.metrics.definitions",
    "exponential_buckets": "tinkertape.metrics.definitions",
    "last_value": "tinkertape.metrics.definitions",
    "start": "tinkertape.reporting",
    "sum_": "tinkertape.metrics.definitions",
    "summary": "tinkertape.metrics.definitions",
}
_EXTRAS = {"ConsoleReporter": "cli", "OpenTelemetryReporter": "otel", "PrometheusReporter": "prometheus"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, and keep it: a reporter's own dependencies are extras."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        room = import_module(home)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tinkertape"):
            raise
        extra = _EXTRAS.get(name, "all")
        what = f"tinkertape.metrics.{name} needs {error.name}, which is not installed"
        raise ModuleNotFoundError(f'{what}: pip install "tinkertape[{extra}]"', name=error.name) from error
    found = getattr(room, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
