"""The ledger of a run, or of all: recorded = stored + pending + rejected + dropped.

Each number is counted where it is known: *stored* by the store, *pending* on tapes and inbox beyond what is loaded,
*rejected* in the table of what was set aside, *recorded* and *dropped* by the process itself, in the end of its tape;
while that is missing, by the rules of `tinkertape.tape.ledger`, as for a tape alone. A plain SDK declares nothing: of
its events recorded are those that came. All counts of one answer are taken while the loader stands still, so that they
fit together; while much waits to be loaded, one count of everything is given again for a while: old, but whole.
"""

from __future__ import annotations

import threading
import time

import msgspec

from tinkertape.collector.loader import Loader
from tinkertape.collector.pending import Identity, Key, Pending
from tinkertape.store import LedgerRow, Store
from tinkertape.tape.ledger import Ledger, ProcessCount, ledger_of, total

BACKLOG_LARGE = 4_000_000  # bytes that are not loaded
REST = 9  # times as long as a large one took to count, it is given again


class Counts(msgspec.Struct):
    """What was counted of one process: `ours` of its events with an index that the process gave, `foreign` of those of
    a plain SDK, and what the process declared.
    """

    ours: ProcessCount
    foreign_stored: int = 0
    foreign_pending: int = 0
    declared: LedgerRow | None = None
    has_header: bool = False


class Books:
    """Ledgers by run; any thread."""

    def __init__(self, store: Store, loader: Loader) -> None:
        self._store = store
        self._loader = loader
        self._snapshot_lock = threading.Lock()
        self._snapshot: tuple[float, dict[str, Ledger]] = (0.0, {})  # until when (monotonic), by run

    def ledger(self, run: str | None = None) -> Ledger:
        """The ledger of one run, or of everything here. Raises `StoreError`."""
        if self._loader.backlog_bytes() > BACKLOG_LARGE:  # reading it takes long: once for all runs
            with self._snapshot_lock:
                by_run = self._kept_or_made()
            return by_run.get(run, Ledger()) if run is not None else total(by_run.values())
        with self._loader.still():
            return total(process_ledger(entry) for entry in self._counts(run).values())

    def knows(self, run: str) -> bool:
        """Is anything here of this run: a tape, a header, a line, whether or not it is stored? Raises `StoreError`."""
        return self._loader.has_tape(run) or bool(self._store.processes(run)) or self.ledger(run) != Ledger()

    def _kept_or_made(self) -> dict[str, Ledger]:
        until_s, by_run = self._snapshot
        if time.monotonic() < until_s:
            return by_run
        with self._loader.still():
            began_s = time.monotonic()
            counts = self._counts(None)
            took_s = time.monotonic() - began_s
        made: dict[str, Ledger] = {}
        for (run, _process), entry in counts.items():
            made[run] = made.get(run, Ledger()) + process_ledger(entry)
        self._snapshot = (time.monotonic() + REST * took_s, made)
        return made

    def _counts(self, run: str | None) -> dict[Key, Counts]:
        counts: dict[Key, Counts] = {}

        def entry_of(key: Key) -> Counts:
            return counts.setdefault(key, Counts(ProcessCount()))

        pending = self._loader.pending(run)
        for row in self._store.stored_by_process(run):
            entry = entry_of((row.run, row.process))
            entry.ours.stored, entry.ours.top_index = row.ours, row.highest
            entry.foreign_stored = row.stored - row.ours
        for key, identities in self._waiting(pending).items():
            _add_waiting(entry_of(key), identities)
        for name, process, number in self._store.rejected_by_process(run):
            entry_of((name, process)).ours.set_aside += number
        for key, number in pending.rejected.items():
            entry_of(key).ours.set_aside += number
        for key, number in pending.torn.items():
            entry_of(key).ours.torn += number
        for said in [*self._store.ledgers(run), *pending.declared.values()]:
            entry = entry_of((said.run, said.process))
            if entry.declared is None or said.recorded >= entry.declared.recorded:
                entry.declared = said
        for header in self._store.processes(run):
            entry_of((header.run, header.process)).has_header = True
        return counts

    def _waiting(self, pending: Pending) -> dict[Key, set[Identity]]:
        return {
            key: identities - self._store.stored_among(key[0], identities)
            for key, identities in pending.identities.items()
        }


def _add_waiting(entry: Counts, identities: set[Identity]) -> None:
    ours = [index for _process, index, event_id in identities if not event_id]
    entry.ours.pending = len(ours)
    entry.ours.top_index = max([entry.ours.top_index, *ours])
    entry.foreign_pending = len(identities) - len(ours)


def _expect(ours: ProcessCount, said: LedgerRow) -> None:
    """A process that goes on said what it has recorded, and dropped of it: the rest is still where it is."""
    ours.said_before = (said.recorded, said.dropped)
    holes = ours.top_index + 1 - ours.stored - ours.pending - ours.set_aside
    dropped_since = max(0, sum(said.dropped.values()) - max(0, holes))
    ours.pending += max(0, said.recorded - ours.top_index - 1 - dropped_since)


def process_ledger(counts: Counts) -> Ledger:
    """The ledger of one process; pure."""
    ours, said = counts.ours, counts.declared
    if said is not None and said.closed:
        ours.said = (said.recorded, said.dropped)
    elif said is not None:
        _expect(ours, said)
    if counts.has_header or ours.stored or ours.pending or said is not None:
        rejected = 0
        ledger = ledger_of(ours)
    else:
        rejected = ours.set_aside  # no index is known: a line that came and was set aside is one that was recorded
        ledger = Ledger()
    foreign = counts.foreign_stored + counts.foreign_pending
    return ledger + Ledger(
        recorded=foreign + rejected,
        stored=counts.foreign_stored,
        pending=counts.foreign_pending,
        rejected=rejected,
    )
