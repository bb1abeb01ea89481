"""What is known of one metric's series over all threads: which there are, how many may be, which lie idle.

Locks  `admit` and `expire` are called where series are admitted one at a time, the rest by whoever collects, one at a
       time. A signal's handler may come between, and admit, and read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tinkertape.metrics.cells import Cell, read_cell
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.shards import ShardTable
from tinkertape.metrics.states import State, empty, merged
from tinkertape.metrics.values import OVERFLOW, Kept


class Known:
    """One series: since when it is there, and since when collections have seen it as it is."""

    __slots__ = ("began_ns", "count", "since_ns")

    def __init__(self) -> None:
        self.began_ns = time.time_ns()
        self.count = 0
        self.since_ns = 0

    def idle_ns(self, count: int, now_ns: int) -> int:
        """For how long `count` has not changed."""
        if count != self.count:
            self.count, self.since_ns = count, now_ns
        return now_ns - self.since_ns


class Registry:
    """One metric's series, and the states that no thread changes any more."""

    def __init__(self, metric: Metric, series_max: int) -> None:
        self.metric = metric
        self.overflowed = 0  # by threads that have ended
        self._series_max = series_max
        self._known: dict[Tags, Known] = {}
        self._retired: dict[Tags, State] = {}
        self._strays: dict[Tags, list[Cell]] = {}  # taken from their shards while a thread was at work on one

    def admit(self, tags: Tags) -> Tags:
        """The series for events with these tags: their own, or the overflow's where there is no room for it."""
        if tags not in self._known:
            if len(self._known) - (OVERFLOW in self._known) >= self._series_max:
                tags = OVERFLOW
            self._known.setdefault(tags, Known())
        return tags

    def retire(self, table: ShardTable[Cell]) -> None:
        """Take over what a thread that has ended leaves. At no moment is it in neither, or in both."""
        new = {
            tags: merged(self._retired.get(tags, empty(self.metric)), read_cell(self.metric, cell))
            for tags, cell in table.by_text.items()
        }
        self._retired |= new  # from here on these lines call nothing: no signal's handler, which may collect, gets in
        table.by_text = {}
        self.overflowed += table.overflowed
        table.overflowed = 0

    def settle(self) -> None:
        """Take over those strays that no thread is at work on any more."""
        for tags in [tags for tags, cells in self._strays.items() if not _any_held(cells)]:
            state = self._state(tags, self._strays[tags])
            self._retired[tags] = state
            del self._strays[tags]

    def states(self, tables: list[ShardTable[Cell]]) -> Iterator[tuple[Tags, State]]:
        """Every series that has a value, in the order in which they came up."""
        for tags in self._known.copy():
            cells = [cell for table in tables if (cell := table.by_text.get(tags)) is not None]
            state = self._state(tags, [*cells, *self._strays.get(tags, ())])
            if state.count:
                yield tags, state

    def _state(self, tags: Tags, cells: list[Cell]) -> State:
        states = [read_cell(self.metric, cell) for cell in cells]
        if tags in self._retired:
            states.append(self._retired[tags])
        return states[0] if len(states) == 1 else merged(empty(self.metric), *states)

    def idle(self, states: dict[Tags, State], now_ns: int, idle_ns: float) -> list[Tags]:
        """The series that have not changed for `idle_ns`."""
        return [tags for tags, state in states.items() if self._known[tags].idle_ns(state.count, now_ns) >= idle_ns]

    def expire(self, idle: list[Tags], tables: list[ShardTable[Cell]]) -> list[Tags]:
        """Forget these series; those come back that had a last-moment change.

        The cells are taken from the threads first. One that a thread still holds, or has changed since, is not lost: it
        becomes a stray, and its series stays.
        """
        removed = [table.remove(idle) for table in tables]
        kept = []
        for tags in idle:
            cells = [cells.pop(tags) for cells in removed if tags in cells] + self._strays.pop(tags, [])
            if _any_held(cells) or self._state(tags, cells).count != self._known[tags].count:
                self._strays[tags] = cells
                kept.append(tags)
            else:
                del self._known[tags]
                self._retired.pop(tags, None)
        return kept

    def kept(self, states: dict[Tags, State]) -> list[Kept]:
        """These states, each with its tags and its begin."""
        return [Kept(tags, state, self._known[tags].began_ns) for tags, state in states.items()]


def _references(cells: list[Cell], place: int) -> int:
    return sys.getrefcount(cells[place])


_ALONE = _references([[]], 0)


def _any_held(cells: list[Cell]) -> bool:
    """Does anything but this list hold one of these cells, such as a thread that is about to change it?"""
    return any(_references(cells, place) > _ALONE for place in range(len(cells)))
