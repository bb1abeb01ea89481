"""What is usual in this run: the median compute of one operation at one size.

Sizes are alike within half an octave (a factor of 1.4) of tokens; what has no size is one group an operation. Only
calls that ended well and were never paused count, so that "usual" is not made of what it is compared with.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Hashable
from typing import TypeVar

from tinkertape.diagnosis.records import Operation

KEPT = 512  # values a group: enough for a median, bounded for a run of a million steps
GROUPS_KEPT = 256  # a run may train a new model, or sample from one, at each step

T = TypeVar("T")


class History:
    """Compute times by operation and size, in nanoseconds."""

    def __init__(self) -> None:
        self._sorted: dict[Hashable, list[int]] = {}

    def add(self, operation: Operation, compute_ns: int) -> None:
        """Remember one call's compute."""
        keep_sorted(newest(self._sorted, group_of(operation), list), compute_ns, KEPT)

    def count(self, operation: Operation) -> int:
        """How many calls of the same operation and size are known."""
        return len(self._sorted.get(group_of(operation), ()))

    def usual_ns(self, operation: Operation, *, least: int) -> int | None:
        """The median compute of the same operation and size, or None while fewer than `least` are known."""
        values = self._sorted.get(group_of(operation), [])
        return median(values) if values and len(values) >= least else None

    def spread_ns(self, operation: Operation) -> int:
        """The median distance from the median."""
        values = self._sorted.get(group_of(operation), [])
        if not values:
            return 0
        middle = median(values)
        return median(sorted(abs(value - middle) for value in values))


def newest(groups: dict[Hashable, T], key: Hashable, make: Callable[[], T]) -> T:
    """The group of a key, made where there is none; of too many, the one that was not used for longest is dropped."""
    group = groups.pop(key, None)
    groups[key] = known = make() if group is None else group
    if len(groups) > GROUPS_KEPT:
        del groups[next(iter(groups))]
    return known


def keep_sorted(values: list[int], value: int, most: int) -> None:
    """Put a value into a sorted list. Above `most`, both ends are thinned out: the median stays."""
    insort(values, value)
    if len(values) > most:
        del values[0], values[-1]


def median(values: list[int]) -> int:
    """The median of a sorted, non-empty list, rounded down."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) // 2


def group_of(operation: Operation) -> Hashable:
    """Operation, model and size: calls of one group are comparable."""
    measured = operation.measurements
    size = measured.get("token_count") or measured.get("prompt_tokens") or measured.get("payload_bytes") or 0
    return (operation.name, operation.model_id, _octaves(size), _octaves(measured.get("sampled_tokens") or 0))


def is_usual(operation: Operation) -> bool:
    """May this call count as usual? It ended well, was not paused, asked the service for something, and was answered
    each time.
    """
    if operation.ended_ns is None or operation.failure is not None or not operation.requests:
        return False
    if any(attempt.broken for line in operation.lines.values() for attempt in line.attempts):
        return False
    polls = [poll for request in operation.requests.values() for poll in request.polls]
    return not any(poll.outcome == "error" or poll.paused for poll in polls)


def was_hidden(operation: Operation) -> bool:
    """Was its compute not seen whole: was its queue held, or did a poll for it break?"""
    return any(poll.paused or poll.broken for request in operation.requests.values() for poll in request.polls)


def _octaves(size: object) -> int:
    return round(2 * math.log2(size)) if isinstance(size, int | float) and size >= 1 else -1
