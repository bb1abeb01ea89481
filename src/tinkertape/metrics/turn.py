"""A lock that a signal's handler may come upon in the hands of its own thread.

Python runs such a handler in the middle of whatever the main thread does. What it interrupts cannot let go of anything
before it returns: so it must not wait for that, nor for another thread that waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Turn:
    """One thread at a time. `with` waits for others, and goes in again where its own thread is inside already."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0  # how often the thread that has it is inside

    def __enter__(self) -> bool:
        """Is this thread inside only now?"""
        self._lock.acquire()
        self._depth += 1
        return self._depth == 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        self._lock.release()

    @contextmanager
    def if_free(self, wait_s: float = 0.0) -> Iterator[bool]:
        """Go in, if this thread is not inside already, nor another one for longer than `wait_s`; whether it is so."""
        if not self._lock.acquire(timeout=wait_s):
            yield False
            return
        try:
            if self._depth:
                yield False
                return
            with self:
                yield True
        finally:
            self._lock.release()

    def is_mine(self) -> bool:
        """Is this very thread inside?"""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._depth > 0
        finally:
            self._lock.release()
