"""A store in memory, with what loader and ledger ask of one: rows by their key, so that what comes twice is one.

It can refuse, before it took anything or after it took all: the same to its caller, and the loader comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinkertape.context import Event
from tinkertape.errors import StoreError
from tinkertape.store import LedgerRow, ProcessRow, Rejected
from tinkertape.store.queries import StoredProcess

Key = tuple[str, int, str]  # process, index, event id


class KeptStore:
    """The rows of one run; other runs do not come here. `refusals` is what the next inserts do: "before", "after"."""

    id = "0123456789abcdef"

    def __init__(self) -> None:
        self.events: dict[Key, Event] = {}
        self.refusals: list[str] = []
        self._rejected: dict[tuple[str, str], Rejected] = {}
        self._ledgers: dict[str, LedgerRow] = {}
        self._processes: dict[str, ProcessRow] = {}

    # written

    def insert(self, events: Sequence[Event]) -> None:
        refusal = self.refusals.pop() if self.refusals and events else ""
        if refusal == "before":
            raise StoreError("cannot insert into the store: it is full")
        for event in events:
            self.events.setdefault((event.process, event.index, event.event_id), event)
        if refusal == "after":
            raise StoreError("cannot insert into the store: nobody heard the answer")

    def reject(self, rows: Sequence[Rejected]) -> None:
        self._rejected |= {(row.process, row.id): row for row in rows}

    def note_processes(self, rows: Sequence[ProcessRow]) -> None:
        self._processes |= {row.process: row for row in rows}

    def note_ledgers(self, project: str, rows: Sequence[LedgerRow]) -> None:
        for row in rows:
            known = self._ledgers.get(row.process)
            if known is None or _version(row) >= _version(known):
                self._ledgers[row.process] = row

    # asked

    def sessions(self) -> dict[str, tuple[str, str]]:
        return {}

    def sessions_unfiled(self) -> list[str]:
        return []

    def complete_processes(self) -> dict[tuple[str, str, str], int]:
        found: dict[tuple[str, str, str], set[int]] = {}
        for event in self.events.values():
            found.setdefault((event.project, event.run, event.process), set()).add(event.index)
        return {key: len(indexes) for key, indexes in found.items() if len(indexes) == max(indexes) + 1}

    def stored_by_process(self, run: str | None = None) -> list[StoredProcess]:
        indexes: dict[tuple[str, str], list[int]] = {}
        for event in self.events.values():
            indexes.setdefault((event.run, event.process), []).append(event.index)
        return [StoredProcess(*key, len(found), len(found), max(found)) for key, found in indexes.items()]

    def stored_among(self, run: str, identities: set[Key]) -> set[Key]:
        return identities & self.events.keys()

    def rejected_by_process(self, run: str | None = None) -> list[tuple[str, str, int]]:
        counts: dict[tuple[str, str], int] = {}
        for row in self._rejected.values():
            if run not in (None, row.run):  # a line of the inbox that says nobody's name
                continue
            counts[row.run, row.process] = counts.get((row.run, row.process), 0) + 1
        return [(*key, number) for key, number in counts.items()]

    def ledgers(self, run: str | None = None) -> list[LedgerRow]:
        return list(self._ledgers.values())

    def processes(self, run: str | None = None) -> list[ProcessRow]:
        return list(self._processes.values())


def _version(row: LedgerRow) -> Any:
    return row.recorded, row.closed != ""
