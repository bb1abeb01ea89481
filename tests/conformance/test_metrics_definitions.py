"""Definitions of metrics, item by item (docs/facts/beam.md §1.6), each for all five kinds."""

from __future__ import annotations

import pytest
from tests.metrics.reading import values

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import Aggregate, Metric, counter, distribution, last_value, sum_, summary
from tinkertape.metrics.definitions import Counter, Distribution, LastValue, Sum, Summary
from tinkertape.metrics.extraction import Extracted, Skipped, extractor
from tinkertape.metrics.units import BYTES, TIMES

FUNCTIONS = [counter, sum_, last_value, summary, distribution]
item = pytest.mark.conformance


@pytest.fixture(params=FUNCTIONS, ids=lambda function: function.__name__)
def define(request):
    return request.param


def value_of(metric, measurements, metadata=None):
    found = extractor(metric)(measurements, metadata or {})
    return found.value if isinstance(found, Extracted) else found


@item("M1", differs="what is not given is None or empty; a `tag_values` of None is the identity")
def test_M1_a_name_alone_says_event_and_measurement(define):
    metric = define("http.request.latency")

    assert (metric.name, metric.event_name, metric.measurement) == ("http.request.latency", "http.request", "latency")
    assert (metric.tags, metric.tag_values, metric.keep) == ((), None, None)
    assert (metric.unit, metric.description, metric.reporter_options) == ("unit", "", {})


@item("M2")
def test_M2_a_name_may_be_given_in_segments(define):
    assert define(["my", "event", "value"]) == define("my.event.value")


@item("M3")
@pytest.mark.parametrize("event_name", ["my.event", ["my", "event"], ("my", "event")])
def test_M3_options_override_what_the_name_says_and_the_name_stays(define, event_name):
    def upper(metadata):
        return metadata

    metric = define(
        "http.requests.count",
        event_name=event_name,
        measurement="value",
        tags=["a", "b"],
        tag_values=upper,
        description="words",
        unit="second",
        reporter_options={"x": 1},
    )

    assert (metric.name, metric.event_name, metric.measurement) == ("http.requests.count", "my.event", "value")
    assert (metric.tags, metric.tag_values, metric.description) == (("a", "b"), upper, "words")
    assert (metric.unit, metric.reporter_options) == ("second", {"x": 1})


@item("M4")
def test_M4_one_segment_is_a_name_where_the_event_is_given(define):
    metric = define("latency", event_name="http.request")

    assert (metric.name, metric.event_name, metric.measurement) == ("latency", "http.request", "latency")


@item("M5")
def test_M5_one_segment_alone_belongs_to_no_event(define):
    with pytest.raises(MetricError, match=r"'latency' belongs to no event: name it 'some.event.latency'"):
        define("latency")


@item("M6")
@pytest.mark.parametrize("name", ["", []])
def test_M6_an_empty_name_is_refused(define, name):
    with pytest.raises(MetricError, match="the name of a metric is empty"):
        define(name)


@item("M7")
@pytest.mark.parametrize("name", [None, [None]])
def test_M7_no_name_is_refused(define, name):
    with pytest.raises(MetricError, match="a string or a list of strings, got"):
        define(name)


@item("M8")
@pytest.mark.parametrize("name", [["my", 1], 3, {"a": 1}])
def test_M8_a_name_of_anything_but_strings_is_refused(define, name):
    with pytest.raises(MetricError, match="the name of a metric is a string or a list of strings, got"):
        define(name)


@item("M9")
@pytest.mark.parametrize("event_name", [["my", 1], [], "", None])
def test_M9_an_event_name_is_held_to_the_same(define, event_name):
    with pytest.raises(MetricError, match="the name of an event"):
        define("a.b.c", event_name=event_name)


@item("M10")
@pytest.mark.parametrize("name", [".metric.name", "metric.name.", "metric..name"])
def test_M10_dots_stand_between_segments_of_a_name(define, name):
    with pytest.raises(MetricError, match="leading, trailing or consecutive dots"):
        define(name)


@item("M11")
@pytest.mark.parametrize("event_name", [".event.value", "event.value.", "event..name"])
def test_M11_dots_stand_between_segments_of_an_event_name(define, event_name):
    with pytest.raises(MetricError, match=r"the name of an event, '.*', has leading, trailing or consecutive dots"):
        define("a.b.c", event_name=event_name)


@item("M12", beat="white space is refused: no event of the bus has it, so such a metric would stay empty for ever")
def test_M12_any_other_character_may_be_in_a_segment(define):
    assert define("my.event:value").measurement == "event:value"
    with pytest.raises(MetricError, match="white space"):
        define("my.event value")


