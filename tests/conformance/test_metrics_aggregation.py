"""What a reporter's numbers are made of, item by item (docs/facts/beam.md §1.8, P14-P41)."""

from __future__ import annotations

import itertools
import threading

import pytest
from tests.metrics.reading import value, values

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import Aggregate, counter, distribution, last_value, sum_, summary

FUNCTIONS = [counter, sum_, last_value, summary, distribution]
item = pytest.mark.conformance


@pytest.fixture
def bus():
    return Bus()


def observed(*values_seen, **options):
    """The histogram after these values, with cumulative counts."""
    bus = Bus()
    with Aggregate([distribution("a.b.c", **options)], bus=bus) as aggregate:
        for each in values_seen:
            bus.execute("a.b", {"c": each})
        series = aggregate.collect()[0].series
    if not series:
        return None
    histogram = series[0].value
    return list(itertools.accumulate(histogram.counts)), histogram.count, histogram.sum


@item("P14", beat="a distribution without buckets has the usual ones of its unit")
def test_P14_a_distribution_without_buckets_has_usual_ones():
    assert distribution("a.b.c").buckets == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
    assert distribution("a.b.c", unit="millisecond").buckets[:3] == (10, 20, 40)
    assert distribution("a.b.c", unit=("nanosecond", "second")).buckets[:3] == (0.01, 0.02, 0.04)
    assert distribution("a.b.c", unit="microsecond").buckets[-1] == 655_360_000
    assert distribution("a.b.c", unit=("byte", "kilobyte")).buckets[:2] == (1, 4)


@item("P15")
@pytest.mark.parametrize(
    "buckets", [[], "123", 3, {1: 2}, [1, "2"], [True], [0, 200, 100], [1, float("nan")], [1, float("inf")]]
)
def test_P15_buckets_are_numbers_that_ascend(buckets):
    with pytest.raises(MetricError, match="bucket"):
        distribution("a.b.c", buckets=buckets)


@item("P16", differs="a Python `range` is the bounds that it has, whether its step divides it or not")
def test_P16_buckets_may_be_a_range_that_ascends():
    assert distribution("a.b.c", buckets=range(0, 301, 100)).buckets == (0, 100, 200, 300)
    with pytest.raises(MetricError, match="must ascend"):
        distribution("a.b.c", buckets=range(300, 100, -100))


@item("P17", beat="a range works when events come, too")
def test_P17_a_range_of_buckets_is_counted_into():
    assert observed(50, 150, 350, buckets=range(100, 301, 100)) == ([1, 2, 2, 3], 3, 550)


@item("P18")
def test_P18_there_is_one_bucket_more_than_bounds():
    assert observed(10**9, buckets=[1, 2, 3]) == ([0, 0, 0, 1], 1, 10**9)


@item("P19", beat="a bound given twice is refused")
def test_P19_a_bound_given_twice_is_refused():
    with pytest.raises(MetricError, match="must ascend, got 1 after 1"):
        distribution("a.b.c", buckets=[1, 1, 2])
    with pytest.raises(MetricError, match="finite"):
        distribution("a.b.c", buckets=[1, 10**400])


@item("P20")
@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([], None),
        ([0.1], ([1, 1, 1, 1], 1, 0.1)),
        ([2, 3.1], ([0, 1, 1, 2], 2, 5.1)),
        ([4, 5], ([0, 0, 0, 2], 2, 9)),
    ],
)
def test_P20_a_value_belongs_to_the_first_bucket_whose_bound_it_does_not_exceed(seen, expected):
    assert observed(*seen, buckets=[1, 2, 3]) == expected


@item("P21")
def test_P21_counts_go_on_from_one_collection_to_the_next(bus):
    metric = distribution("a.b.c", unit=("native", "second"), buckets=[1, 2, 3])
    with Aggregate([metric], bus=bus) as aggregate:
        for seconds in (3, 3):
            bus.execute("a.b", {"c": seconds * 10**9})
        first = value(aggregate)
        for nanoseconds in (1_500_000_000, 800_000_000):
            bus.execute("a.b", {"c": nanoseconds})
        second = value(aggregate)

    assert (first.counts, first.count, first.sum) == ((0, 0, 2, 0), 2, 6.0)
    assert (second.counts, second.count, second.sum) == ((1, 1, 2, 0), 4, 8.3)


@item("P22")
def test_P22_without_events_a_second_collection_is_the_same(bus):
    with Aggregate([function("a.b.c", tags=["x"]) for function in FUNCTIONS], bus=bus) as aggregate:
        bus.execute("a.b", {"c": 3}, {"x": 1})

        assert aggregate.collect() == aggregate.collect()


