"""How much and how long: what means nothing is refused where it is given, by every reporter alike."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import (
    Aggregate,
    ConsoleReporter,
    OpenTelemetryReporter,
    PrometheusReporter,
    StatsDReporter,
    counter,
)

MAKERS: dict[Callable[..., Any], tuple[str, ...]] = {
    Aggregate: ("series_max", "idle_s"),
    ConsoleReporter: ("series_max", "period_s"),
    OpenTelemetryReporter: ("series_max", "period_s", "timeout_s"),
    PrometheusReporter: ("series_max", "idle_s"),
    StatsDReporter: ("series_max", "buffer_max", "period_s", "resolve_period_s", "idle_s"),
}
WRONG_SECONDS = [math.nan, math.inf, -1, True, "1", 10**400]
WRONG_COUNTS = [math.nan, math.inf, -1, True, "1", 0, 2.5, None]
OPTIONS = [
    pytest.param(make, option, id=f"{make.__name__}-{option}") for make, all_ in MAKERS.items() for option in all_
]


@pytest.mark.parametrize(("make", "option"), OPTIONS)
def test_a_limit_that_means_nothing_is_refused_by_name_with_what_is_allowed(
    make: Callable[..., Any], option: str
) -> None:
    bus = Bus()
    is_count = option.endswith("_max")
    wanted = "want a whole number, at least 1" if is_count else "want seconds (from|above) 0 up to 1e"
    for value in WRONG_COUNTS if is_count else WRONG_SECONDS:
        with pytest.raises(MetricError, match=f"^{option} is .*; {wanted}"):
            make([counter("a.b.count")], bus=bus, **{option: value})

    assert bus.list_handlers() == []


@pytest.mark.parametrize("option", ["period_s", "timeout_s"])
def test_a_period_is_no_none(option: str) -> None:
    for make, options in MAKERS.items():
        if option in options:
            with pytest.raises(MetricError, match=f"{option} is None"):
                make([counter("a.b.count")], bus=Bus(), **{option: None})


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_what_is_no_list_of_definitions_is_refused_with_what_to_write(make: Callable[..., Any]) -> None:
    bus = Bus()
    for wrong in ("a.b.count", counter("a.b.count"), ["a.b.count"], [None], (each for each in ())):
        with pytest.raises(MetricError, match=r"want (a list of )?counter\(…\)"):
            make(wrong, bus=bus)

    assert bus.list_handlers() == []


@pytest.mark.parametrize(
    ("make", "option", "wrong"),
    [
        (ConsoleReporter, "console", sys.stderr),
        (OpenTelemetryReporter, "meter_provider", "global"),
        (PrometheusReporter, "registry", {}),
        (PrometheusReporter, "directory", 3),
        (StatsDReporter, "family", ["ipv4"]),
    ],
)
def test_what_is_not_what_a_reporter_works_with_is_refused_before_anything_is_attached(
    make: Callable[..., Any], option: str, wrong: object
) -> None:
    bus = Bus()
    with pytest.raises(MetricError, match=f"{option} is .*; want"):
        make([counter("a.b.count")], bus=bus, **{option: wrong})

    assert bus.list_handlers() == []
