"""An aggregate keeps the state of every series, and says what it could not use."""

from __future__ import annotations

import logging
import os
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metrics.reading import value, values

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import (
    Aggregate,
    Histogram,
    Quantiles,
    StatsDReporter,
    counter,
    distribution,
    last_value,
    sum_,
    summary,
)
from tinkertape.metrics.states import empty, merged, observed
from tinkertape.metrics.values import OVERFLOW, value_of

KINDS = [counter, sum_, last_value, summary, distribution]


def test_every_kind_reports_what_it_is_for(bus):
    metrics = [
        counter("a.b.count"),
        sum_("a.b.size"),
        last_value("a.b.size"),
        distribution("a.b.size", buckets=[1, 2, 4]),
        summary("a.b.size"),
    ]
    with Aggregate(metrics, bus=bus) as aggregate:
        for size in (3, 1, 2, 9):
            bus.execute("a.b", {"size": size})

    count, total, last, histogram, quantiles = (value(aggregate, place) for place in range(5))
    assert (count, total, last) == (4, 15, 9)
    assert histogram == Histogram(bounds=(1, 2, 4), counts=(1, 1, 1, 1), sum=15, count=4, min=1, max=9)
    assert quantiles.quantile(1 / 3) == pytest.approx(2, rel=quantiles.relative_error)


def test_families_are_in_the_order_of_definitions_and_there_when_empty(bus):
    metrics = [counter("z.z.count"), sum_("a.a.size"), counter("m.m.count")]
    with Aggregate(metrics, bus=bus) as aggregate:
        bus.execute("m.m", {})

        families = aggregate.collect()

    assert [family.metric for family in families] == metrics
    assert [len(family.series) for family in families] == [0, 0, 1]


def test_series_are_in_the_order_in_which_they_came_up(bus):
    with Aggregate([counter("a.b.count", tags=["x"])], bus=bus) as aggregate:
        for x in "cabac":
            bus.execute("a.b", {}, {"x": x})

        assert values(aggregate) == {("c",): 2, ("a",): 2, ("b",): 1}
        assert list(values(aggregate)) == [("c",), ("a",), ("b",)]


def test_durations_are_summed_in_nanoseconds_and_rounded_once(bus):
    metric = sum_("a.b.duration", unit=("nanosecond", "second"))
    with Aggregate([metric], bus=bus) as aggregate:
        for _ in range(10):
            bus.execute("a.b", {"duration": 100_000_000})

        assert value(aggregate) == 1.0  # ten times 0.1 is 0.9999999999999999


def test_floats_are_summed_with_what_rounding_would_lose(bus):
    with Aggregate([sum_("a.b.loss")], bus=bus) as aggregate:
        for loss in [1e16, *[1.0] * 10, -1e16]:
            bus.execute("a.b", {"loss": loss})

        assert value(aggregate) == 10.0


def test_buckets_are_those_of_the_unit_reported_with_their_upper_bound(bus):
    metric = distribution("a.b.duration", unit=("nanosecond", "millisecond"), buckets=[10, 100])
    with Aggregate([metric], bus=bus) as aggregate:
        for duration in (10_000_000, 10_000_001, 100_000_000, 100_000_001):
            bus.execute("a.b", {"duration": duration})

        histogram = value(aggregate)

    assert (histogram.counts, histogram.min, histogram.max) == ((1, 2, 1), 10.0, 100.000001)


def test_a_closed_aggregate_hears_nothing_more_and_can_be_read(bus):
    aggregate = Aggregate([counter("a.b.count")], bus=bus)
    bus.execute("a.b", {})
    aggregate.close()
    aggregate.close()
    bus.execute("a.b", {})

    assert value(aggregate) == 1
    assert bus.list_handlers() == []


def test_aggregates_over_the_same_metrics_count_apart(bus):
    metrics = [counter("a.b.count")]
    with Aggregate(metrics, bus=bus) as first, Aggregate(metrics, bus=bus) as second:
        bus.execute("a.b", {})

        assert (value(first), value(second)) == (1, 1)


def test_metrics_of_one_event_share_one_handler(bus):
    with Aggregate([counter("a.b.count"), sum_("a.b.size"), counter("a.c.count")], bus=bus):
        assert [handler.event_name for handler in bus.list_handlers()] == ["a.b", "a.c"]


def test_two_kinds_may_have_one_name(bus):
    with Aggregate([counter("a.b.size"), sum_("a.b.size")], bus=bus) as aggregate:
        bus.execute("a.b", {"size": 3})

        assert (value(aggregate, 0), value(aggregate, 1)) == (1, 3)


