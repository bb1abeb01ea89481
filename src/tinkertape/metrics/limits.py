"""What a user gives an aggregate or a reporter: what means nothing is refused where it is given."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tinkertape.errors import MetricError
from tinkertape.metrics.definitions import Metric

SECONDS_MAX = 1e9  # 30 years: more is a mistake, and is no timeout to the system


def check_metrics(given: Any) -> None:
    """Raises `MetricError` for what is no list of definitions."""
    if isinstance(given, str) or not isinstance(given, Collection):
        raise MetricError(f"metrics are {given!r}; want a list of counter(…), sum_(…) and so on")
    for each in given:
        if not isinstance(each, Metric):
            raise MetricError(f"{each!r} in metrics is no definition; want counter(…), sum_(…) and so on")


def check_count(name: str, given: Any) -> None:
    """Raises `MetricError` for what is no whole number of at least 1."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise MetricError(f"{name} is {given!r}; want a whole number, at least 1")


def check_seconds(name: str, given: Any, *, or_none: bool = False, or_zero: bool = False) -> None:
    """Raises `MetricError` for what is no number of seconds: text, bool, NaN, infinite, 0 or below."""
    if given is None and or_none:
        return
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if is_number and (0 < given <= SECONDS_MAX or (or_zero and given == 0)):
        return
    wanted = f"seconds {'from' if or_zero else 'above'} 0 up to {SECONDS_MAX:.0e}{', or None' if or_none else ''}"
    raise MetricError(f"{name} is {given!r}; want {wanted}")
