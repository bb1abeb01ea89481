"""What was removed for lack of room from the tapes of this machine, told to the store: the ledgers of processes that
ended, or were killed, before it was removed say nothing of it.

Threads  the loader's, under its lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tinkertape.collector.tape_file import Finder
from tinkertape.errors import TapeError
from tinkertape.store import LedgerRow, Store
from tinkertape.tape.last_words import last_words
from tinkertape.tape.removal import SPACE

Key = tuple[str, str]  # run, process


class Removals:
    """By process, how many events were removed."""

    def __init__(self, store: Store, finder: Finder) -> None:
        self._store = store
        self._finder = finder
        self._space: dict[Key, int] = {}

    def counted(self, rows: Iterable[tuple[str, LedgerRow]]) -> list[tuple[str, LedgerRow]]:
        """What processes say of themselves, with what was removed since they said it; (project, row) each."""
        return [(project, self._counted(row)) for project, row in rows]

    def _counted(self, row: LedgerRow) -> LedgerRow:
        space = self._space.get((row.run, row.process), 0)
        if space <= row.dropped.get(SPACE, 0):
            return row
        return msgspec.structs.replace(row, dropped={**row.dropped, SPACE: space})

    def tell(self) -> list[str]:
        """Tell the store what is new in the folders that changed; the runs come back. Raises `StoreError`."""
        told = []
        while self._finder.changed:
            folder = Path(next(iter(self._finder.changed)))
            if self._tell(folder):
                told.append(folder.name)
            self._finder.changed.discard(str(folder))
        return told

    def untold(self, folders: Iterable[Path]) -> list[LedgerRow]:
        """What processes would say of themselves, of which something was removed from these folders or from those that
        changed, and the store was not told yet."""
        changed = {Path(folder) for folder in self._finder.changed}
        return [row for folder in {*folders, *changed} for _project, row in self._new(folder)]

    def _tell(self, folder: Path) -> bool:
        new = self._new(folder)
        for project, row in new:
            self._store.note_ledgers(project, [row])
            self._space[row.run, row.process] = row.dropped[SPACE]
        return bool(new)

    def _new(self, folder: Path) -> list[tuple[str, LedgerRow]]:
        try:
            words = last_words(folder)
        except (OSError, TapeError):
            return []  # removed, or not ours to read; the loader says so
        return [
            (said.header.project, LedgerRow(folder.name, process, said.end.recorded, said.end.dropped, said.end.status))
            for process, said in words.items()
            if said.space > self._space.get((folder.name, process), 0)
        ]
