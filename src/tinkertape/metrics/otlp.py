"""How metrics look to OpenTelemetry, and an aggregate's series as its own data, cumulative from each one's begin.

Pure, but for the clock.

Source: OpenTelemetry metrics data model; the classes are those of `opentelemetry.sdk.metrics.export`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.export import Metric as MetricData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tinkertape.errors import MetricError
from tinkertape.metrics.definitions import Metric, distribution
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.non_negative import never_negative
from tinkertape.metrics.values import Family, Histogram
from tinkertape.version import VERSION

SCOPE = "tinkertape"
UNITS = {"nanosecond": "ns", "microsecond": "us", "millisecond": "ms", "second": "s", "byte": "By", "unit": "1"}
UNITS |= {"kilobyte": "kBy", "megabyte": "MBy"}  # UCUM, as the semantic conventions have them
INTEGERS = 2**63  # OpenTelemetry's are from -INTEGERS to below it
CUMULATIVE = AggregationTemporality.CUMULATIVE
_UNFIT = re.compile(r"[^A-Za-z0-9_./-]")


def shown_as(metric: Metric) -> Metric:
    """The metric that it is told of: a summary becomes a distribution, a monotonic sum takes no negative value."""
    if metric.kind == "sum":
        return never_negative(metric) if is_monotonic(metric) else metric
    if metric.kind != "summary":
        return metric
    usual = distribution(metric.name, event_name=metric.event_name, unit=metric.unit)
    fields = {name: getattr(metric, name) for name in metric.__struct_fields__}
    return type(usual)(**{**fields, "buckets": usual.buckets})


def is_monotonic(metric: Metric) -> bool:
    """Does it only go up?"""
    return metric.kind == "counter" or bool(metric.reporter_options.get("monotonic", True))


def names_of(metrics: Sequence[Metric]) -> dict[str, str]:
    """The instruments' names by the metrics'. Raises `MetricError` for none, and for two that become alike."""
    names: dict[str, str] = {}
    for metric in metrics:
        name = _UNFIT.sub("_", metric.name).lstrip("_./-0123456789")[:255]
        if not name:
            raise MetricError(f"metric {metric.name!r} has no letter that an OpenTelemetry name can begin with")
        other = next((each for each, taken in names.items() if taken.lower() == name.lower()), None)
        if other is not None:
            raise MetricError(f"{metric.name!r} and {other!r} are both {name!r} to OpenTelemetry; rename one")
        names[metric.name] = name
    return names


def unit_of(metric: Metric) -> str:
    """Its unit in UCUM's letters."""
    return "1" if metric.kind == "counter" else UNITS.get(metric.unit, metric.unit)[:63]


def attributes_of(tags: Tags) -> dict[str, str]:
    """Tags as attributes."""
    return dict(tags)


def number_of(value: int | float) -> int | float:
    """An integer of 64 bits, or a float: no protocol buffer takes a greater one, and refuses all that comes with it."""
    return value if isinstance(value, float) or -INTEGERS <= value < INTEGERS else float(value)


def metrics_data(
    families: Sequence[Family],
    names: Mapping[str, str],
    resource: Resource,
) -> MetricsData:
    """What one export says."""
    now_ns = time.time_ns()
    found = [
        MetricData(
            names[family.metric.name],
            family.metric.description,
            unit_of(family.metric),
            _points(family, now_ns),
        )
        for family in families
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, VERSION), found, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _points(family: Family, now_ns: int) -> Sum | Gauge | HistogramData:
    if family.metric.kind == "distribution":
        return HistogramData(
            [
                _bucketed(series.value, attributes_of(series.tags), series.began_ns, now_ns)
                for series in family.series
                if isinstance(series.value, Histogram)
            ],
            CUMULATIVE,
        )
    values: list[Any] = [series.value for series in family.series]
    points = [
        NumberDataPoint(attributes_of(series.tags), series.began_ns, now_ns, number_of(value))
        for series, value in zip(family.series, values, strict=True)
    ]
    return Gauge(points) if family.metric.kind == "last_value" else Sum(points, CUMULATIVE, is_monotonic(family.metric))


def _bucketed(value: Histogram, attributes: dict[str, str], began_ns: int, now_ns: int) -> HistogramDataPoint:
    bounds = [float(bound) for bound in value.bounds]
    count = sum(value.counts)
    return HistogramDataPoint(
        attributes, began_ns, now_ns, count, value.sum, value.counts, bounds, float(value.min), float(value.max)
    )
