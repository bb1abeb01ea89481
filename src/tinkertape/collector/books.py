"""The ledger of a run, or of all, from the store's counts, the tapes' rests and what the processes declared.

All counts of one answer are taken while the loader stands still, so that they fit together. An answer that took long
is given again for a while: old, but whole.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from tinkertape.collector.ledger import Ledger, ProcessCounts, ledger_of
from tinkertape.collector.loader import Loader
from tinkertape.collector.pending import Identity, Key, Pending
from tinkertape.store import Store

REST = 4  # times as long as an answer took, it is given again
QUICK_S = 0.05  # what takes no longer is counted anew each time
REST_MAX_S = 5.0
KEPT = 64


class Books:
    """Ledgers by run; any thread."""

    def __init__(self, store: Store, loader: Loader) -> None:
        self._store = store
        self._loader = loader
        self._lock = threading.Lock()
        self._kept: OrderedDict[str | None, tuple[float, Ledger]] = OrderedDict()

    def ledger(self, run: str | None = None) -> Ledger:
        """recorded = stored + pending + rejected + dropped, of one run or of everything here. Raises `StoreError`."""
        with self._lock:
            kept = self._kept.get(run)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        with self._loader.still():
            began_s = time.monotonic()
            counts = self._counts(run)
            took_s = time.monotonic() - began_s
        ledger = ledger_of(counts.values())
        with self._lock:
            self._kept[run] = (time.monotonic() + min(REST * (took_s - QUICK_S), REST_MAX_S), ledger)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return ledger

    def _counts(self, run: str | None) -> dict[Key, ProcessCounts]:
        counts: dict[Key, ProcessCounts] = {}
        pending = self._loader.pending(run)
        for stored in self._store.stored_by_process(run):
            entry = counts.setdefault((stored.run, stored.process), ProcessCounts())
            entry.stored, entry.ours, entry.highest = stored.stored, stored.ours, stored.highest
        for name, process, number in self._store.rejected_by_process(run):
            counts.setdefault((name, process), ProcessCounts()).rejected = number
        for row in [*self._store.ledgers(run), *pending.declared.values()]:
            entry = counts.setdefault((row.run, row.process), ProcessCounts())
            if row.recorded >= entry.declared:
                entry.declared, entry.dropped = row.recorded, row.dropped
                entry.closed = entry.closed or bool(row.closed)
        for key, identities in self._waiting(pending).items():
            _add_waiting(counts.setdefault(key, ProcessCounts()), identities)
        for key, number in pending.rejected.items():
            counts.setdefault(key, ProcessCounts()).rejected += number
        return counts

    def _waiting(self, pending: Pending) -> dict[Key, set[Identity]]:
        return {
            key: identities - self._store.stored_among(key[0], identities)
            for key, identities in pending.identities.items()
        }


def _add_waiting(entry: ProcessCounts, identities: set[Identity]) -> None:
    ours = [identity for identity in identities if not identity[2]]
    entry.pending = len(identities)
    entry.pending_ours = len(ours)
    entry.highest = max([entry.highest, *(index for _process, index, _event_id in ours)])
