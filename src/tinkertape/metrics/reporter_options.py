"""What our own reporters read of a definition's `reporter_options`; a slip is found where the definition is written.

prometheus_type  "counter" or "gauge": what a sum is to Prometheus
quantiles        those of a summary that Prometheus is shown
sampling_rate    the share of a summary's or distribution's values that is sent to StatsD
report_as        "counter": what a sum is to StatsD in its standard dialect
monotonic        False: a sum may go down, to OpenTelemetry

Others' reporters may have more, but none that is so near to one of these.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from tinkertape.errors import MetricError


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _are_quantiles(given: Any) -> bool:
    return (
        isinstance(given, Collection) and len(given) > 0 and all(_is_number(each) and 0 <= each <= 1 for each in given)
    )


VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "prometheus_type": (lambda given: given in ("counter", "gauge"), "use 'counter' or 'gauge'"),
    "quantiles": (_are_quantiles, "give a list of numbers from 0 to 1"),
    "sampling_rate": (lambda given: _is_number(given) and 0 < given <= 1, "want a number above 0 and up to 1"),
    "report_as": (lambda given: given == "counter", "use 'counter', or leave it out"),
    "monotonic": (lambda given: isinstance(given, bool), "use True or False"),
}


def read_reporter_options(given: object, name: str) -> Mapping[str, Any]:
    """The options of the metric of this name, as they are kept: None is left out. Raises `MetricError`."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise MetricError(f"the reporter_options of {name!r} are a mapping with strings as keys, got {given!r}")
    if "buckets" in given:
        raise MetricError(f"buckets of {name!r} are an option of their own, not one of reporter_options")
    options = {option: value for option, value in given.items() if value is not None}
    for option, value in options.items():
        if option in VALUES:
            is_right, want = VALUES[option]
            if not is_right(value):
                raise MetricError(f"{option} of {name!r} is {value!r}; {want}")
        elif nearest := difflib.get_close_matches(option, VALUES, n=1, cutoff=0.8):
            raise MetricError(
                f"unknown option {option!r} in reporter_options of {name!r}; did you mean {nearest[0]!r}?"
            )
    return MappingProxyType(options)
