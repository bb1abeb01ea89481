"""What an aggregate holds, as plain values."""

from __future__ import annotations

from typing import Any

from tinkertape.metrics import Aggregate


def values(aggregate: Aggregate, place: int = 0) -> dict[tuple[str, ...], Any]:
    """Of one metric: value by the tags' texts."""
    series = aggregate.collect()[place].series
    return {tuple(text for _, text in each.tags): each.value for each in series}


def value(aggregate: Aggregate, place: int = 0) -> Any:
    """Of one metric without tags."""
    return values(aggregate, place)[()]
