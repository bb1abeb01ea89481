"""Exemplars: for each bucket of a distribution, and each counter, the last span that an event of it came from.

By one of them a person goes from a slow bucket on a chart to the trace of a call that fell into it. Only events inside
a span leave one: whoever traces nothing pays one look at a context variable.

Threads  taken in the thread of the event; one assignment to a dict, the last writer wins.
"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from tinkertape.bus import Bus
from tinkertape.context import current_span
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Extract, Extracted, Tags, extractor

_NONE: Mapping[int, Exemplar] = {}
_numbers = itertools.count(1)


class Exemplar(msgspec.Struct, frozen=True):
    """One event: its trace, its value in the unit reported, its wall time."""

    trace_id: str
    span_id: str
    value: int | float
    time_ns: int


class _Taker:
    """One metric's exemplars: by tags, then by the bucket's place (0 for a counter)."""

    def __init__(self, metric: Metric, series_max: int) -> None:
        self.bounds = metric.buckets or ()
        self.extract: Extract = extractor(metric)
        self.found: dict[Tags, dict[int, Exemplar]] = {}
        self._series_max = series_max

    def take(self, measurements: Mapping[str, Any], metadata: Mapping[str, Any], trace_id: str, span_id: str) -> None:
        extracted = self.extract(measurements, metadata)
        if not isinstance(extracted, Extracted):
            return
        series = self.found.get(extracted.tags)
        if series is None:
            if len(self.found) >= self._series_max:
                return
            series = self.found[extracted.tags] = {}
        place = bisect_left(self.bounds, extracted.value) if self.bounds else 0
        series[place] = Exemplar(trace_id, span_id, extracted.value, time.time_ns())


class Exemplars:
    """Takes the exemplars of these metrics, from now on, until `close()`."""

    def __init__(self, metrics: Sequence[Metric], *, bus: Bus, series_max: int) -> None:
        self._bus, self._series_max = bus, series_max
        self._takers = {id(metric): _Taker(metric, series_max) for metric in metrics}
        self._metrics = tuple(metrics)  # their ids are keys: they must live as long
        self._handler_ids: list[object] = []
        for event in dict.fromkeys(metric.event_name for metric in metrics):
            takers = [self._takers[id(metric)] for metric in metrics if metric.event_name == event]
            handler_id = ("tinkertape.metrics.exemplars", next(_numbers), event)
            bus.attach(handler_id, event, self._take, takers, on_failure="keep")
            self._handler_ids.append(handler_id)

    def of(self, metric: Metric, tags: Tags) -> Mapping[int, Exemplar]:
        """The exemplars of one series, by the place of the bucket."""
        taker = self._takers.get(id(metric))
        return _NONE if taker is None else taker.found.get(tags, _NONE)

    def make_room(self, metric: Metric, shown: Collection[Tags]) -> None:
        """Where there is no room for another series: forget those that are shown no longer."""
        taker = self._takers.get(id(metric))
        if taker is not None and len(taker.found) >= self._series_max:
            for tags in set(taker.found.copy()).difference(shown):
                taker.found.pop(tags, None)

    def close(self) -> None:
        """Take no more."""
        while self._handler_ids:
            self._bus.detach(self._handler_ids.pop())

    def _take(
        self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], takers: list[_Taker]
    ) -> None:
        span = current_span.get()
        if span is None:
            return
        for taker in takers:
            taker.take(measurements, metadata, span.trace_id, span.span_id)
