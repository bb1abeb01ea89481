"""What an aggregate hands to reporters: families of series, each with tags and a value in the unit reported."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import msgspec

from tinkertape.metrics.definitions import Metric, summary
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.sketch import RELATIVE_ERROR, ascending
from tinkertape.metrics.states import (
    BucketState,
    CountState,
    LastState,
    SketchState,
    State,
    SumState,
    empty,
    merged,
    observed,
)
from tinkertape.metrics.units import IDENTITY, Conversion

OVERFLOW: Tags = (("otel.metric.overflow", "true"),)
"""The tags of the series that counts what a metric at its limit of series could not tell apart."""


class Histogram(msgspec.Struct, frozen=True):
    """A distribution. `counts` are not cumulative: one for each bound (values up to it), one for all above the last."""

    bounds: tuple[int | float, ...]
    counts: tuple[int, ...]
    sum: int | float
    count: int
    min: int | float
    max: int | float


class Quantiles(msgspec.Struct, frozen=True):
    """A summary. `quantile` is within `relative_error` of the true value, for magnitudes that `sketch.py` states."""

    relative_error: ClassVar[float] = RELATIVE_ERROR

    count: int
    sum: int | float
    min: int | float
    max: int | float
    sketch: SketchState
    conversion: Conversion = IDENTITY

    @classmethod
    def of(cls, values: Iterable[int | float]) -> Quantiles:
        """The quantiles of these values."""
        metric = summary("quantiles.of")
        state: State = empty(metric)
        for value in values:
            state = merged(state, observed(metric, value, 0))
        found = value_of(metric, state)
        assert isinstance(found, cls)
        return found

    def quantile(self, q: float) -> float:
        """The value that a share of `q` lies at or below: of n in order, the one with the index ⌊q · (n - 1)⌋.

        NaN where there is none. Raises `ValueError` for a `q` outside 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is from 0 to 1, got {q!r}")
        if not self.count:
            return math.nan
        rank = math.floor(q * (self.count - 1))
        if rank in (0, self.count - 1):
            return float(self.max if rank else self.min)
        middle = self._middle_at(rank)
        return float(min(max(self.conversion.apply(middle), self.min), self.max))

    def _middle_at(self, rank: int) -> float:
        below = 0
        for middle, count in ascending(self.sketch.negative, self.sketch.zeros, self.sketch.positive):
            below += count
            if rank < below:
                return middle
        return math.nan


Value = int | float | Histogram | Quantiles


class Series(msgspec.Struct, frozen=True):
    """One combination of tags and its value since `began_ns`, wall time; a series that expired begins anew."""

    tags: Tags
    value: Value
    began_ns: int = 0


class Family(msgspec.Struct, frozen=True):
    """A metric and its series, in the order in which they came up."""

    metric: Metric
    series: list[Series]


class Kept(msgspec.Struct, frozen=True):
    """One series as it is kept: mergeable, in the unit measured."""

    tags: Tags
    state: State
    began_ns: int = 0


def family_of(metric: Metric, kept: Iterable[Kept]) -> Family:
    """What is reported of a metric's states."""
    return Family(metric, [Series(each.tags, value_of(metric, each.state), each.began_ns) for each in kept])


def value_of(metric: Metric, state: State) -> Value:
    """What is reported of a state."""
    convert = metric.conversion
    match state:
        case CountState(count=count):
            return count
        case SumState(total=total):
            return total.value(convert)
        case LastState(value=value):
            return convert.apply(value)
        case BucketState(counts=counts, total=total, least=least, greatest=greatest):
            ends = convert.apply(least), convert.apply(greatest)
            return Histogram(metric.buckets or (), counts, total.value(convert), state.count, *ends)
        case SketchState(total=total, least=least, greatest=greatest):
            ends = convert.apply(least), convert.apply(greatest)
            return Quantiles(state.count, total.value(convert), *ends, state, convert)
