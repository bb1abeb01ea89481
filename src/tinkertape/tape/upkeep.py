"""What is done about a run's closed segments: they are compressed, and removed where the folder is to be no larger.

Threads  "tinkertape-upkeep" does it; it begins when a segment is closed, and ends when nothing is left to do. `wake`
         runs in the thread that closed it, and only starts that thread.
Locks    `_lock`: whether the thread is there and what it was asked; never held during I/O.
Fork     a child starts with a new lock and no thread.
Exit     nothing waits for it. A compression that is cut off leaves the plain segment and, after a kill, a file whose
         name begins with a dot; whoever next tends the run's folder removes it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from tinkertape.errors import TapeError, TapeNotFound
from tinkertape.guard import guarded
from tinkertape.tape.compression import compress, remove_leftovers
from tinkertape.tape.removal import closed_segments, finish_removals, make_room, process_of
from tinkertape.tape.tape import Tape, closing_of

_log = logging.getLogger("tinkertape")


class Upkeep:
    """Tends the closed segments in a run's folder: compresses those of one process, and keeps the folder, with all
    processes' files, within `most_bytes`. None: it may grow.
    """

    def __init__(self, folder: Path, most_bytes: int | None = None) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._has_dropped = False
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
            with guarded("tape.upkeep"), contextlib.suppress(FileNotFoundError, TapeNotFound):
                self._tend(current)  # something that another process of the run took away is for the next time

    def _tend(self, current: Path) -> None:
        remove_leftovers(self._folder)
        finish_removals(self._folder)
        closed = closed_segments(self._folder, current, self._ended())
        for segment in closed:
            if process_of(segment) == process_of(current):
                with contextlib.suppress(OSError):  # a full disk: it stays as it is
                    compress(segment)
        if self._most_bytes is not None:
            self._say(make_room(self._folder, closed, self._most_bytes))

    def _ended(self) -> Iterator[str]:
        """The processes that closed their tapes, as far as their last segments can be read here."""
        for process, segments in Tape.of(self._folder).processes().items():
            with contextlib.suppress(TapeError):
                if closing_of(segments[-1]) is not None:
                    yield process

    def _say(self, dropped: int) -> None:
        if dropped and not self._has_dropped:
            self._has_dropped = True
            _log.warning("tinkertape: max_bytes is reached: the oldest undelivered events go (the ledger counts them)")
