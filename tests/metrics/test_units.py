"""Every conversion gives the float nearest to the true quotient."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinkertape.metrics.states import ExactSum
from tinkertape.metrics.units import BYTES, TIMES, read_unit

PAIRS = [(scale, old, new) for scale in (TIMES, BYTES) for old in scale for new in scale]
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(-1e200, 1e200))


@given(NUMBERS, st.sampled_from(PAIRS))
@example(3, (TIMES, "nanosecond", "second"))
def test_a_conversion_is_the_true_value_rounded_once(value, pair):
    scale, old, new = pair
    _, conversion = read_unit((old, new), "a.b")

    converted = conversion.apply(value)

    true = Fraction(value) * scale[old] / scale[new]
    assert converted == (true if isinstance(converted, int) else float(true))
    assert isinstance(converted, float) == (isinstance(value, float) or scale[new] > scale[old])


@given(st.lists(NUMBERS, max_size=20), st.sampled_from(PAIRS))
def test_a_sum_is_the_true_sum_converted_and_rounded_once(numbers, pair):
    scale, old, new = pair
    _, conversion = read_unit((old, new), "a.b")
    whole = sum(number for number in numbers if isinstance(number, int))

    total = ExactSum.of(whole, *(number for number in numbers if isinstance(number, float)))

    true = sum(map(Fraction, numbers), Fraction()) * scale[old] / scale[new]
    value = total.value(conversion)
    assert value == (true if isinstance(value, int) else float(true))


@given(st.integers(-(10**15), 10**15), st.sampled_from(PAIRS))
def test_a_bound_in_the_unit_measured_divides_values_as_the_bound_given_does(bound, pair):
    _, old, new = pair
    _, conversion = read_unit((old, new), "a.b")

    assert conversion.apply(conversion.undo(bound)) == pytest.approx(bound, rel=1e-15)


@given(st.integers(-(10**9), 10**9), st.integers(-3, 3))
def test_whole_milliseconds_are_told_apart_to_the_nanosecond(bound, off):
    _, conversion = read_unit(("nanosecond", "millisecond"), "a.b")

    assert (bound * 10**6 + off <= conversion.undo(bound)) == (off <= 0)
