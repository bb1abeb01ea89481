"""Counts by key, from any thread and with no lock: each thread adds to numbers of its own.

A signal's handler may count, too, wherever it comes: between reading and writing a number these lines call nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Generic, TypeVar

K = TypeVar("K")


class Tally(Generic[K]):
    """How many of each key."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, K], int] = {}  # a thread's number may be another's later: it counts on

    def add(self, key: K, more: int = 1) -> None:
        """So many more."""
        mine, numbers = (threading.get_ident(), key), self._numbers
        if mine in numbers:
            numbers[mine] += more
        else:
            numbers[mine] = more

    def total(self) -> Counter[K]:
        """The sum over all threads, so far."""
        found: Counter[K] = Counter()
        for (_, key), number in self._numbers.copy().items():
            found[key] += number
        return found
