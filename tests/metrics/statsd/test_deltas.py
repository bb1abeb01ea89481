"""What is sent of a series adds up to the series, however it is cut into reports."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tinkertape.metrics import counter, last_value, sum_
from tinkertape.metrics.states import empty, merged, observed
from tinkertape.metrics.statsd.deltas import Deltas
from tinkertape.metrics.statsd.lines import stream_of
from tinkertape.metrics.values import Kept, value_of

NUMBERS = st.integers(-(10**15), 10**15) | st.floats(-1e15, 1e15)
REPORTS = st.lists(st.lists(NUMBERS, max_size=4), min_size=1, max_size=20)
UNITS = st.sampled_from([{}, {"unit": ("nanosecond", "second")}, {"unit": ("byte", "kilobyte")}])


def sent_of(metric, reports, began_ns=1, deltas=None):
    """The values that these reports send, and the state at the end."""
    deltas = deltas or Deltas(metric, lambda tags: stream_of(0, metric, tags, "standard", ""))
    state, sent, time_ns = empty(metric), [], 0
    for values in reports:
        for value in values:
            time_ns += 1
            state = merged(state, observed(metric, value, time_ns))
        kept = [Kept((), state, began_ns)] if state.count else []
        sent += [value for _, value in deltas.take(kept)]
    return sent, state


@given(REPORTS, UNITS)
def test_what_is_sent_of_a_sum_is_off_by_one_rounding_however_many_reports_there_were(reports, unit):
    metric = sum_("a.b", **unit)
    sent, state = sent_of(metric, reports)
    if not sent:
        return

    total = value_of(metric, state)
    left = abs(Fraction(total) - sum(map(Fraction, sent)))

    assert left <= Fraction(math.ulp(sent[-1])) / 2


@given(st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=20))
def test_of_integers_nothing_is_left_and_counters_send_how_many_there_were(reports):
    assert sum(sent_of(sum_("a.b"), reports)[0]) == sum(map(sum, reports))
    assert sent_of(counter("a.b"), reports)[0] == [len(values) for values in reports if values]


@given(REPORTS)
def test_a_last_value_is_sent_as_it_is_where_an_event_came(reports):
    assert sent_of(last_value("a.b"), reports)[0] == [values[-1] for values in reports if values]


@given(REPORTS, REPORTS)
def test_a_series_that_began_anew_begins_at_0(first, second):
    metric = counter("a.b")
    deltas = Deltas(metric, lambda tags: stream_of(0, metric, tags, "standard", ""))
    sent_of(metric, first, began_ns=1, deltas=deltas)

    assert sum(sent_of(metric, second, began_ns=2, deltas=deltas)[0]) == sum(map(len, second))
