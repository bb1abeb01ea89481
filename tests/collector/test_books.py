"""The ledger of one process, from counts that were taken apart."""

from __future__ import annotations

import pytest

from tinkertape.collector.books import Counts, process_ledger
from tinkertape.store import LedgerRow
from tinkertape.tape.ledger import Ledger, ProcessCount


def said(recorded: int, dropped: dict[str, int] | None = None, closed: str = "success") -> LedgerRow:
    return LedgerRow("r", "p", recorded, dropped or {}, closed)


@pytest.mark.parametrize(
    ("counts", "ledger"),
    [
        (Counts(ProcessCount(stored=10, top_index=9), declared=said(10)), Ledger(10, 10)),
        (Counts(ProcessCount(stored=4, pending=6, top_index=9), declared=said(10)), Ledger(10, 4, 6)),
        (
            Counts(ProcessCount(stored=8, top_index=9), declared=said(10, {"exit": 2})),
            Ledger(10, 8, dropped={"exit": 2}),
        ),
        (Counts(ProcessCount(stored=9, top_index=9, set_aside=3), declared=said(10)), Ledger(10, 9, rejected=1)),
        (Counts(ProcessCount(stored=9, top_index=9), declared=said(10)), Ledger(10, 9)),
        (Counts(ProcessCount(stored=9, top_index=9)), Ledger(10, 9, dropped={"unknown": 1})),
        (Counts(ProcessCount(stored=4, top_index=3), declared=said(10, closed="")), Ledger(10, 4, 6)),
        (
            Counts(ProcessCount(stored=4, top_index=3), declared=said(10, {"memory_full": 5}, closed="")),
            Ledger(10, 4, 1, dropped={"memory_full": 5}),
        ),
        (
            Counts(ProcessCount(stored=4, top_index=8), declared=said(10, {"memory_full": 5}, closed="")),
            Ledger(10, 4, 1, dropped={"memory_full": 5}),
        ),
        (
            Counts(ProcessCount(stored=8, top_index=9), declared=said(10, {"space": 5})),
            Ledger(10, 8, dropped={"space": 2}),
        ),
        (Counts(ProcessCount(set_aside=2), foreign_stored=5, foreign_pending=1), Ledger(8, 5, 1, 2)),
        (Counts(ProcessCount(torn=1, stored=2, top_index=1)), Ledger(3, 2, dropped={"torn": 1})),
    ],
    ids=[
        "all stored",
        "some wait",
        "some dropped",
        "one damaged, two lines that never were events",
        "one vanished",
        "killed with a hole",
        "the rest is still far away",
        "it goes on, and dropped what came last",
        "it goes on, and dropped what came before",
        "removed for lack of room after it had come",
        "a plain SDK",
        "killed in a line",
    ],
)
def test_the_ledger_of_a_process(counts, ledger):
    assert process_ledger(counts) == ledger


def test_only_what_vanished_leaves_it_unbalanced():
    assert not process_ledger(Counts(ProcessCount(stored=9, top_index=9), declared=said(10))).balanced
