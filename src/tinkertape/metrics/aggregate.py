"""Keeps the state of every series of a list of metrics, from the events of a bus.

Threads  events are taken up in the thread that executes them; `collect` runs in any.
Locks    `_lock`: held while one event is taken up, and while the states are read.
Fork     a child begins with no series; its lock is made anew.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from tinkertape.bus import Bus, default_bus
from tinkertape.guard import attempt
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import (
    Skipped,
    Tags,
    keep_reader,
    measurement_reader,
    tags_reader,
    usable_number,
    why_skipped,
)
from tinkertape.metrics.states import State, empty, observed
from tinkertape.metrics.values import OVERFLOW, Family, Series, value_of

_log = logging.getLogger("tinkertape")
_numbers = itertools.count(1)


class _Table:
    """One metric, and what is kept of it."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.read, self.keeps, self.tags_of = measurement_reader(metric), keep_reader(metric), tags_reader(metric)
        self.states: dict[Tags, State] = {}
        self.began_ns: dict[Tags, int] = {}
        self.changed_ns: dict[Tags, tuple[int, int]] = {}  # tags → count when last collected, and since when it is so

    def observation(self, measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[Tags, Any] | None:
        if not self.keeps(metadata, measurements):
            return None
        value = 1 if self.read is None else usable_number(self.read(measurements, metadata), self.metric)
        return self.tags_of(metadata), observed(self.metric, value, time.monotonic_ns())


class Aggregate:
    """The state of these metrics, from now on. Detached by `close`, also at the end of a `with`.

    A metric has at most `series_max` series; what else comes goes into its overflow series (`values.OVERFLOW`), and is
    counted in `overflowed`. A series without an event for `idle_s` seconds goes away at the next `collect`, which makes
    room; if it comes back it begins anew, and says so (`Series.began_ns`).
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        *,
        bus: Bus | None = None,
        series_max: int = 1_000,
        idle_s: float | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._tables = [_Table(metric) for metric in metrics]
        self._series_max, self._idle_s = series_max, idle_s
        self._skipped: Counter[tuple[str, str]] = Counter()
        self._overflowed: Counter[str] = Counter()
        self._bus = default_bus if bus is None else bus
        self._handler_ids = []
        number = next(_numbers)
        for event in dict.fromkeys(metric.event_name for metric in metrics):
            tables = [table for table in self._tables if table.metric.event_name == event]
            handler_id = ("tinkertape.metrics", number, event)
            self._bus.attach(handler_id, event, self._take_up, tables, on_failure="keep")
            self._handler_ids.append(handler_id)
        _aggregates.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer; what was collected can still be read."""
        for handler_id in self._handler_ids:
            self._bus.detach(handler_id)
        self._handler_ids.clear()

    def collect(self) -> list[Family]:
        """All series as they are now, in the order of the definitions."""
        with self._lock:
            now_ns = time.monotonic_ns()
            return [Family(table.metric, self._series(table, now_ns)) for table in self._tables]

    def skipped(self) -> Counter[tuple[str, str]]:
        """How many events a metric could not use, by (metric name, reason)."""
        return Counter(self._skipped)

    def overflowed(self) -> Counter[str]:
        """How many events went into the overflow series, by metric name."""
        return Counter(self._overflowed)

    def _take_up(
        self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], tables: list[_Table]
    ) -> None:
        for table in tables:
            found, error = attempt(table.observation, measurements, metadata)
            with self._lock:
                if error is not None:
                    self._skip(table.metric, why_skipped(error))
                elif found is not None:
                    self._add(table, *found)

    def _add(self, table: _Table, tags: Tags, state: Any) -> None:
        if tags not in table.states:
            if len(table.states) - (OVERFLOW in table.states) >= self._series_max:
                self._overflowed[table.metric.name] += 1
                tags = OVERFLOW
            table.began_ns.setdefault(tags, time.time_ns())
        known: Any = table.states.get(tags, empty(table.metric))
        table.states[tags] = known.merged(state)

    def _skip(self, metric: Metric, skipped: Skipped) -> None:
        key = (metric.name, skipped.reason)
        self._skipped[key] += 1
        if self._skipped[key] == 1:
            _log.warning("tinkertape: metric %s skips an event, %s: %r", *key, skipped.what)

    def _series(self, table: _Table, now_ns: int) -> list[Series]:
        if self._idle_s is not None:
            for tags, state in list(table.states.items()):
                count, since_ns = table.changed_ns.get(tags, (0, now_ns))
                if count != state.count:
                    table.changed_ns[tags] = state.count, now_ns
                elif now_ns - since_ns >= self._idle_s * 1e9:
                    del table.states[tags], table.began_ns[tags], table.changed_ns[tags]
        return [
            Series(tags, value_of(table.metric, state), table.began_ns[tags]) for tags, state in table.states.items()
        ]


_aggregates: weakref.WeakSet[Aggregate] = weakref.WeakSet()


def _start_over() -> None:
    for aggregate in list(_aggregates):
        aggregate._lock = threading.RLock()
        for table in aggregate._tables:
            table.states, table.began_ns, table.changed_ns = {}, {}, {}


os.register_at_fork(after_in_child=_start_over)
