"""The fine probe: while something is in flight the monitor wakes each 20 ms, and says by the second how late it was.

One long stall is told by itself; many short ones are not, as when threads that compute in Python take turns for the
GIL: the SDK then comes late by as much, a little each time (facts/partition.md §7.5). A wake each 5 ms, as it was tried
there, takes 0.9 % of a processor for the sleep alone; each 20 ms samples the same lateness for a quarter of that.

Pure: the times come in, nothing is read.
"""

from __future__ import annotations

LATE_MIN_NS = 2_000_000  # less is how exact a sleep is
WINDOW_NS = 1_000_000_000


class Window:
    """A second's wakes, and how late they were."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.wakes = 0
        self._began_ns = 0
        self._ended_ns = 0
        self._count = 0
        self._total_ns = 0
        self._longest_ns = 0

    def add(self, asked_ns: int, woke_ns: int, period_ns: int) -> bool:
        """One wake, asked for at `asked_ns` after a sleep of `period_ns`; is the second over?"""
        if not self.wakes:
            self._began_ns = asked_ns - period_ns
        self.wakes += 1
        self._ended_ns = woke_ns
        late_ns = woke_ns - asked_ns
        if late_ns > LATE_MIN_NS:
            self._count += 1
            self._total_ns += late_ns
            self._longest_ns = max(self._longest_ns, late_ns)
        return woke_ns - self._began_ns >= WINDOW_NS

    def close(self) -> dict[str, int] | None:
        """What it saw, None if nothing was late; a new one begins."""
        seen = {
            "duration": self._ended_ns - self._began_ns,
            "wakes": self.wakes,
            "count": self._count,
            "total": self._total_ns,
            "longest": self._longest_ns,
            "monotonic_time": self._ended_ns,
        }
        self._begin()
        return seen if seen["count"] else None
