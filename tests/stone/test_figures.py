"""How a figure reads, wherever it stands."""

from __future__ import annotations

import pytest

from tinkertape import figures
from tinkertape.figures import THIN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.00004, "0"),
        (0.0066, "6.6 ms"),
        (0.084, "84 ms"),
        (0.0998, "0.10 s"),
        (0.27, "0.27 s"),
        (47.0, "47.0 s"),
        (99.5, "1 min 40 s"),
        (141, "2 min 21 s"),
        (3840, "1 h 4 min"),
    ],
)
def test_seconds_have_a_unit_and_three_digits_at_most(value: float | None, text: str) -> None:
    assert figures.plain(figures.seconds(value)) == text


def test_a_share_below_one_per_cent_is_not_zero() -> None:
    shares = [figures.percent(share) for share in (None, 0, 0.004, 0.33, 0.995, 1)]

    assert shares == ["–", f"0{THIN}%", f"<{THIN}1{THIN}%", f"33{THIN}%", f"100{THIN}%", f"100{THIN}%"]


def test_thousands_are_set_apart() -> None:
    assert [figures.count(number) for number in (None, 12, 1284067)] == ["–", "12", f"1{THIN}284{THIN}067"]


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [
        (2.81, 3.12, "2.8 to 3.1 s"),
        (0.02, 1.5, "20 ms to 1.5 s"),
        (59.0, 141.0, "59.0 s to 2 min 21 s"),
        (1.0, 1.001, ""),
        (None, 1.0, ""),
    ],
)
def test_bounds_share_their_unit_and_are_not_told_where_they_read_alike(
    least: float | None, most: float | None, text: str
) -> None:
    assert figures.plain(figures.between(least, most)) == text


def test_a_figure_that_is_not_measured_says_so() -> None:
    marked = {quality: figures.marked("2 s", quality) for quality in ("inferred", "bounded", "measured")}

    assert marked == {"inferred": f"≈{THIN}2 s", "bounded": f"≤{THIN}2 s", "measured": "2 s"}


@pytest.mark.parametrize(
    ("value", "least", "most", "mark"),
    [
        (4.3, 4.0, 4.3, "bounded"),
        (4.0, 4.0, 4.3, "inferred"),
        (4.1, 4.0, 4.3, "inferred"),
        (4.3, 4.29, 4.3, "measured"),
    ],
    ids=["its upper bound", "its lower bound", "between them", "they read alike"],
)
def test_at_most_is_said_of_an_upper_bound_only(value: float, least: float, most: float, mark: str) -> None:
    assert figures.marked_as("bounded", value, least, most) == mark


@pytest.mark.parametrize(
    ("summands", "quality"),
    [
        ([(9.0, "measured"), (1.0, "inferred")], "inferred"),
        ([(9.2, "measured"), (0.8, "inferred")], "measured"),
        ([(1.0, "bounded"), (1.0, "inferred")], "inferred"),
        ([(9.0, "measured"), (0.5, "bounded"), (0.5, "bounded")], "bounded"),
        ([(0.0, "inferred")], "measured"),
        ([], "measured"),
    ],
)
def test_a_sum_is_as_well_known_as_what_a_tenth_of_it_is(summands: list[tuple[float, str]], quality: str) -> None:
    assert figures.sum_marked_as(summands) == quality
