"""How late a stamp may be: the SDK's loop ran something else, had no processor, or could not get the GIL.

A stamp is taken when the loop runs its callback, not when the answer came. Two things delay it, one after the other:
the threads of the exchange wait for a processor (`starved`, the kernel's count over the whole exchange: what of it came
after the answer is at most that), and the loop is in a busy run that began before (facts/partition.md §7.4). While a
thread holds the GIL no stamp is taken at all: one taken when the stall ends may be as old as its begin.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from tinkertape.diagnosis.records import BusyRuns

STAMP_LAG_NS = 3_000_000  # a stamp this soon after a busy run was held up by it (below 3 ms is noise there)
STALL_LAG_NS = 20_000_000  # who waited for the GIL gets it after a stall, but not at once, nor the monitor first
STARVED = "the SDK's loop waited for a processor"
STALLED = "nobody could run just before: the GIL was held"


class Earliest(NamedTuple):
    """When the thing that a stamp tells of may have happened at the earliest, and by which method that is known."""

    at_ns: int
    method: str


def earliest(runs: BusyRuns, stalls: BusyRuns, stamp: int, starved_ns: int, busy: str) -> Earliest:
    """A stamp of an exchange whose threads waited for a processor that long; `busy` says what a busy run means."""
    free_ns = earliest_ns(runs, stamp)
    held_ns = earliest_ns(stalls, stamp, STALL_LAG_NS)
    if held_ns < free_ns - starved_ns:
        return Earliest(held_ns, STALLED)
    return Earliest(free_ns - starved_ns, STARVED if starved_ns > stamp - free_ns else busy)


def busy_ns(runs: BusyRuns, began: int, ended: int) -> int:
    """How much of [began, ended) the loop ran callbacks, as far as its runs of 5 ms and more say."""
    total = 0
    for low, high in runs_within(runs, began, ended):
        total += min(high, ended) - max(low, began)
    return total


def runs_within(runs: BusyRuns, began: int, ended: int) -> list[tuple[int, int]]:
    """The busy runs that overlap [began, ended)."""
    out = []
    for index in range(bisect_right(runs.ended_ns, began), len(runs.began_ns)):
        if runs.began_ns[index] >= ended:
            break
        out.append((runs.began_ns[index], runs.ended_ns[index]))
    return out


def earliest_ns(runs: BusyRuns, stamp: int, lag_ns: int = STAMP_LAG_NS) -> int:
    """When the thing stamped at `stamp` may have happened at the earliest, the loop's busy runs considered."""
    index = bisect_right(runs.began_ns, stamp) - 1
    if index < 0 or stamp - runs.ended_ns[index] > lag_ns:
        return stamp
    low = runs.began_ns[index]
    inside = runs.ended_ns[index] >= stamp
    if inside and index > 0 and low - runs.ended_ns[index - 1] <= STAMP_LAG_NS // 3:
        low = runs.began_ns[index - 1]
    return low