@item("P24", beat="a value goes into its bucket when it comes: memory is bounded by series and buckets")
def test_P24_memory_does_not_grow_while_nobody_collects(bus):
    with Aggregate([distribution("a.b.c"), summary("a.b.c")], bus=bus) as aggregate:
        for number in range(10_000):
            bus.execute("a.b", {"c": number % 100})

        sizes = [len(cell) for shard in aggregate._shards for table in shard.tables for cell in table.by_text.values()]
        assert max(sizes) <= 16


@item("P25", beat="collections at the same time lose nothing: they change nothing")
def test_P25_collections_at_the_same_time_lose_nothing(bus):
    with Aggregate([distribution("a.b.c")], bus=bus) as aggregate:
        collectors = [threading.Thread(target=lambda: [aggregate.collect() for _ in range(50)]) for _ in range(4)]
        for collector in collectors:
            collector.start()
        for _ in range(1_000):
            bus.execute("a.b", {"c": 1})
        for collector in collectors:
            collector.join()

        assert value(aggregate).count == 1_000


@item("P26")
def test_P26_there_is_one_series_for_each_combination_of_tag_values(bus):
    metric = counter("http.request.count", tags=["method", "status"], drop=lambda metadata: metadata["status"] == 500)
    with Aggregate([metric], bus=bus) as aggregate:
        for status in (200, 200, 404, 500):
            bus.execute("http.request", {}, {"method": "GET", "status": status})

        assert values(aggregate) == {("GET", "200"): 2, ("GET", "404"): 1}


@item("P27")
def test_P27_a_last_value_is_overwritten_in_its_series(bus):
    metric = last_value("vm.memory.total", tags=["node"], drop=lambda metadata: metadata.get("ignored"))
    with Aggregate([metric], bus=bus) as aggregate:
        for node, total in (("a", 200_000), ("b", 190_000), ("a", 210_000)):
            bus.execute("vm.memory", {"total": total}, {"node": node})
        bus.execute("vm.memory", {"total": 1}, {"node": "a", "ignored": True})

        assert values(aggregate) == {("a",): 210_000, ("b",): 190_000}


@item("P28")
def test_P28_a_sum_adds_up_in_its_series_and_may_fall(bus):
    with Aggregate([sum_("db.rows.count", tags=["table"])], bus=bus) as aggregate:
        for table, count in (("users", 23), ("clients", 3), ("users", 5), ("gauge", 200_000), ("gauge", -200_000)):
            bus.execute("db.rows", {"count": count}, {"table": table})

        assert values(aggregate) == {("users",): 28, ("clients",): 3, ("gauge",): 0}


@item("P29")
def test_P29_a_measurement_of_metadata_works_for_sums_and_distributions(bus):
    def size(measurements, metadata):
        return len(metadata["body"]) + measurements["head"]

    metrics = [sum_("a.b.size", measurement=size), distribution("a.b.size", measurement=size, buckets=[5, 10])]
    with Aggregate(metrics, bus=bus) as aggregate:
        bus.execute("a.b", {"head": 4}, {"body": "abc"})

        assert (value(aggregate, 0), value(aggregate, 1).counts) == (7, (0, 1, 0))


@item("P30")
def test_P30_a_counter_counts_even_where_the_measurement_is_missing(bus):
    with Aggregate([counter("a.b.missing")], bus=bus) as aggregate:
        bus.execute("a.b", {})

        assert value(aggregate) == 1
        assert aggregate.skipped() == {}


@item("P31", beat="what is skipped is also counted, by reason")
@pytest.mark.parametrize("function", FUNCTIONS[1:], ids=lambda function: function.__name__)
@pytest.mark.parametrize("measurements", [{}, {"c": None}])
def test_P31_an_event_without_the_measurement_is_skipped_and_the_next_is_not(bus, function, measurements):
    with Aggregate([function("a.b.c")], bus=bus) as aggregate:
        bus.execute("a.b", measurements)
        assert aggregate.collect()[0].series == []
        assert aggregate.skipped() == {("a.b.c", "missing_measurement"): 1}
        bus.execute("a.b", {"c": 1})
        assert len(aggregate.collect()[0].series) == 1


@item("P32", beat="what is skipped is also counted, by reason")
@pytest.mark.parametrize("function", FUNCTIONS[1:], ids=lambda function: function.__name__)
@pytest.mark.parametrize("measured", ["3", b"3", [3], True, object()], ids=lambda measured: type(measured).__name__)
def test_P32_a_measurement_that_is_no_number_is_skipped_and_the_next_is_not(bus, function, measured):
    with Aggregate([function("a.b.c")], bus=bus) as aggregate:
        bus.execute("a.b", {"c": measured})
        assert aggregate.skipped() == {("a.b.c", "not_a_number"): 1}
        bus.execute("a.b", {"c": 1})
        assert len(aggregate.collect()[0].series) == 1


