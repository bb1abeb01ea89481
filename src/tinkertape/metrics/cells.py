"""The mutable state of one series in one thread: a short list, cheap to change, and the lines of code that change it.

    counter       count
    sum           whole, part, error · count
    last value    (time, value)
    distribution  whole, part, error · least, greatest · a count for each bucket …
    summary       whole, part, error · least, greatest · buckets above 0, buckets below, zeros

`whole` is the sum of integers, exact; `part` of floats, with what its additions rounded off in `error` (Knuth's
TwoSum). Values are in the unit measured. No place is counted from the end: the interpreter is quicker from the front.
One thread changes a cell; any may copy it. Between reading and writing an item these lines call nothing, so that not
even a signal's handler, which may execute events too, comes between.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from tinkertape.metrics.definitions import Kind, Metric
from tinkertape.metrics.extraction import usable_number
from tinkertape.metrics.sketch import SCALE, bucket_of
from tinkertape.metrics.states import (
    BucketState,
    CountState,
    ExactSum,
    LastState,
    SketchState,
    State,
    SumState,
    raw_bounds,
)

Cell = list[Any]
PLAIN = 2**62  # up to here a value needs no second look, on its way into a sum
COUNTS_FROM = 5  # the place of a distribution's first count

_ADD = """
if kind is int:
 cell[0] += value
else:
 before = cell[1]
 after = before + value
 rounded = after - before
 cell[2] += (before - (after - rounded)) + (value - rounded)
 cell[1] = after
"""
LOOK_TWICE = """
if not -PLAIN < value < PLAIN:
 usable(value, metric_{number})
"""
_EXTREMES = """
if not cell[3] <= value <= cell[4]:
 widen(cell, value, metric_{number})
"""
_SKETCH = """
if value > 0:
 try:
  cell[5][log(value) * SCALE // 1] += 1
 except KeyError:
  sketch(cell, value)
else:
 sketch(cell, value)
"""
_UPDATES: Mapping[Kind, str] = {
    "counter": "cell[0] += 1",
    "sum": LOOK_TWICE + _ADD + "cell[3] += 1",
    "last_value": LOOK_TWICE + "cell[0] = now(), value",
    "distribution": _EXTREMES + "cell[bisect_left(bounds_{number}, value)] += 1" + _ADD,
    "summary": _EXTREMES + _SKETCH + _ADD,
}


def update_lines(metric: Metric, number: int) -> list[str]:
    """The code that takes `value`, of type `kind` (int or float), into `cell`; raises `Unusable` before any change."""
    return [line for line in _UPDATES[metric.kind].format(number=number).splitlines() if line]


def update_names(metric: Metric, number: int) -> dict[str, Any]:
    """What those lines name."""
    return {
        "PLAIN": PLAIN,
        "SCALE": SCALE,
        "bisect_left": bisect_left,
        f"bounds_{number}": (-math.inf,) * COUNTS_FROM + raw_bounds(metric),  # what is found is a place in the cell
        "log": math.log,
        "now": time.monotonic_ns,
        "sketch": _sketch,
        "usable": usable_number,
        "widen": _widen,
    }


def _widen(cell: Cell, value: int | float, metric: Metric) -> None:
    """A value beyond all before, which is also where one that is not usable is found out."""
    usable_number(value, metric)
    cell[3], cell[4] = min(cell[3], value), max(cell[4], value)


def _sketch(cell: Cell, value: int | float) -> None:
    """A value at or below 0, or the first of its bucket."""
    bucket = bucket_of(abs(value)) if value else None
    if bucket is None:
        cell[7] += 1
        return
    buckets = cell[5] if value > 0 else cell[6]
    if bucket in buckets:
        buckets[bucket] += 1
    else:
        buckets[bucket] = 1


def new_cell(metric: Metric) -> Cell:
    """The cell of a series before its first value."""
    total, extremes = [0, 0.0, 0.0], [math.inf, -math.inf]
    match metric.kind:
        case "counter":
            return [0]
        case "sum":
            return [*total, 0]
        case "last_value":
            return [(-1, -math.inf)]
        case "distribution":
            return [*total, *extremes, *[0] * (len(metric.buckets or ()) + 1)]
        case "summary":
            return [*total, *extremes, {}, {}, 0]


def read_cell(metric: Metric, cell: Cell) -> State:
    """A cell's state now. A value that is being added at this moment may be counted and not yet be in the sum."""
    cell = cell.copy()
    match metric.kind:
        case "counter":
            return CountState(cell[0])
        case "sum":
            return SumState(_total(cell), cell[3])
        case "last_value":
            return LastState(*cell[0])
        case "distribution":
            return BucketState(tuple(cell[COUNTS_FROM:]), _total(cell), cell[3], cell[4])
        case "summary":
            return SketchState(cell[6].copy(), cell[7], cell[5].copy(), _total(cell), cell[3], cell[4])


def _total(cell: Cell) -> ExactSum:
    whole, part, error = cell[:3]
    return ExactSum.of(whole, part, error) if part or error else ExactSum(whole)
