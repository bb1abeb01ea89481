"""From an event to tags and a value, or why it was skipped."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from fractions import Fraction

import numpy
import pytest

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import Aggregate, counter, sum_
from tinkertape.metrics.extraction import Extracted, Skipped, extractor, tag_text


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (numpy.int64(3), 3),
        (numpy.float32(0.5), 0.5),
        (Fraction(1, 2), 0.5),
        (Decimal("0.25"), 0.25),
    ],
    ids=lambda each: type(each).__name__,
)
def test_numbers_of_other_kinds_become_pythons(given, value):
    found = extractor(sum_("a.b.c"))({"c": given}, {})

    assert found == Extracted((), value)
    assert type(found.value) in (int, float)


@pytest.mark.parametrize("given", [Fraction(10**400), Decimal("1e999"), Decimal("sNaN"), 10**251])
def test_numbers_that_are_no_floats_are_not_finite(given):
    assert extractor(sum_("a.b.c"))({"c": given}, {}) == Skipped("not_finite", given)


def test_a_truth_value_of_numpy_is_no_number():
    assert extractor(sum_("a.b.c"))({"c": numpy.True_}, {}).reason == "not_a_number"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Colour.RED, "1"),
        (Decimal("2.00"), "2"),
        (numpy.int64(2), "2"),
        (1e300, str(int(1e300))[:255] + "…"),
        (-0.0, "0"),
        (10**400, "1" + "0" * 254 + "…"),  # no float is so large
    ],
    ids=str,
)
def test_tags_of_equal_numbers_are_equal_texts(given, text):
    assert tag_text(given) == text


@pytest.mark.parametrize("tags", [["x"], lambda metadata: {f"\ud800{name}": text for name, text in metadata.items()}])
def test_half_a_character_is_a_question_mark_and_so_one_series_with_what_looks_like_it(tags):
    with Aggregate([counter("a.b.count", tags=tags)], bus=(bus := Bus())) as aggregate:
        for half in ("\ud800", "\udfff", "?"):
            bus.execute("a.b", {}, {"x": half})
        [family] = aggregate.collect()

    assert [series.value for series in family.series] == [3]
    assert all(text.encode() for pair in family.series[0].tags for text in pair)


def test_a_tag_with_half_a_character_in_its_name_is_refused():
    with pytest.raises(MetricError, match="UTF-8"):
        counter("a.b.count", tags=["x\ud800"])


def test_an_extractor_never_raises():
    def fails(metadata):
        raise RuntimeError

    assert extractor(counter("a.b.c", keep=fails))({}, {}).reason == "error"
    assert extractor(counter("a.b.c", tags=["x"]))(None, None).reason == "error"


@pytest.mark.parametrize(
    ("skipped", "words"),
    [
        (Skipped("missing_tag", "x"), "missing tag 'x'"),
        (Skipped("not_a_number", "secret"), "a str is not a number"),
        (Skipped("error", KeyError("secret")), "a function of its definition raised KeyError"),
    ],
)
def test_a_reason_in_words_tells_no_value(skipped, words):
    assert skipped.describe() == words