@pytest.mark.parametrize("options", [{"series_max": 0}, {"idle_s": -1}])
def test_bad_limits_are_refused_before_anything_is_attached(bus, options):
    with pytest.raises(MetricError):
        Aggregate([counter("a.b.count")], bus=bus, **options)

    assert bus.list_handlers() == []


# -- tags


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("x", "x"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (200, "200"),
        (2.5, "2.5"),
        (["a"], "['a']"),
        ("x" * 1_000, "x" * 255 + "…"),
    ],
)
def test_the_value_of_a_tag_is_text(bus, tag, text):
    with Aggregate([counter("a.b.count", tags=["x"])], bus=bus) as aggregate:
        bus.execute("a.b", {}, {"x": tag})
        bus.execute("a.b", {}, {"x": tag})

        assert values(aggregate) == {(text,): 2}


@pytest.mark.parametrize("order", [[1, True, 1.0, "1"], [True, "1", 1, 1.0], ["1", 1.0, True, 1]])
def test_equal_numbers_are_one_series_and_a_truth_value_is_another(bus, order):
    with Aggregate([counter("a.b.count", tags=["x"])], bus=bus) as aggregate:
        for x in order * 2:
            bus.execute("a.b", {}, {"x": x})

        assert values(aggregate) == {("1",): 6, ("true",): 2}


def test_no_tag_of_a_kind_without_end_leads_anywhere(bus):
    with Aggregate([counter("a.b.count", tags=["x"])], bus=bus) as aggregate:
        for x in [float("nan"), float("nan"), (1,), (1,), [1], [1], True, True, 0.5, 0.5, "x" * 999, "x" * 999]:
            bus.execute("a.b", {}, {"x": x})

        [table] = aggregate._shards[0].tables
        assert (list(table.by_key), list(table.by_key.by_type)) == ([], [(bool, True), (float, 0.5)])
        assert list(values(aggregate).values()) == [2] * 6


def test_a_function_may_make_the_tags(bus):
    metric = counter("a.b.count", tags=lambda metadata: {"y": metadata["x"].upper(), "a": 1})
    with Aggregate([metric], bus=bus) as aggregate:
        for x in "aab":
            bus.execute("a.b", {}, {"x": x})

        [family] = aggregate.collect()

    assert [(series.tags, series.value) for series in family.series] == [
        ((("a", "1"), ("y", "A")), 2),
        ((("a", "1"), ("y", "B")), 1),
    ]