@item("M13", differs="a key is a string")
def test_M13_a_measurement_is_a_key_kept_as_it_is(define):
    assert define("a.b.c", measurement="x").measurement == "x"
    with pytest.raises(MetricError, match="is a key or a function, got 3"):
        define("a.b.c", measurement=3)


@item("M14")
def test_M14_a_measurement_may_be_a_function_of_the_measurements():
    def doubled(measurements):
        return measurements["size"] * 2

    metric = sum_("a.b.c", measurement=doubled)

    assert metric.measurement is doubled
    assert value_of(metric, {"size": 3}) == 6


@item("M15")
def test_M15_a_measurement_may_be_a_function_of_measurements_and_metadata():
    def weighed(measurements, metadata):
        return measurements["size"] * metadata["weight"]

    metric = sum_("a.b.c", measurement=weighed)

    assert metric.measurement is weighed
    assert value_of(metric, {"size": 3}, {"weight": 5}) == 15


@item("M16", differs="a tag's key is a string, and none is listed twice")
@pytest.mark.parametrize("tags", [1, "path", {"path"}, ["path", 1], [""], ["a", "a"], lambda: {}])
def test_M16_tags_are_a_list_or_a_function_of_the_metadata(define, tags):
    assert define("a.b.c", tags=["x"]).tags == ("x",)
    assert callable(define("a.b.c", tags=lambda metadata: metadata).tags)
    with pytest.raises(MetricError, match="tag"):
        define("a.b.c", tags=tags)


@item("M17", beat="tags of None are refused where they are written, instead of crashing a reporter later")
def test_M17_tags_of_none_are_refused(define):
    with pytest.raises(MetricError, match="a list of keys, or a function of the metadata, got None"):
        define("a.b.c", tags=None)


@item("M18")
@pytest.mark.parametrize("tag_values", [1, None, lambda: {}, lambda a, b: {}])
def test_M18_tag_values_are_a_function_of_one_argument(define, tag_values):
    with pytest.raises(MetricError, match=r"tag_values of 'a.b.c' is a function of the metadata, got"):
        define("a.b.c", tag_values=tag_values)


@item("M19")
def test_M19_of_what_tag_values_returns_only_the_tags_are_taken():
    metric = counter("a.b.c", tags=["kind"], tag_values=lambda metadata: {"kind": "new", "other": 1})

    assert extractor(metric)({}, {"x": 1}) == Extracted((("kind", "new"),), 1)


@item("M20")
def test_M20_keep_is_a_predicate_of_metadata_or_of_both(define):
    for keep in (lambda metadata: True, lambda metadata, measurements: True):
        assert define("a.b.c", keep=keep).keep is keep

    both = sum_("a.b.c", keep=lambda metadata, measurements: metadata["x"] == measurements["c"])
    assert value_of(both, {"c": 3}, {"x": 3}) == 3
    assert value_of(both, {"c": 3}, {"x": 4}) is None


@item("M21")
def test_M21_drop_is_the_opposite_of_keep():
    one = sum_("a.b.c", drop=lambda metadata: metadata["x"])
    two = sum_("a.b.c", drop=lambda metadata, measurements: measurements["c"] > 3)

    assert [value_of(one, {"c": 1}, {"x": x}) for x in (True, False)] == [None, 1]
    assert [value_of(two, {"c": c}) for c in (3, 4)] == [3, None]


@item("M22")
def test_M22_keep_and_drop_exclude_each_other(define):
    with pytest.raises(MetricError, match="has both keep and drop"):
        define("a.b.c", keep=bool, drop=bool)


@item("M23")
@pytest.mark.parametrize("option", ["keep", "drop"])
@pytest.mark.parametrize("rule", [1, None, lambda: True, lambda a, b, c: True, lambda a, *, b: True])
def test_M23_a_rule_of_any_other_arity_is_refused(define, option, rule):
    with pytest.raises(MetricError, match="a function of the metadata, or of the metadata and the measurements, got"):
        define("a.b.c", **{option: rule})


@item("M24", beat="drop takes any truth value, as keep does")
@pytest.mark.parametrize(("answer", "kept"), [(None, 1), (0, 1), ("", 1), ("yes", None), (1, None)])
def test_M24_drop_takes_any_truth_value(answer, kept):
    assert value_of(sum_("a.b.c", drop=lambda metadata: answer), {"c": 1}) == kept
    assert value_of(sum_("a.b.c", keep=lambda metadata: answer), {"c": 1}) == (1 if kept is None else None)


