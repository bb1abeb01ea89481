"""A quantile is within 1 % of the value that a sorted list would give."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.metrics.reading import value

from tinkertape.bus import Bus
from tinkertape.metrics import Aggregate, Quantiles, summary
from tinkertape.metrics.sketch import BUCKET_MAX, BUCKET_MIN, MAGNITUDE_MAX, MAGNITUDE_MIN, bucket_of, middle_of

MAGNITUDES = st.floats(MAGNITUDE_MIN, MAGNITUDE_MAX)
NUMBERS = st.one_of(MAGNITUDES, MAGNITUDES.map(lambda each: -each), st.just(0), st.integers(-(10**18), 10**18))


@given(st.lists(NUMBERS, min_size=1, max_size=50), st.floats(0, 1))
@example([1e-9, 1e18], 0.5)
def test_a_quantile_is_within_its_error_of_the_true_one(numbers, q):
    true = sorted(numbers)[math.floor(q * (len(numbers) - 1))]

    estimate = Quantiles.of(numbers).quantile(q)

    assert abs(estimate - true) <= Quantiles.relative_error * abs(true)


@given(MAGNITUDES)
def test_the_middle_of_a_bucket_is_within_the_error_of_all_in_it(magnitude):
    middle = middle_of(bucket_of(magnitude))

    assert abs(middle - magnitude) <= Quantiles.relative_error * magnitude


@given(st.floats(5e-324, 1e300))
def test_no_value_makes_a_bucket_beyond_the_limits(magnitude):
    bucket = bucket_of(magnitude)

    assert bucket is None or BUCKET_MIN <= bucket <= BUCKET_MAX
    assert 2 * (BUCKET_MAX - BUCKET_MIN + 1) <= 6_400


def test_what_is_too_small_counts_as_nothing_and_what_is_too_great_as_the_greatest():
    quantiles = Quantiles.of([-1e30, -1e-12, 0, 1e-12, 1e30])

    assert [quantiles.quantile(q) for q in (0, 0.25, 0.5, 0.75, 1)] == [-1e30, 0, 0, 0, 1e30]
    assert quantiles.count == 5


def test_the_ends_are_exact_and_nothing_lies_beyond_them():
    quantiles = Quantiles.of([3, 3.1, 3.1, 3.2])

    assert (quantiles.quantile(0), quantiles.quantile(1)) == (3, 3.2)
    assert 3 <= quantiles.quantile(0.4) <= 3.2


def test_of_nothing_there_is_no_quantile():
    assert math.isnan(Quantiles.of([]).quantile(0.5))


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_share_is_from_0_to_1(q):
    with pytest.raises(ValueError, match="from 0 to 1"):
        Quantiles.of([1]).quantile(q)


def test_quantiles_are_in_the_unit_reported():
    bus = Bus()
    with Aggregate([summary("a.b.duration", unit=("nanosecond", "millisecond"))], bus=bus) as aggregate:
        for duration_ms in range(1, 101):
            bus.execute("a.b", {"duration": duration_ms * 1_000_000})

        quantiles = value(aggregate)

    assert (quantiles.min, quantiles.max, quantiles.sum, quantiles.count) == (1.0, 100.0, 5050.0, 100)
    assert quantiles.quantile(0.5) == pytest.approx(50, rel=0.01)
    assert quantiles.quantile(0.9) == pytest.approx(90, rel=0.01)
