"""What can wait gives way to what is received: who sends waits for an answer, and what stands on the disk does not.

Threads  `begin` is called by the thread that receives; the rest by any.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

YIELD = 5  # times as long as something took, while something is received
YIELD_MAX_S = 2.0
FURTHER = 15  # the same, on top of it, while receiving takes what it gets of a processor
FURTHER_MAX_S = 6.0
SATURATED = 0.4  # of a processor; then it waits for one, and for the interpreter's lock, the rest of the time
LOOK_S = 0.25


class Receiving:
    """What is known of the thread that receives. `now_s` is a monotonic clock, `used_s` its processor time."""

    def __init__(
        self,
        is_receiving: Callable[[], bool],
        *,
        now_s: Callable[[], float] = time.monotonic,
        used_s: Callable[[], float] | None = None,
    ) -> None:
        self.is_receiving = is_receiving
        self._now_s = now_s
        self._used_s = used_s
        self._looked_s = (0.0, 0.0)  # by both clocks
        self._share = 0.0

    def begin(self) -> None:
        """The caller's thread receives."""
        if hasattr(time, "pthread_getcpuclockid"):  # not on macOS, where it is never saturated then
            clock = time.pthread_getcpuclockid(threading.get_ident())
            self._used_s = functools.partial(time.clock_gettime, clock)

    def is_saturated(self) -> bool:
        """Did receiving take what it could get of a processor, since somebody asked last?"""
        if self._used_s is None or not self.is_receiving():
            return False
        now_s, used_s = self._now_s(), self._used_s()
        before_s, used_before_s = self._looked_s
        if now_s - before_s >= LOOK_S:
            self._looked_s = now_s, used_s
            self._share = (used_s - used_before_s) / (now_s - before_s)
        return self._share > SATURATED

    def give_way(self, took_s: float, stop: threading.Event) -> None:
        """After something that took so long: wait, as long as there is something to give way to, and until `stop`."""
        if not self.is_receiving():
            return
        stop.wait(min(YIELD * took_s, YIELD_MAX_S))
        until_s = self._now_s() + min(FURTHER * took_s, FURTHER_MAX_S)
        while self._now_s() < until_s and self.is_saturated() and not stop.wait(LOOK_S):
            pass
