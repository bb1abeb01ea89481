"""Round figures for axes. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def round_step(span: float, parts: int) -> float:
    """The round distance (1, 2 or 5 times a power of ten) that cuts a span into at most about so many parts."""
    if span <= 0:
        return 1.0
    rough = span / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def ticks(low: float, high: float, parts: int) -> list[float]:
    """Round figures from the last one not above `low` to the first one not below `high`."""
    step = round_step(high - low, parts)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def time_ticks(wall_s: float, parts: int) -> list[float]:
    """Round times from 0 to the end, at most about so many: in seconds, minutes or hours."""
    steps = [factor * 10.0**power for power in range(-4, 1) for factor in (1, 2, 5)] + [
        10,
        15,
        30,
        60,
        120,
        300,
        600,
        900,
        1800,
        3600,
        7200,
        14400,
        21600,
        43200,
        86400,
    ]
    step = next((step for step in steps if wall_s / step <= parts), 86400.0 * max(1, round(wall_s / parts / 86400)))
    return [step * index for index in range(int(wall_s / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 3, 10, 30 … inside the span of a logarithmic axis; only powers of ten where they would be too many."""
    found = [factor * 10.0**power for power in range(-6, 7) for factor in (1, 3) if low <= factor * 10.0**power <= high]
    if len(found) > 5:
        found = [10.0**power for power in range(-6, 7) if low <= 10.0**power <= high]
    return found


def quantile(values: Sequence[float], at: float) -> float:
    """The value at a share of the sorted values, between two by line. Raises IndexError when there are none."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * at
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def label_every(count: int, labels: int = 8) -> int:
    """Label every so many of `count` places, so that at most about `labels` are labelled: 1, 2, 5, 10, 20 …"""
    return max(1, int(round_step(count, labels))) if count > labels else 1
