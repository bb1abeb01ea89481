"""What is kept of a series, and how two of them become one.

A state is a frozen value; `merged` is commutative and associative, with `empty` as its identity, exactly: sums are kept
as whole numbers, of units and of 2^-1074 (the least float), so that no order of adding rounds differently. States are
in the unit measured; the conversion to the unit reported comes once, at the end (`values.py`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from typing import Any

import msgspec

from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import MAGNITUDE_MAX
from tinkertape.metrics.sketch import Buckets, bucket_of
from tinkertape.metrics.units import IDENTITY, Conversion

ROUNDED = 4  # floats that a bound can be off after its conversion
_BITS = 1074  # every float is a whole multiple of 2^-1074


class ExactSum(msgspec.Struct, frozen=True):
    """A sum of integers and floats, without rounding: `whole` + `parts` · 2^-1074."""

    whole: int = 0
    parts: int = 0

    @classmethod
    def of(cls, whole: int, *floats: float) -> ExactSum:
        """An integer and finite floats, added up."""
        return cls(whole, sum(_parts(each) for each in floats))

    def merged(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.whole + other.whole, self.parts + other.parts)

    def value(self, conversion: Conversion = IDENTITY) -> int | float:
        """The sum in the unit reported, rounded once; an integer where only integers were added."""
        if not self.parts:
            return conversion.apply(self.whole)
        return ((self.whole << _BITS) + self.parts) * conversion.multiply / (conversion.divide << _BITS)


def _parts(value: float) -> int:
    if not value:
        return 0
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_BITS + 1 - denominator.bit_length())


class CountState(msgspec.Struct, frozen=True, tag=True):
    """Of a counter."""

    count: int = 0

    def merged(self, other: CountState) -> CountState:
        return CountState(self.count + other.count)


class SumState(msgspec.Struct, frozen=True, tag=True):
    """Of a sum."""

    total: ExactSum = ExactSum()
    count: int = 0

    def merged(self, other: SumState) -> SumState:
        return SumState(self.total.merged(other.total), self.count + other.count)


class LastState(msgspec.Struct, frozen=True, tag=True):
    """Of a last value: the newest by `time.monotonic_ns`; of two in one nanosecond, the greater."""

    time_ns: int = -1
    value: int | float = -math.inf

    @property
    def count(self) -> int:
        """Greater after each update, 0 before the first."""
        return self.time_ns + 1

    def merged(self, other: LastState) -> LastState:
        return max(self, other, key=lambda each: (each.time_ns, each.value))


class BucketState(msgspec.Struct, frozen=True, tag=True):
    """Of a distribution: a count for each bucket, and one for what is above the last bound."""

    counts: tuple[int, ...]
    total: ExactSum = ExactSum()
    least: int | float = math.inf
    greatest: int | float = -math.inf

    @property
    def count(self) -> int:
        return sum(self.counts)

    def merged(self, other: BucketState) -> BucketState:
        return BucketState(
            tuple(map(sum, zip(self.counts, other.counts, strict=True))),
            self.total.merged(other.total),
            min(self.least, other.least),
            max(self.greatest, other.greatest),
        )


class SketchState(msgspec.Struct, frozen=True, tag=True):
    """Of a summary: counts by bucket of `sketch.py`, of values below, at and above 0."""

    negative: Buckets = msgspec.field(default_factory=dict)
    zeros: int = 0
    positive: Buckets = msgspec.field(default_factory=dict)
    total: ExactSum = ExactSum()
    least: int | float = math.inf
    greatest: int | float = -math.inf

    @property
    def count(self) -> int:
        return sum(self.negative.values()) + self.zeros + sum(self.positive.values())

    def merged(self, other: SketchState) -> SketchState:
        return SketchState(
            dict(Counter(self.negative) + Counter(other.negative)),
            self.zeros + other.zeros,
            dict(Counter(self.positive) + Counter(other.positive)),
            self.total.merged(other.total),
            min(self.least, other.least),
            max(self.greatest, other.greatest),
        )


State = CountState | SumState | LastState | BucketState | SketchState


def merged(first: State, *others: State) -> State:
    """States of one metric, made one."""
    total: Any = first
    for other in others:
        total = total.merged(other)
    return total  # type: ignore[no-any-return]


def empty(metric: Metric) -> State:
    """The state of a series before its first value."""
    match metric.kind:
        case "counter":
            return CountState()
        case "sum":
            return SumState()
        case "last_value":
            return LastState()
        case "distribution":
            return BucketState((0,) * (len(metric.buckets or ()) + 1))
        case "summary":
            return SketchState()


def observed(metric: Metric, value: int | float, time_ns: int) -> State:
    """The state after exactly one value, in the unit measured."""
    total = ExactSum(value) if isinstance(value, int) else ExactSum.of(0, value)
    match metric.kind:
        case "counter":
            return CountState(1)
        case "sum":
            return SumState(total, 1)
        case "last_value":
            return LastState(time_ns, value)
        case "distribution":
            bounds = raw_bounds(metric)
            place = bisect_left(bounds, value)
            return BucketState(tuple(int(each == place) for each in range(len(bounds) + 1)), total, value, value)
        case "summary":
            bucket = bucket_of(abs(value)) if value else None
            if bucket is None:
                return SketchState(zeros=1, total=total, least=value, greatest=value)
            one = {bucket: 1}
            if value > 0:
                return SketchState(positive=one, total=total, least=value, greatest=value)
            return SketchState(negative=one, total=total, least=value, greatest=value)


def raw_bounds(metric: Metric) -> tuple[int | float, ...]:
    """The upper bounds of a distribution's buckets, in the unit measured."""
    return tuple(_greatest(metric.conversion, bound) for bound in metric.buckets or ())


def _greatest(conversion: Conversion, bound: int | float) -> int | float:
    """The greatest value that is reported as no more than `bound`; `undo` alone may be a rounding off, as 1.001 ms is
    1000999.9999999999 ns.
    """
    raw = conversion.undo(bound)
    if not raw or conversion == IDENTITY or abs(raw) > MAGNITUDE_MAX:
        return raw
    for _ in range(ROUNDED):
        if conversion.apply(raw) > bound:
            raw = math.nextafter(raw, -math.inf)
        elif conversion.apply(above := math.nextafter(raw, math.inf)) <= bound:
            raw = above
    return raw