@item("M25")
@pytest.mark.parametrize("description", [None, 1, b"words", "lone \ud800"])
def test_M25_a_description_is_a_string_of_utf8(define, description):
    with pytest.raises(MetricError, match="description"):
        define("a.b.c", description=description)


@item("M26")
@pytest.mark.parametrize("options", [["avg"], None, {1: 2}, "x"])
def test_M26_reporter_options_are_a_mapping(define, options):
    with pytest.raises(MetricError, match="reporter_options"):
        define("a.b.c", reporter_options=options)


@item("M27", beat="an unknown option is an error, with the nearest right name")
@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("tgas", "did you mean 'tags'"),
        ("mesurement", "did you mean 'measurement'"),
        ("event", "did you mean 'event_name'"),
        ("zzz", "there are .*description, drop"),
    ],
)
def test_M27_an_unknown_option_is_an_error_with_the_nearest_name(define, option, hint):
    with pytest.raises(MetricError, match=f"unknown option '{option}' for .*{hint}"):
        define("a.b.c", **{option: "x"})


@item("M27", beat="an option of another kind is an error too")
@pytest.mark.parametrize("function", FUNCTIONS[:4], ids=lambda function: function.__name__)
def test_M27_only_a_distribution_takes_buckets(function):
    with pytest.raises(MetricError, match="takes no buckets; did you mean a distribution"):
        function("a.b.c", buckets=[1])
    with pytest.raises(MetricError, match="an option of their own"):
        function("a.b.c", reporter_options={"buckets": [1]})


@item("M28", beat="a unit that is nearly one of the known ones is taken for a slip of the pen, and refused")
@pytest.mark.parametrize("unit", ["second", "byte", "token", "tokens/s", "%"])
def test_M28_one_unit_is_kept_and_converts_nothing(define, unit):
    assert define("a.b.c", unit=unit).unit == unit
    with pytest.raises(MetricError, match="did you mean 'millisecond'"):
        define("a.b.c", unit="milliseconds")


@item("M29")
@pytest.mark.parametrize("unit", [1, None, ("second",), ("second", "second", "second"), ("second", 1), "", " "])
def test_M29_a_unit_is_a_string_or_a_pair(define, unit):
    with pytest.raises(MetricError, match=r"unit of 'a.b.c'"):
        define("a.b.c", unit=unit)


@item("M30")
def test_M30_of_a_pair_the_second_is_the_unit_reported(define):
    for scale in (TIMES, BYTES):
        for old in scale:
            for new in scale:
                assert define("a.b.c", unit=(old, new)).unit == new


@item("M31")
@pytest.mark.parametrize(
    "unit",
    [("byte", "millisecond"), ("millisecond", "byte"), ("byte", "gigabyte"), ("native", "minute"), ("x", "second")],
)
def test_M31_a_pair_is_of_two_times_or_two_amounts_of_bytes(define, unit):
    with pytest.raises(MetricError, match=r"both must be times, or both bytes|unknown unit"):
        define("a.b.c", unit=unit)


@item("M32")
def test_M32_the_units_are_these_and_decimal():
    assert TIMES == {"nanosecond": 1, "microsecond": 10**3, "millisecond": 10**6, "second": 10**9}
    assert BYTES == {"byte": 1, "kilobyte": 10**3, "megabyte": 10**6}
    assert sum_("a.b.c", unit="native").unit == "nanosecond"


@item("M33")
def test_M33_a_unit_to_itself_changes_nothing():
    for unit in (*TIMES, *BYTES):
        metric = sum_("a.b.c", unit=(unit, unit))
        assert metric.measurement == "c"
        assert value_of(metric, {"c": 3}) == 3
        assert type(value_of(metric, {"c": 3})) is int


@item("M34")
def test_M34_native_is_the_nanosecond():
    assert sum_("a.b.c", unit=("native", "nanosecond")) == sum_("a.b.c", unit=("nanosecond", "nanosecond"))
    assert value_of(sum_("a.b.c", unit=("native", "millisecond")), {"c": 3_000_000}) == 3.0


@item("M35", beat="what shrinks is divided, so the result is the nearest float; the BEAM multiplies by a reciprocal")
def test_M35_a_time_that_grows_is_whole_and_one_that_shrinks_is_the_nearest_float():
    def converted(value, *unit):
        return value_of(sum_("a.b.c", unit=unit), {"c": value})

    assert (converted(3, "second", "millisecond"), type(converted(3, "second", "millisecond"))) == (3_000, int)
    assert converted(3, "millisecond", "second") == 0.003
    assert converted(3, "nanosecond", "second") == 3e-9
    assert type(converted(3_000, "millisecond", "second")) is float