def test_tag_values_make_what_tags_name(bus):
    metric = counter("a.b.count", tags=["kind"], tag_values=lambda metadata: {"kind": metadata["x"] // 100, "more": 1})
    with Aggregate([metric], bus=bus) as aggregate:
        for x in (200, 204, 404):
            bus.execute("a.b", {}, {"x": x})

        assert values(aggregate) == {("2",): 2, ("4",): 1}


def test_keep_is_asked_once_an_event_even_for_a_new_series(bus):
    asked = []

    def keep(metadata):
        asked.append(metadata["x"])
        return len(asked) % 2  # as one that samples might

    with Aggregate([counter("a.b.count", tags=["x"], keep=keep)], bus=bus) as aggregate:
        for x in "abcd":
            bus.execute("a.b", {}, {"x": x})

        assert values(aggregate) == {("a",): 1, ("c",): 1}
        assert asked == list("abcd")


class Names(StrEnum):
    SIZE = "size"
    X = "x"


def test_names_may_be_members_of_an_enumeration(bus):
    metric = sum_("a.b.count", measurement=Names.SIZE, tags=[Names.X])
    with Aggregate([metric], bus=bus) as aggregate:
        bus.execute("a.b", {"size": 2}, {"x": Names.X})

        assert aggregate.collect()[0].series[0].tags == (("x", "x"),)


@pytest.mark.parametrize("text", ["it's", 'a "b"', "back\\slash", "{number}", "line\nline", "\x00"])
def test_a_key_is_a_key_whatever_is_in_it(bus, text):
    metric = sum_("a.b.count", measurement=text, tags=[text])
    with Aggregate([metric], bus=bus) as aggregate:
        bus.execute("a.b", {text: 2}, {text: text})

        assert values(aggregate) == {(text,): 2}


# -- limits


def test_what_is_beyond_the_limit_of_series_goes_into_one_and_is_counted(bus, caplog):
    metrics = [counter("a.b.count", tags=["x"]), sum_("a.b.size", tags=["x"])]
    with Aggregate(metrics, bus=bus, series_max=2) as aggregate:
        for x in "abcdca":
            bus.execute("a.b", {"size": 10}, {"x": x})

        for place, one in enumerate((1, 10)):
            family = aggregate.collect()[place]
            assert {series.tags: series.value for series in family.series} == {
                (("x", "a"),): 2 * one,
                (("x", "b"),): one,
                OVERFLOW: 3 * one,
            }
        assert aggregate.overflowed() == {"a.b.count": 3, "a.b.size": 3}
    assert [record.message.count("a.b.count") for record in caplog.records] == [1, 0]


@pytest.mark.parametrize("kind", [sum_, last_value, distribution, summary])
@pytest.mark.parametrize("refused", [None, "x", float("nan"), 1e300, 10**300])
def test_a_value_that_is_refused_takes_no_series_place(bus, kind, refused):
    metric = kind("a.b.size", tags=["x"])
    with (
        Aggregate([metric], bus=bus, series_max=1) as aggregate,
        StatsDReporter([metric], bus=bus, series_max=1) as sent,
    ):
        bus.execute("a.b", {"size": refused}, {"x": "first"})
        bus.execute("a.b", {"size": 1}, {"x": "second"})

        assert list(values(aggregate)) == [("second",)]
        assert aggregate.overflowed() == sent.overflowed() == {}


def test_names_without_end_fill_no_memory(bus):
    with Aggregate([counter("a.b.count", tags=["x"])], bus=bus, series_max=3) as aggregate:
        for number in range(1_000):
            bus.execute("a.b", {}, {"x": f"{'long' * 100}{number}"})
            bus.execute("a.b", {}, {"x": f"{number}"})

        [shard] = aggregate._shards
        assert [len(table.by_key) for table in shard.tables] == [2]  # the truncated one has no key
        assert sum(values(aggregate).values()) == 2_000


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return int(self.now_s * 1e9)


def test_a_series_that_lies_idle_goes_and_makes_room(bus):
    clock = Clock()
    metrics = [counter("a.b.count", tags=["x"])]
    with Aggregate(metrics, bus=bus, series_max=1, idle_s=60, monotonic_ns=clock) as aggregate:
        bus.execute("a.b", {}, {"x": "a"})
        assert values(aggregate) == {("a",): 1}
        clock.now_s = 59
        assert values(aggregate) == {("a",): 1}
        clock.now_s = 60
        assert values(aggregate) == {}

        bus.execute("a.b", {}, {"x": "b"})
        assert values(aggregate) == {("b",): 1}


def test_a_series_that_is_used_stays(bus):
    clock = Clock()
    with Aggregate([sum_("a.b.size")], bus=bus, idle_s=60, monotonic_ns=clock) as aggregate:
        for minute in range(5):
            clock.now_s = minute * 59
            bus.execute("a.b", {"size": 0})  # the sum stays as it is, and yet it was used
            assert value(aggregate) == 0


def test_a_series_that_comes_back_begins_anew_and_says_so(bus):
    clock = Clock()
    with Aggregate([counter("a.b.count")], bus=bus, idle_s=60, monotonic_ns=clock) as aggregate:
        bus.execute("a.b", {})
        [before] = aggregate.collect()[0].series
        clock.now_s = 60
        assert aggregate.collect()[0].series == []
        bus.execute("a.b", {})
        [after] = aggregate.collect()[0].series

    assert (before.value, after.value) == (1, 1)
    assert after.began_ns > before.began_ns


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_update_that_is_under_way_while_its_series_expires_is_not_lost(bus, kind):
    clock = Clock()
    with Aggregate([kind("a.b.size")], bus=bus, idle_s=60, monotonic_ns=clock) as aggregate:
        bus.execute("a.b", {"size": 3})
        aggregate.collect()
        clock.now_s = 60
        held = aggregate.local.shard.tables[0].by_key[None]  # as a thread has it that was stopped before the change
        before = value(aggregate)
        bus.execute("a.b", {"size": 3})  # another one meanwhile
        if kind is counter:
            held[0] += 1  # the change
            del held
            assert (before, value(aggregate)) == (1, 3)
        else:
            del held
            assert value(aggregate) is not None
        assert value(aggregate) is not None
        clock.now_s = 120
        assert aggregate.collect()[0].series == []


# -- what cannot be used


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("measurements", "reason"),
    [
        ({}, "missing_measurement"),
        ({"size": None}, "missing_measurement"),
        ({"size": "3"}, "not_a_number"),
        ({"size": True}, "not_a_number"),
        ({"size": 1j}, "not_a_number"),
        ({"size": float("nan")}, "not_finite"),
        ({"size": float("inf")}, "not_finite"),
        ({"size": float("-inf")}, "not_finite"),
        ({"size": 10**400}, "not_finite"),
        ({"size": -(10**400)}, "not_finite"),
        ({"size": 1e300}, "not_finite"),
    ],
    ids=str,
)
def test_a_bad_value_is_skipped_and_counted_by_reason(bus, kind, measurements, reason):
    with Aggregate([kind("a.b.size", tags=["x"])], bus=bus) as aggregate:
        bus.execute("a.b", {"size": 2}, {"x": "a"})
        before = values(aggregate)
        bus.execute("a.b", measurements, {"x": "a"})
        bus.execute("a.b", measurements, {"x": "b"})

        assert aggregate.skipped() == {("a.b.size", reason): 2}
        assert values(aggregate) == before
        bus.execute("a.b", {"size": 2}, {"x": "a"})
        assert values(aggregate) != before or kind is last_value


def test_a_missing_tag_is_skipped_and_counted(bus):
    with Aggregate([counter("a.b.count", tags=["x", "y"])], bus=bus) as aggregate:
        bus.execute("a.b", {}, {"x": 1})

        assert aggregate.skipped() == {("a.b.count", "missing_tag"): 1}


def fails(*_):
    raise KeyError("mine")


class Unprintable:
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "options",
    [
        {"keep": fails},
        {"measurement": fails},
        {"tag_values": fails},
        {"tags": fails},
        {"tags": lambda metadata: None},
        {"tags": lambda metadata: {"x": Unprintable()}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_function_that_fails_is_an_error_and_silences_no_other_metric(bus, options):
    metrics = [sum_("a.b.size", **options), counter("a.b.count")]
    with Aggregate(metrics, bus=bus) as aggregate:
        bus.execute("a.b", {"size": 1})
        bus.execute("a.b", {"size": 1})

        assert aggregate.skipped() == {("a.b.size", "error"): 2}
        assert value(aggregate, 1) == 2


def test_the_first_of_each_reason_is_logged_and_no_more(bus, caplog):
    with Aggregate([sum_("a.b.size"), sum_("a.b.other")], bus=bus), caplog.at_level(logging.DEBUG):
        for size in ["secret", "secret", None, None]:
            bus.execute("a.b", {"size": size, "other": 1})

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "tinkertape: metric a.b.size skips an event: a str is not a number (counted, said once)"),
        ("DEBUG", "tinkertape: metric a.b.size skips an event: missing measurement 'size' (counted, said once)"),
    ]


def test_events_that_are_no_mappings_of_numbers_break_nothing(bus):
    with Aggregate([sum_("a.b.size", tags=["x"]), counter("a.b.count")], bus=bus) as aggregate:
        bus.execute("a.b", None, 3)
        bus.execute("a.b", [1], "x")

        assert aggregate.skipped() == {("a.b.size", "error"): 2}
        assert value(aggregate, 1) == 2


# -- the aggregate and the sum of single observations say the same

EVENTS = st.lists(
    st.tuples(
        st.one_of(st.integers(-(10**20), 10**20), st.floats(-1e200, 1e200), st.sampled_from([0, 0.0, -0.0, 5e-324])),
        st.sampled_from(["a", "b", 1, True]),
    ),
    max_size=30,
)


@given(EVENTS)
@pytest.mark.parametrize("kind", KINDS[:2] + KINDS[3:], ids=lambda kind: kind.__name__)
def test_what_is_collected_is_the_merge_of_all_that_was_observed(kind, events):
    metric = kind("a.b.size", tags=["x"], unit=("nanosecond", "millisecond"))
    bus, expected = Bus(), {}
    rounding = sum(abs(size) for size, _ in events if isinstance(size, float)) * 1e-30  # of a compensated sum of floats
    with Aggregate([metric], bus=bus) as aggregate:
        for size, x in events:
            bus.execute("a.b", {"size": size}, {"x": x})
            text = ("true" if x is True else str(x),)
            expected[text] = merged(expected.get(text, empty(metric)), observed(metric, size, 0))

        found = values(aggregate)

    assert found.keys() == expected.keys()
    for text, state in expected.items():
        mine, theirs = (total_apart(each) for each in (found[text], value_of(metric, state)))
        assert mine[0] == pytest.approx(theirs[0], rel=1e-15, abs=rounding)
        assert mine[1:] == theirs[1:]


def total_apart(found):
    """The sum, and everything else, of any kind's value."""
    match found:
        case Histogram():
            return found.sum, found.counts, found.min, found.max
        case Quantiles():
            buckets = (found.sketch.negative, found.sketch.zeros, found.sketch.positive)
            return found.sum, found.count, found.min, found.max, buckets
        case _:
            return (found,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_counts_from_nothing(bus):
    with Aggregate([counter("a.b.count")], bus=bus) as aggregate:
        bus.execute("a.b", {})
        child = os.fork()
        if child == 0:
            empty_before = aggregate.collect()[0].series == []
            bus.execute("a.b", {})
            os._exit(0 if empty_before and value(aggregate) == 1 else 1)
        _, status = os.waitpid(child, 0)

        assert (os.waitstatus_to_exitcode(status), value(aggregate)) == (0, 1)