@item("P33", beat="it is counted as a missing measurement")
def test_P33_a_function_that_measures_nothing_is_skipped(bus):
    with Aggregate([sum_("a.b.c", measurement=lambda measurements: None)], bus=bus) as aggregate:
        bus.execute("a.b", {"c": 1})

        assert aggregate.skipped() == {("a.b.c", "missing_measurement"): 1}


@item("P34", beat="what is skipped is also counted, by reason")
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_P34_an_event_without_a_tag_is_skipped_and_other_keys_do_not_matter(bus, function):
    with Aggregate([function("a.b.c", tags=["x"])], bus=bus) as aggregate:
        bus.execute("a.b", {"c": 1}, {"y": 1})
        assert aggregate.skipped() == {("a.b.c", "missing_tag"): 1}
        bus.execute("a.b", {"c": 1}, {"x": 1, "y": 1, "z": 1})
        assert list(values(aggregate)) == [("1",)]


@item("P35")
def test_P35_the_order_is_keep_then_measurement_then_tag_values_then_tags(bus):
    asked = []

    def ask(name, answer):
        def answered(*arguments):
            asked.append(name)
            return answer(*arguments)

        return answered

    metric = sum_(
        "a.b.c",
        keep=ask("keep", lambda metadata: metadata["keep"]),
        measurement=ask("measurement", lambda measurements: measurements.get("c")),
        tag_values=ask("tag_values", lambda metadata: metadata),
        tags=["x"],
    )
    with Aggregate([metric], bus=bus) as aggregate:
        bus.execute("a.b", {}, {"keep": False})
        assert (asked, aggregate.skipped()) == (["keep"], {})
        bus.execute("a.b", {}, {"keep": True})
        assert aggregate.skipped() == {("a.b.c", "missing_measurement"): 1}
        bus.execute("a.b", {"c": 1}, {"keep": True})
        assert aggregate.skipped()["a.b.c", "missing_tag"] == 1

    assert asked == ["keep", "keep", "measurement", "keep", "measurement", "tag_values"]


@item("P36", beat="a sum takes floats, and goes on")
def test_P36_a_sum_takes_floats(bus):
    with Aggregate([sum_("a.b.c", unit=("native", "second")), sum_("a.b.d")], bus=bus) as aggregate:
        for _ in range(10):
            bus.execute("a.b", {"c": 100_000_000, "d": 0.1})

        assert (value(aggregate, 0), value(aggregate, 1)) == (1.0, 1.0)


def broken(*_):
    raise ValueError("mine")


@item("P37", beat="keep and drop of two arguments are honoured")
def test_P37_a_rule_of_two_arguments_is_honoured(bus):
    metrics = [counter("a.b.c", keep=lambda metadata, measurements: measurements["size"] > 1)]
    with Aggregate(metrics, bus=bus) as aggregate:
        for size in (1, 2, 3):
            bus.execute("a.b", {"size": size})

        assert value(aggregate) == 2


@item("P38", beat="tags may be a function")
def test_P38_tags_may_be_a_function(bus):
    with Aggregate([counter("a.b.c", tags=lambda metadata: {"kind": metadata["x"] * 2})], bus=bus) as aggregate:
        bus.execute("a.b", {}, {"x": "ab"})

        assert values(aggregate) == {("abab",): 1}


@item("P39", beat="any key will do")
def test_P39_any_string_is_a_key(bus):
    with Aggregate([sum_("a.b.c", measurement="loss:sum")], bus=bus) as aggregate:
        bus.execute("a.b", {"loss:sum": 2})

        assert value(aggregate) == 2


@item("P40", beat="a function that fails costs its metric that event, and no other metric anything")
@pytest.mark.parametrize("option", ["measurement", "tag_values", "tags", "keep", "drop"])
def test_P40_a_function_that_fails_detaches_nothing(bus, option):
    with Aggregate([sum_("a.b.c", **{option: broken}), counter("a.b.c")], bus=bus) as aggregate:
        for _ in range(7):
            bus.execute("a.b", {"c": 1})

        assert value(aggregate, 1) == 7
        assert aggregate.skipped() == {("a.b.c", "error"): 7}
        assert len(bus.list_handlers()) == 1


@item("P41")
def test_P41_a_value_is_sorted_into_the_bucket_of_the_unit_reported():
    counts, count, total = observed(56_000_000, unit=("nanosecond", "second"), buckets=[0.05, 0.1])

    assert (counts, count, total) == ([0, 1, 1], 1, 0.056)
