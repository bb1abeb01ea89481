"""Sums for systems whose counters only go up: one that goes down is, to them, a program that was started again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import measurement_reader, usable_number


def never_negative(metric: Metric) -> Metric:
    """The same sum, of what is not negative; the rest is skipped and counted (facts/beam.md P13 BEAT)."""
    read = measurement_reader(metric)
    if read is None or metric.kind != "sum":
        return metric

    def not_negative(measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> Any:
        value = read(measurements, metadata)
        if type(value) is not int and type(value) is not float:
            value = usable_number(value, metric)  # a Decimal and numpy's are numbers, too
        if value < 0:
            raise ValueError(f"{value!r} would make the counter {metric.name!r} go down; make it a gauge, to let it")
        return value

    return replace(metric, measurement=not_negative)
