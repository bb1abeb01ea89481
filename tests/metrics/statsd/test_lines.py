"""What a program gives is read back as it was, or as the escaping says; nothing of it becomes protocol."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metrics.reporters.receiver import gauge_after, samples_of

from tinkertape.errors import MetricError
from tinkertape.metrics import counter, distribution, last_value, sum_, summary
from tinkertape.metrics.statsd.lines import name_text, number_text, segment_text, stream_of, tag_text
from tinkertape.metrics.values import OVERFLOW

KINDS = [counter, sum_, last_value, summary, distribution]
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(-1e250, 1e250)
TEXT = st.text(max_size=40) | st.text("|,#:@\n\r\t _.;=%\\\x00\x85\u2028aé🙂", max_size=40)
NAMES = (
    st.text(min_size=1, max_size=30).map(lambda text: "".join(text.split()).strip(".").replace("..", ".")).filter(bool)
)
TAGS = st.lists(st.tuples(TEXT, TEXT), max_size=5).map(tuple)
HARMLESS = st.text("abcXYZ019_-", min_size=1, max_size=20)


@given(NUMBERS)
def test_a_number_is_read_back_as_itself_and_has_no_exponent(value):
    text = number_text(value)

    assert type(value)(text) == value
    assert "e" not in text.lower()
    assert Decimal(text) == Decimal(repr(value))


@pytest.mark.parametrize("value", [0, 0.0, -0.0])
def test_0_has_no_sign(value):
    assert not number_text(value).startswith("-")


@given(st.sampled_from(KINDS), NAMES, TAGS, NUMBERS, st.text(max_size=10))
def test_whatever_is_in_names_and_tags_a_line_of_datadogs_has_just_our_fields(kind, name, tags, value, prefix):
    metric = kind(f"x{name}", event_name="a.b", reporter_options={})
    line = stream_of(0, metric, tags, "datadog", prefix).line(value)

    [sample] = samples_of([line.text], "datadog")

    assert sample.values == (float(number_text(value)),)
    assert [f"{key}:{text}" for key, text in sample.tags] == [tag_text(key, text) for key, text in tags]
    assert sample.name == name_text(metric.name, "datadog", prefix)


@given(st.sampled_from([counter, sum_]), NAMES, TAGS, NUMBERS, st.text("ab|:\n", max_size=10))
def test_whatever_is_in_names_and_tags_a_line_of_the_standard_dialect_has_just_our_fields(
    kind, name, tags, value, prefix
):
    metric = kind(name, event_name="a.b")
    stream = stream_of(0, metric, tags, "standard", prefix)

    [sample] = samples_of([stream.line(value).text], "standard")

    assert sample.values == (float(number_text(value)),)
    assert sample.name.count(".") == name_text(metric.name, "standard", prefix).count(".") + len(tags)


@given(st.lists(st.tuples(HARMLESS, st.text("abcXYZ019_-.:/ é🙂", max_size=20)), max_size=5).map(tuple))
def test_what_means_nothing_to_the_protocol_is_read_back_as_it_was(tags):
    [sample] = samples_of([stream_of(0, counter("a.b"), tags, "datadog", "").line(1).text], "datadog")

    assert sample.tags == tags


@given(TEXT, TEXT)
def test_escaping_what_is_escaped_changes_nothing(key, value):
    text = tag_text(key, value)

    assert tag_text(*text.split(":", 1)) == text
    assert segment_text(segment_text(value)) == segment_text(value) != ""


@given(st.lists(st.integers(-100, 100) | st.floats(-100, 100), min_size=1, max_size=20))
def test_a_gauge_of_the_standard_dialect_is_what_it_was_set_to_last_whatever_it_was_before(values):
    stream, gauge = stream_of(0, last_value("a.b"), (), "standard", ""), None
    for value in values:
        for sample in samples_of([stream.line(value).text], "standard"):
            gauge = gauge_after(gauge, sample.text.partition(":")[2].partition("|")[0])
        assert gauge == value


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=20))
def test_a_sum_of_the_standard_dialect_adds_up_in_its_gauge(values):
    stream, gauge = stream_of(0, sum_("a.b"), (), "standard", ""), None
    for value in values:
        [sample] = samples_of([stream.line(value).text], "standard")
        gauge = gauge_after(gauge, sample.text.partition(":")[2].partition("|")[0])

    assert gauge == sum(values)


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.integers(20, 400), TAGS)
def test_packed_values_are_all_there_in_order_in_as_few_lines_as_there_can_be(values, mtu, tags):
    stream = stream_of(0, distribution("a.b"), tags, "datadog", "")
    single = [len(stream.line(value).text) for value in values]

    lines = stream.packed(values, mtu)

    samples = samples_of([line.text for line in lines], "datadog")
    assert [each for sample in samples for each in sample.values] == [float(number_text(value)) for value in values]
    assert [line.values for line in lines] == [len(sample.values) for sample in samples]
    assert all(len(line.text) <= max(mtu, *single) for line in lines)
    assert all(len(line.text) <= mtu or line.values == 1 for line in lines)
    position = 0
    for line in lines[:-1]:
        position += line.values
        assert len(line.text) + 1 + len(number_text(values[position])) > mtu


def test_the_overflow_series_has_a_place_of_its_own():
    metric = counter("a.b.count", tags=["x", "y"])

    assert stream_of(0, metric, OVERFLOW, "standard", "").line(1).text == b"a.b.count.otel_metric_overflow:1|c"
    assert stream_of(0, metric, OVERFLOW, "datadog", "").line(1).text == b"a.b.count:1|c|#otel.metric.overflow:true"


@pytest.mark.parametrize("formatter", ["standard", "datadog"])
def test_a_rate_has_no_exponent(formatter):
    metric = summary("a.b", reporter_options={"sampling_rate": 1e-7})

    assert stream_of(0, metric, (), formatter, "").line(1).text.endswith(b"|@0.0000001")


def test_a_name_without_a_letter_is_refused_where_datadog_would_drop_it():
    with pytest.raises(MetricError, match="no letter that Datadog takes"):
        stream_of(0, counter("1.é", event_name="a"), (), "datadog", "")

    assert stream_of(0, counter("1.é", event_name="a"), (), "datadog", "app").line(1).text == b"app.1._:1|c"
    assert math.isfinite(stream_of(0, counter("1.é", event_name="a"), (), "standard", "").line(1).values)
