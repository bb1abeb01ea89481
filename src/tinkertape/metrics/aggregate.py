"""Keeps the state of every series of a list of metrics, from the events of a bus.

A thread has a shard of its own, so that it takes up an event with no lock, and no update is ever lost; shards are added
up when they are collected. Threads that have ended leave their shards to the aggregate. Memory is bounded by the living
threads × the metrics × `series_max` cells, each of a bounded size (`cells.py`, `sketch.py`).

Threads  events are taken up in the thread that executes them; `collect` and its kin run in any.
Locks    `_admitting`: held to admit a series, and while idle ones are taken out of the shards; never while states are
         read. `_collecting`: one collection at a time; who takes up events never waits for it. Both may be taken again
         by their thread: a signal's handler, too, may execute events and collect. A collection waits for `_admitting`
         ADMITTING_S at most, and else forgets what is idle next time: what admits a series may have been interrupted
         by a handler that waits for this very collection.
Fork     a child begins with nothing: its parent counts what was. Its locks are made anew.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

from tinkertape.bus import Bus, default_bus
from tinkertape.metrics.cells import Cell, new_cell
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.handlers import Cells, make_handler
from tinkertape.metrics.limits import check_count, check_metrics, check_seconds
from tinkertape.metrics.notices import Notices
from tinkertape.metrics.registry import Registry
from tinkertape.metrics.shards import Alive, Shard, forget_cells, keys_of, tags_of
from tinkertape.metrics.turn import Turn
from tinkertape.metrics.values import Family, Kept, family_of

ADMITTING_S = 0.02  # far longer than it takes to admit a series
_numbers = itertools.count(1)


class Aggregate:
    """The state of these metrics, from now on. Detached by `close`, also at the end of a `with`.

    A metric has at most `series_max` series; what else comes goes into its overflow series (`values.OVERFLOW`), and is
    counted in `overflowed`. A series that was seen unchanged for `idle_s` seconds goes away at the next `collect`,
    which makes room; if it comes back it begins anew, and says so (`Series.began_ns`). An event that a metric cannot
    use is counted in `skipped`, and the first of its kind is logged.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        *,
        bus: Bus | None = None,
        series_max: int = 1_000,
        idle_s: float | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        check_metrics(metrics)
        check_count("series_max", series_max)
        check_seconds("idle_s", idle_s, or_none=True, or_zero=True)
        self._metrics = tuple(metrics)
        self._series_max, self._idle_ns = series_max, None if idle_s is None else idle_s * 1e9
        self._monotonic_ns = monotonic_ns
        self._notices = Notices()
        self.local = threading.local()
        self.start_over()
        self._bus = default_bus if bus is None else bus
        self._attach()
        _aggregates.add(self)

    def start_over(self) -> None:
        """Forget everything, as a forked child does: its parent goes on counting."""
        self._admitting, self._collecting = Turn(), Turn()
        self._shards: list[Shard] = []
        self._registries = [Registry(metric, self._series_max) for metric in self._metrics]
        self._skipped: Counter[tuple[str, str]] = Counter()  # by threads that have ended
        self.local.__dict__.clear()

    def _attach(self) -> None:
        self._numbers_of: dict[str, list[int]] = {}
        for number, metric in enumerate(self._metrics):
            self._numbers_of.setdefault(metric.event_name, []).append(number)
        mine = next(_numbers)
        self._handler_ids = [("tinkertape.metrics", mine, event) for event in self._numbers_of]
        for place, (event, numbers) in enumerate(self._numbers_of.items()):
            handler = make_handler(place, numbers, self._metrics, self)
            self._bus.attach(self._handler_ids[place], event, handler, on_failure="keep")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer; what was taken up can still be collected."""
        while self._handler_ids:
            self._bus.detach(self._handler_ids.pop())

    def collect(self) -> list[Family]:
        """All series as they are now, in the order of the definitions, each in the order in which it came up.

        A value that is being added at this moment may be counted and not yet be in the sum.
        """
        return [family_of(metric, kept) for metric, kept in zip(self._metrics, self.states(), strict=True)]

    def states(self) -> list[list[Kept]]:
        """The same, metric by metric, as states that can be merged with another process's."""
        with self._collecting as is_outermost:
            return self._states(is_outermost)

    def states_within(self, wait_s: float) -> list[list[Kept]] | None:
        """The same; None where another thread collects for longer than `wait_s`, or this one does already."""
        with self._collecting.if_free(wait_s) as is_free:
            return self._states(is_outermost=True) if is_free else None

    def _states(self, is_outermost: bool) -> list[list[Kept]]:
        """Inside another collection of this thread it only reads."""
        if is_outermost:
            self._retire()
        shards, now_ns = self._shards.copy(), self._monotonic_ns()
        numbers = range(len(self._metrics))
        return [self._kept(number, shards, now_ns, may_expire=is_outermost) for number in numbers]

    def _kept(self, number: int, shards: list[Shard], now_ns: int, *, may_expire: bool) -> list[Kept]:
        registry = self._registries[number]
        states = dict(registry.states([shard.tables[number] for shard in shards]))
        if self._idle_ns is not None and may_expire:
            idle = registry.idle(states, now_ns, self._idle_ns)
            for tags in self._expired(number, idle) if idle else ():
                del states[tags]
        return registry.kept(states)

    def _expired(self, number: int, idle: list[Tags]) -> set[Tags]:
        """Which of these series are forgotten now."""
        with self._admitting.if_free(ADMITTING_S) as is_free:
            if not is_free:
                return set()
            kept = self._registries[number].expire(idle, [shard.tables[number] for shard in self._shards])
        return set(idle).difference(kept)

    def _retire(self) -> None:
        """Take over what threads that have ended left."""
        for shard in [shard for shard in self._shards.copy() if shard.is_dead]:
            total = self._skipped + Counter(shard.skipped)
            self._skipped, shard.skipped = total, {}
            for registry, table in zip(self._registries, shard.tables, strict=True):
                registry.retire(table)
            self._shards.remove(shard)  # nothing is left in it
        for registry in self._registries:
            registry.settle()

    def skipped(self) -> Counter[tuple[str, str]]:
        """How many events a metric could not use, by (metric name, reason)."""
        with self._collecting as is_outermost:
            if is_outermost:
                self._retire()
            total = self._skipped.copy()
            for shard in self._shards.copy():
                total.update(shard.skipped.copy())
            return total

    def overflowed(self) -> Counter[str]:
        """How many events went into an overflow series, by metric name."""
        with self._collecting as is_outermost:
            if is_outermost:
                self._retire()
            total: Counter[str] = Counter()
            for number, registry in enumerate(self._registries):
                total[registry.metric.name] += registry.overflowed
                total[registry.metric.name] += sum(shard.tables[number].overflowed for shard in self._shards.copy())
            return +total

    # What follows is called by the generated handlers, in the thread that executes the event: handlers.Keeper.

    def begin(self, place: int, numbers: Sequence[int]) -> tuple[Cells, ...]:
        """The cells of these metrics, in this thread's shard, which is made if there is none."""
        shard: Shard | None = getattr(self.local, "shard", None)
        if shard is None:
            shard = self._new_shard()
        cells = tuple(shard.tables[number].by_key for number in numbers)
        setattr(self.local, f"cells_of_{place}", cells)
        return cells

    def _new_shard(self) -> Shard:
        with self._collecting.if_free() as is_free:  # else whoever collects is about to do it
            if is_free:
                self._retire()  # here too: threads may come and go while nobody collects
        alive = Alive()
        self.local.__dict__.setdefault("alive", []).append(
            alive
        )  # a signal's handler may get in here, and make another
        shard = Shard(len(self._metrics), alive)
        self._shards.append(shard)
        self.local.shard = shard
        return shard

    def find_cell(self, number: int, source: Any) -> Cell:
        """This thread's cell for tags that do not lead to one: a new one, one known by its text, the overflow's."""
        metric, table = self._metrics[number], self.local.shard.tables[number]
        keys = keys_of(metric, source)
        tags = tags_of(metric, keys)
        with self._admitting:
            admitted = self._registries[number].admit(tags)
            cell: Cell | None = table.by_text.get(admitted)
            if cell is None:  # a signal's handler may get in here, and count in one that it made
                cell = table.by_text.setdefault(admitted, new_cell(metric))
            if admitted == tags and table.lead(keys, cell, are_text=callable(metric.tags)):
                forget_cells(self.local)
        if admitted != tags:
            table.overflowed += 1
            self._notices.say_full(metric, self._series_max)
        return cell

    def skip(self, number: int, error: Exception) -> None:
        """Count an event that a metric could not use, and log the first."""
        metric = self._metrics[number]
        self.local.shard.count_skipped((metric.name, self._notices.say_skipped(metric, error)))


_aggregates: weakref.WeakSet[Aggregate] = weakref.WeakSet()  # a fork hook cannot be removed: one, holding nobody alive


def _start_over() -> None:
    for aggregate in list(_aggregates):
        aggregate.start_over()


os.register_at_fork(after_in_child=_start_over)
