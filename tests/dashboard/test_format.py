"""Rates and times of day, as the pages write them."""

from __future__ import annotations

import pytest

from tinkertape.dashboard.format import clock, moment, rate


def test_a_rate_is_given_in_the_unit_that_reads_best():
    rates = [rate(steps, wall) for steps, wall in ((30, 141), (0, 5), (30, 3600), (3, 7200), (5, None))]

    assert rates == ["0.21 steps/s", "0", "0.50 steps/min", "1.5 steps/h", "–"]


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", None])
def test_what_is_no_time_is_unknown(text):
    assert clock(moment(text)) == "–"


def test_a_time_is_shown_in_utc_until_the_browser_knows_better():
    at = moment("2026-11-24T03:04:11.123456+01:00")

    assert [clock(at, form) for form in ("clock", "ms", "day")] == ["02:04:11", "02:04:11.123", "24 Nov, 02:04:11"]
