"""gc: what Python's collector of cycles did since the measurement before, an event a generation that collected.

Threads  whoever calls; one at a time. The pauses are timed in whichever thread collects.
"""

from __future__ import annotations

import gc
from typing import Any

from tinkertape.events import PROCESS_GC
from tinkertape.instrument import pauses

_COUNTS = ("collections", "collected", "uncollectable")


class Measurement:
    """`process.gc`: the counts are the interpreter's own, and exact; the pauses are those since this was made."""

    events = (PROCESS_GC,)

    def __init__(self) -> None:
        self._before = gc.get_stats()
        self._pauses = pauses.watch()

    def __call__(self) -> object:
        now = gc.get_stats()
        before, self._before = self._before, now
        told = []
        for generation, (was, stats) in enumerate(zip(before, now, strict=False)):
            counts: dict[str, Any] = {key: stats[key] - was[key] for key in _COUNTS}
            if counts["collections"] > 0:
                paused = self._pauses.take(generation)
                told.append((PROCESS_GC, {**counts, **paused}, {"generation": generation}))
        return told

    def __del__(self) -> None:
        pauses.unwatch()
