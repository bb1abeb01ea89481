"""When a measurement is due: a grid of ticks that never moves, whatever a run took.

Pure: the time comes in, nothing is read. All times are ns of the monotonic clock.
"""

from __future__ import annotations

BACK_OFF_MAX_NS = 300_000_000_000  # a failing measurement is tried again at least so often, or each period if longer


class Schedule:
    """The ticks of one measurement: `began_ns`, and each `period_ns` after it.

    Each tick is taken, skipped, or passed over while a failing measurement is left alone; only `skipped` is counted
    here, by whoever asks.
    """

    __slots__ = ("due_ns", "failures", "period_ns", "skipped")

    def __init__(self, period_ns: int, began_ns: int = 0) -> None:
        self.period_ns = period_ns
        self.due_ns = began_ns  # the next tick
        self.failures = 0  # in a row
        self.skipped = 0

    def begin(self, began_ns: int) -> None:
        """Lay the grid anew: the first tick is at `began_ns`."""
        self.due_ns = began_ns

    def take(self, now_ns: int) -> None:
        """It runs now, for the newest tick that is due; those before were missed, and are skipped."""
        self.skip(now_ns)
        self.skipped -= 1

    def skip(self, now_ns: int) -> None:
        """It cannot run now: every tick that is due is skipped."""
        ticks = (now_ns - self.due_ns) // self.period_ns + 1
        if ticks > 0:
            self.skipped += ticks
            self.due_ns += ticks * self.period_ns

    def succeed(self) -> None:
        self.failures = 0

    def fail(self, now_ns: int) -> int:
        """It failed: the next tick is tried, then the second after, the fourth, and so on; how long until then, ns."""
        self.failures += 1
        next_ns = self.due_ns + max(0, -((self.due_ns - now_ns) // self.period_ns)) * self.period_ns
        most = max(1, BACK_OFF_MAX_NS // self.period_ns)
        ticks = min(1 << min(self.failures - 1, 62), most)
        self.due_ns = next_ns + (ticks - 1) * self.period_ns
        return max(0, self.due_ns - now_ns)
