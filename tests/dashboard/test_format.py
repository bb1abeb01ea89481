"""Numbers and times, as the pages write them."""

from __future__ import annotations

import pytest

from tinkertape.dashboard import format as figures

T = "\u202f"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.0066, f"6.6{T}ms"),
        (0.084, f"84{T}ms"),
        (0.27, f"0.27{T}s"),
        (47.0, f"47.0{T}s"),
        (99.5, f"1{T}min 40{T}s"),
        (141, f"2{T}min 21{T}s"),
        (3840, f"1{T}h 4{T}min"),
    ],
)
def test_seconds_have_three_figures_at_most(value, text):
    assert figures.seconds(value) == text


def test_a_share_below_one_per_cent_is_not_zero():
    assert [figures.percent(share) for share in (0, 0.004, 0.33, 1)] == [f"0{T}%", f"<{T}1{T}%", f"33{T}%", f"100{T}%"]


def test_a_rate_is_given_in_the_unit_that_reads_best():
    rates = [figures.rate(steps, wall) for steps, wall in ((30, 141), (0, 5), (30, 3600), (3, 7200), (5, None))]

    assert rates == ["0.21 steps/s", "0", "0.50 steps/min", "1.5 steps/h", "–"]


def test_thousands_are_set_apart():
    assert figures.count(1284067) == f"1{T}284{T}067"


def test_a_figure_that_is_not_measured_says_so():
    assert figures.marked("2 s", "inferred").startswith("≈")
    assert figures.marked("2 s", "bounded").startswith("≤")
    assert figures.marked("2 s", "measured") == "2 s"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", None])
def test_what_is_no_time_is_unknown(text):
    assert figures.clock(figures.moment(text)) == "–"


def test_a_time_is_shown_in_utc_until_the_browser_knows_better():
    moment = figures.moment("2026-11-24T03:04:11.123456+01:00")

    assert [figures.clock(moment, form) for form in ("clock", "ms", "day")] == [
        "02:04:11",
        "02:04:11.123",
        "24 Nov, 02:04:11",
    ]
