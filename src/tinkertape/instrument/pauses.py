"""How long Python's collector of cycles held the program up: two stamps a collection, through `gc.callbacks`.

A callback runs anywhere, also while a lock of ours is held: it only adds numbers up, and whoever polls tells them.

Threads  `watch` and `unwatch` in any; the callback runs in the thread that collects, which holds the GIL all the while.
Fork     a child goes on counting.
"""

from __future__ import annotations

import gc
import threading
from time import perf_counter_ns
from typing import Any

GENERATIONS = 3


class Pauses:
    """Sums by generation since they were taken, and the newest pause of all."""

    def __init__(self) -> None:
        self.total_ns = [0] * GENERATIONS
        self.longest_ns = [0] * GENERATIONS
        self.began_ns = 0
        self.ended_ns = 0

    def take(self, generation: int) -> dict[str, int]:
        """The pauses of one generation since the last time, ns; it begins anew."""
        if generation >= GENERATIONS:
            return {}
        taken = {"pause": self.total_ns[generation], "pause_max": self.longest_ns[generation]}
        self.total_ns[generation] = self.longest_ns[generation] = 0
        return taken

    def callback(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self.began_ns = perf_counter_ns()
            return
        self.ended_ns = now_ns = perf_counter_ns()
        generation = info["generation"]
        if self.began_ns and generation < GENERATIONS:
            pause_ns = now_ns - self.began_ns
            self.total_ns[generation] += pause_ns
            if pause_ns > self.longest_ns[generation]:
                self.longest_ns[generation] = pause_ns


_pauses = Pauses()
_watchers = 0
_lock = threading.RLock()  # a collection may run `unwatch`, from `__del__`, in the thread that holds it


def watch() -> Pauses:
    """Time the pauses from now on; each `watch` wants its `unwatch`."""
    global _watchers
    with _lock:
        _watchers += 1
        if _watchers == 1:
            gc.callbacks.append(_pauses.callback)
    return _pauses


def unwatch() -> None:
    """Time them no more, once nobody wants it."""
    global _watchers
    with _lock:
        _watchers -= 1
        if _watchers == 0 and _pauses.callback in gc.callbacks:
            gc.callbacks.remove(_pauses.callback)