@item("M36")
@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        ("byte", "kilobyte", 76_000_000, 76_000),
        ("byte", "megabyte", 76_000_000, 76),
        ("kilobyte", "byte", 76_000, 76_000_000),
        ("kilobyte", "megabyte", 76_000, 76),
        ("megabyte", "byte", 76, 76_000_000),
        ("megabyte", "kilobyte", 76, 76_000),
    ],
)
def test_M36_bytes_are_converted(old, new, before, after):
    assert value_of(sum_("a.b.c", unit=(old, new)), {"c": before}) == after


@item("M37", beat="bytes follow the rule of times: an amount that grows stays an integer")
def test_M37_bytes_that_shrink_are_floats():
    assert type(value_of(sum_("a.b.c", unit=("byte", "kilobyte")), {"c": 3_000})) is float
    assert type(value_of(sum_("a.b.c", unit=("kilobyte", "byte")), {"c": 3})) is int


@item("M38")
@pytest.mark.parametrize("measurements", [{}, {"c": None}])
def test_M38_a_missing_value_is_not_converted_and_raises_nothing(measurements):
    metric = sum_("a.b.c", unit=("second", "millisecond"))

    assert extractor(metric)(measurements, {}) == Skipped("missing_measurement", "c")


@item("M39", beat="what is no number is skipped and counted, with a conversion or without")
@pytest.mark.parametrize("unit", ["unit", ("second", "millisecond")])
@pytest.mark.parametrize("measurement", ["c", lambda measurements: measurements["c"]])
def test_M39_a_value_that_is_no_number_is_skipped(unit, measurement):
    metric = sum_("a.b.c", unit=unit, measurement=measurement)

    assert extractor(metric)({"c": "three"}, {}) == Skipped("not_a_number", "three")


@item("M40", beat="a conversion stands beside the measurement, which stays the key or the function that was given")
@pytest.mark.parametrize("measurement", ["c", lambda measurements: 3, lambda measurements, metadata: 3])
def test_M40_keys_and_functions_of_one_or_two_arguments_are_converted(measurement):
    metric = sum_("a.b.c", unit=("second", "millisecond"), measurement=measurement)

    assert metric.measurement is measurement
    assert value_of(metric, {"c": 3}) == 3_000


@item("M41", beat="False is no number, and said to be none; the BEAM takes it for a missing value")
def test_M41_a_function_that_returns_nothing_gives_no_value():
    def of(answer):
        return extractor(sum_("a.b.c", unit=("second", "millisecond"), measurement=lambda measurements: answer))({}, {})

    assert of(None).reason == "missing_measurement"
    assert of(False).reason == "not_a_number"


@item("M42")
@pytest.mark.parametrize("measurements", [{"c": 7}, {"c": "x"}, {"c": None}, {}])
def test_M42_a_counter_adds_one_whatever_was_measured(measurements):
    assert extractor(counter("a.b.c", unit=("second", "millisecond")))(measurements, {}) == Extracted((), 1)


@item("M43")
def test_M43_a_reporters_duties_are_done_by_the_aggregate():
    """Attached when made, one handler an event, keep before tag_values, a bad event skipped, detached at the end."""
    asked = []

    def seen(metadata):
        asked.append(metadata)
        return {"x": "made"}

    bus = Bus()
    metrics = [
        sum_("a.b.size", tags=["x"], tag_values=seen, keep=lambda metadata: "raw" in metadata),
        counter("a.b.count"),
        counter("a.c.count"),
    ]
    with Aggregate(metrics, bus=bus) as aggregate:
        assert [handler.event_name for handler in bus.list_handlers()] == ["a.b", "a.c"]
        bus.execute("a.b", {"size": 3}, {"raw": 1})
        bus.execute("a.b", {"size": 3}, {})
        bus.execute("a.b", {"size": None}, {"raw": 1})

        assert values(aggregate) == {("made",): 3}
        assert asked == [{"raw": 1}]
        assert aggregate.skipped() == {("a.b.size", "missing_measurement"): 1}
    assert bus.list_handlers() == []


@item("M44")
def test_M44_five_kinds_have_one_shape():
    kinds = [Counter, Sum, LastValue, Summary, Distribution]

    assert [type(function("a.b.c")) for function in FUNCTIONS] == kinds
    assert {kind.__struct_fields__ for kind in kinds} == {Metric.__struct_fields__}
    assert set(Metric.__struct_fields__) >= {
        *("name", "event_name", "measurement", "tags", "tag_values", "keep"),
        *("description", "unit", "reporter_options"),
    }
    with pytest.raises(AttributeError):
        counter("a.b.c").name = "x"
