"""What is done about a run's closed segments: they are compressed.

Threads  "tinkertape-upkeep" does it; it begins when a segment is closed, and ends when nothing is left to do. `wake`
         runs in the thread that closed it, and only starts that thread.
Locks    `_lock`: whether the thread is there and what it was asked; never held during I/O.
Fork     a child starts with a new lock and no thread.
Exit     nothing waits for it. A compression that is cut off leaves the plain segment and, after a kill, a file whose
         name begins with a dot; whoever next tends the run's folder removes it.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from tinkertape.guard import guarded
from tinkertape.tape.compression import compress, remove_leftovers
from tinkertape.tape.forms import segment_files


class Upkeep:
    """Tends the closed segments of one process in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.start_over()

    def start_over(self) -> None:
        """In a forked child: the thread is its parent's."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._current: Path | None = None

    def wake(self, current: Path) -> None:
        """Tend what this process wrote before the segment `current`; what cannot be done now is tried the next time."""
        with self._lock:
            self._current = current
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tinkertape-upkeep", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is shutting down, or has no thread left
                    self._thread = None

    def wait(self, timeout_s: float) -> bool:
        """Wait until nothing is left to do; False after the time."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self._thread is None

    def _work(self) -> None:
        while True:
            with self._lock:
                current, self._current = self._current, None
                if current is None:
                    self._thread = None
                    return
            with guarded("tape.upkeep"):
                self._tend(current)

    def _tend(self, current: Path) -> None:
        remove_leftovers(self._folder)
        process = current.name.rpartition("-")[0]
        for segment in segment_files(self._folder):
            if segment.name.startswith(f"{process}-") and segment.name < current.name:
                with contextlib.suppress(OSError):  # a full disk: it stays as it is
                    compress(segment)
