"""What a definition means to StatsD: its type, how much of it is sampled, the tags that are the same everywhere.

reporter_options  "sampling_rate"  of summaries and distributions, whose values are sent one by one; a counter and a
                                   sum that is one are added up first, so they arrive exact, at the cost of none
                  "report_as"      "counter": a sum of the standard dialect is a counter, and never goes down
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec.structs import replace

from tinkertape.errors import MetricError
from tinkertape.metrics.definitions import Kind, Metric
from tinkertape.metrics.non_negative import never_negative

Formatter = Literal["standard", "datadog"]
Type = Literal["c", "g", "ms", "h", "d"]
SINGLE = ("summary", "distribution")  # kinds whose values are sent one by one: the daemon has the quantiles

_TYPES: Mapping[Formatter, Mapping[Kind, Type]] = {
    "standard": {"counter": "c", "sum": "g", "last_value": "g", "summary": "ms", "distribution": "ms"},
    "datadog": {"counter": "c", "sum": "c", "last_value": "g", "summary": "h", "distribution": "d"},
}


def type_of(metric: Metric, formatter: Formatter) -> Type:
    """The letters of its type."""
    if metric.kind == "sum" and metric.reporter_options.get("report_as"):
        return "c"
    return _TYPES[formatter][metric.kind]


def sampling_rate_of(metric: Metric, formatter: Formatter) -> float:
    """The share of its values that is sent, above 0 and up to 1; of a counter always 1.

    Raises `MetricError` for a gauge: a part of a gauge means nothing (facts/beam.md S26).
    """
    given = metric.reporter_options.get("sampling_rate", 1)
    if given < 1 and type_of(metric, formatter) == "g":
        raise MetricError(f"{metric.name!r} is a gauge, which cannot be sampled; leave out its sampling_rate")
    return float(given) if metric.kind in SINGLE else 1.0


def prepared(metric: Metric, formatter: Formatter, global_tags: Mapping[str, Any]) -> Metric:
    """The definition that is listened with: a counter of the standard dialect never goes down, tags have defaults."""
    if formatter == "standard" and type_of(metric, formatter) == "c":
        metric = never_negative(metric)
    return _with_defaults(metric, global_tags)


def _with_defaults(metric: Metric, global_tags: Mapping[str, Any]) -> Metric:
    """Global tags stand where neither the event nor `tag_values` says otherwise (facts/beam.md S16-S18)."""
    if callable(metric.tags) or not any(tag in global_tags for tag in metric.tags):
        return metric
    tag_values = metric.tag_values
    if tag_values is None:
        return replace(metric, tag_values=lambda metadata: {**global_tags, **metadata})
    return replace(metric, tag_values=lambda metadata: {**global_tags, **tag_values(metadata)})
