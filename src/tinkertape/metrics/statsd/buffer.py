"""Values that are sent one by one, those of summaries and distributions, from the event to the thread that sends.

An event costs its thread two look-ups and an append to one bounded buffer, which all threads share; what does not fit
is counted (`losses.py`). A series is found as in `shards.py`, but what its tags lead to is only its text, so that all
threads share the tables, too.

Threads  values are taken up in the thread of the event; `take` and `forget_idle` run in the one that sends.
Locks    `_admitting`: held to admit a series and to forget some, never to take up a value of a series that is known. A
         signal's handler may take it again; the thread that sends never waits for it.
Fork     a child begins with an empty buffer; the series are known on.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tinkertape.bus import Bus
from tinkertape.metrics.cells import LOOK_TWICE, PLAIN
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.handlers import Cells, Update, make_handler
from tinkertape.metrics.notices import Notices
from tinkertape.metrics.shards import ShardTable, forget_cells, keys_of, tags_of
from tinkertape.metrics.statsd.lines import Stream
from tinkertape.metrics.statsd.losses import Losses
from tinkertape.metrics.tally import Tally
from tinkertape.metrics.turn import Turn
from tinkertape.metrics.values import OVERFLOW

WAKE_AT = 500  # values: a dozen packets, which a daemon's socket takes at once

_APPEND = """
size = len(buffer)
if size < buffer_max:
 buffer.append((cell, value))
 if size >= WAKE_AT:
  wake()
else:
 full()
"""
_numbers = itertools.count(1)


class Buffer:
    """Takes up each value of these metrics, from now on, until `close`.

    `metrics` are all of the reporter's, `numbers` those that are its own. `begin` is called when a thread's first event
    comes, in this process; `wake` while so many values wait that it is time to send them.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        rates: Mapping[int, float],
        stream_of: Callable[[int, Tags], Stream],
        *,
        bus: Bus,
        losses: Losses,
        buffer_max: int,
        series_max: int,
        begun: Callable[[], object],
        wake: Callable[[], object],
    ) -> None:
        self._metrics, self._rates, self._stream_of = metrics, rates, stream_of
        self._bus, self._losses = bus, losses
        self._max, self._series_max = buffer_max, series_max
        self._begun, self._wake = begun, wake
        self._waiting: deque[tuple[Stream, int | float]] = deque()
        self._tables: dict[int, ShardTable[Stream]] = {number: ShardTable() for number in rates}
        self._notices = Notices()
        self._random = random.Random()  # the program's own is left alone: a seed there means something
        self.local = SimpleNamespace()
        self._reset()
        self._attach()

    def _reset(self) -> None:
        self._admitting = Turn()
        self._skipped: Tally[tuple[str, str]] = Tally()
        self._overflowed: Tally[str] = Tally()

    def start_over(self) -> None:
        """In a forked child: nothing waits, and the first event comes again."""
        self._waiting.clear()
        self._random.seed()
        self.local.__dict__.clear()
        self._reset()

    def _attach(self) -> None:
        numbers_of: dict[str, list[int]] = {}
        for number in self._rates:
            numbers_of.setdefault(self._metrics[number].event_name, []).append(number)
        mine = next(_numbers)
        self._handler_ids = [("tinkertape.metrics.statsd", mine, event) for event in numbers_of]
        update = Update(self._update_lines, self._update_names)
        for place, (event, numbers) in enumerate(numbers_of.items()):
            handler = make_handler(place, numbers, self._metrics, self, update)
            self._bus.attach(self._handler_ids[place], event, handler, on_failure="keep")

    def close(self) -> None:
        """Listen no longer."""
        while self._handler_ids:
            self._bus.detach(self._handler_ids.pop())

    # --- the way out ---

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> list[tuple[Stream, int | float]]:
        """The values that wait, in the unit measured; no longer."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def forget_idle(self, before_s: float) -> None:
        """Make room: forget the series that had no value since then, by `Stream.used_s`.

        Another time, if somebody is about to admit one: a signal's handler may have come between there, and wait for
        this very thread.
        """
        with self._admitting.if_free() as is_free:
            for table in self._tables.values() if is_free else ():
                table.remove([tags for tags, stream in table.by_text.items() if stream.used_s < before_s])

    def skipped(self) -> Counter[tuple[str, str]]:
        """How many events a metric could not use, by (metric name, reason)."""
        return self._skipped.total()

    def overflowed(self) -> Counter[str]:
        """How many events went into an overflow series, by metric name."""
        return self._overflowed.total()

    # --- the handler's code, and what it calls in the thread of the event: handlers.Keeper ---

    def _update_lines(self, metric: Metric, number: int) -> list[str]:
        lines = [line for line in _APPEND.splitlines() if line]
        if self._rates[number] < 1:
            lines = [f"if random() < rate_{number}:", *(f" {line}" for line in lines)]
        return [*(line for line in LOOK_TWICE.format(number=number).splitlines() if line), *lines]

    def _update_names(self, metric: Metric, number: int) -> dict[str, Any]:
        return {
            "PLAIN": PLAIN,
            "WAKE_AT": WAKE_AT,
            "buffer": self._waiting,
            "buffer_max": self._max,
            "full": self._full,
            "random": self._random.random,
            f"rate_{number}": self._rates[number],
            "wake": self._wake,
        }

    def _full(self) -> None:
        self._losses.count("buffer_full", 1, f"{self._max} values wait already; a new one is dropped")

    def begin(self, place: int, numbers: Sequence[int]) -> tuple[Cells, ...]:
        """The tables of these metrics. Called at the first event of this process."""
        cells = tuple(self._tables[number].by_key for number in numbers)
        setattr(self.local, f"cells_of_{place}", cells)
        self._begun()
        return cells

    def find_cell(self, number: int, source: Any) -> Stream:
        """The series of tags that do not lead to one: a new one, one known by its text, the overflow's."""
        metric, table = self._metrics[number], self._tables[number]
        keys = keys_of(metric, source)
        tags = tags_of(metric, keys)
        with self._admitting:
            admitted = tags if tags in table.by_text or self._has_room(table) else OVERFLOW
            stream = table.by_text.get(admitted)
            if stream is None:
                stream = table.by_text[admitted] = self._stream_of(number, admitted)
                stream.used_s = time.monotonic()
            if admitted != tags:
                self._overflowed.add(metric.name)
            elif table.lead(keys, stream, are_text=callable(metric.tags)):
                forget_cells(self.local)
        if admitted != tags:
            self._notices.say_full(metric, self._series_max)
        return stream

    def _has_room(self, table: ShardTable[Stream]) -> bool:
        return len(table.by_text) - (OVERFLOW in table.by_text) < self._series_max

    def skip(self, number: int, error: Exception) -> None:
        """Count an event that a metric could not use, and log the first."""
        metric = self._metrics[number]
        self._skipped.add((metric.name, self._notices.say_skipped(metric, error)))
