"""Two states make one, in any order and grouping, and the empty one changes nothing: exactly, floats included."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from math import ceil, floor, inf, nextafter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinkertape.metrics import counter, distribution, last_value, sum_, summary
from tinkertape.metrics.cells import new_cell, read_cell
from tinkertape.metrics.states import empty, merged, observed, raw_bounds
from tinkertape.metrics.units import BYTES, TIMES

METRICS = [counter("a.b"), sum_("a.b"), last_value("a.b"), summary("a.b"), distribution("a.b", buckets=[-1, 0, 1, 1e9])]
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(-1e200, 1e200), st.sampled_from([0, -0.0, 5e-324, 1e-10]))


def _thousandth(number):
    return number / 1000


def state_of(metric, observations):
    return merged(empty(metric), *(observed(metric, number, time_ns) for time_ns, number in observations))


STATES = st.lists(st.tuples(st.integers(0, 5), NUMBERS), max_size=5)


UNITS = [(old, new) for old in TIMES for new in TIMES] + [(old, new) for old in BYTES for new in BYTES]


@pytest.mark.parametrize("unit", UNITS, ids="-".join)
@given(st.one_of(st.floats(1e-9, 1e6), st.integers(1, 10**6), st.integers(-(10**6), -1).map(_thousandth)))
@settings(max_examples=10)
@example(1.001)
def test_what_is_reported_as_a_bound_or_less_is_in_its_bucket(unit, bound):
    metric = distribution("a.b", unit=unit, buckets=[bound])
    [raw] = raw_bounds(metric)
    exact = Fraction(bound) * TIMES.get(unit[1], BYTES.get(unit[1])) / TIMES.get(unit[0], BYTES.get(unit[0]))

    for value in (raw, nextafter(raw, -inf), nextafter(raw, inf), floor(exact), ceil(exact)):
        is_first = observed(metric, value, 0).counts == (1, 0)
        assert is_first == (metric.conversion.apply(value) <= bound)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.kind)
@given(STATES, STATES, STATES)
def test_merging_is_associative_and_commutative_with_an_identity(metric, first, second, third):
    a, b, c = (state_of(metric, observations) for observations in (first, second, third))

    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(a, empty(metric)) == a == merged(empty(metric), a)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.kind)
@given(st.lists(st.tuples(st.integers(0, 9), NUMBERS), max_size=12), st.randoms())
def test_any_division_among_threads_gives_the_same(metric, observations, random):
    whole = state_of(metric, observations)
    shards = [[] for _ in range(3)]
    for observation in observations:
        random.choice(shards).append(observation)
    random.shuffle(shards)

    assert reduce(merged, [state_of(metric, shard) for shard in shards], empty(metric)) == whole


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.kind)
def test_a_new_cell_holds_the_empty_state(metric):
    assert read_cell(metric, new_cell(metric)) == empty(metric)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.kind)
@given(st.lists(st.tuples(st.integers(0, 9), NUMBERS), min_size=1, max_size=5))
def test_the_count_grows_with_every_observation(metric, observations):
    state = state_of(metric, observations)

    assert state.count == len(observations) or metric.kind == "last_value"
    assert state.count > empty(metric).count == 0
