"""What was removed for lack of room from the tapes of a run, until a collector was told: what it was told before says
nothing of it. No thread, no lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tinkertape.errors import TapeError
from tinkertape.tape.last_words import LastWords, last_words


class Removals:
    """Looks into the run's folder where something changed there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed_ns = 0
        self._told: dict[str, int] = {}  # by process

    def untold(self) -> Iterator[LastWords]:
        """What is new, one process each; it counts as told when the next one is asked for."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
            words = last_words(self._folder) if changed_ns != self._changed_ns else {}
        except (OSError, TapeError):  # nothing is there yet, or something goes just now
            return
        for process, said in words.items():
            if said.space > self._told.get(process, 0):
                yield said
                self._told[process] = said.space
        self._changed_ns = changed_ns
