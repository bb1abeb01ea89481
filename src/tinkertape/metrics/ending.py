"""The end of a thread of ours, said by whoever closes: also by a signal's handler that interrupted just that.

`threading.Event` would wait there for ever: what says it holds a lock that its own thread cannot take again.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue


class Ending:
    """Said once, to one thread that waits for it."""

    def __init__(self) -> None:
        self._word: SimpleQueue[None] = SimpleQueue()
        self.is_said = False

    def say(self) -> bool:
        """Say it; False where it was said already."""
        if self.is_said:
            return False
        self.is_said = True
        self._word.put(None)
        return True

    def wait(self, timeout_s: float) -> bool:
        """Wait for it, so long at most; was it said?"""
        try:
            self._word.get(timeout=timeout_s)
        except Empty:
            return False
        return True
