"""The store: tables and named queries, in ClickHouse's SQL, on the embedded engine (chDB).

`schema/*.sql` are the tables, `queries/*.sql` the questions; `Store` is what other rooms use. Source:
docs/facts/performance.md §6.
"""

from __future__ import annotations

from tinkertape.store.passing import Passing
from tinkertape.store.queries import LedgerRow, Passed, ProcessRow, StoredProcess, Summary
from tinkertape.store.rows import in_range, unfit
from tinkertape.store.store import FEW_ROWS, MANY_ROWS, Rejected, Store, folder_of, held, id_of

__all__ = [
    "FEW_ROWS",
    "MANY_ROWS",
    "LedgerRow",
    "Passed",
    "Passing",
    "ProcessRow",
    "Rejected",
    "Store",
    "StoredProcess",
    "Summary",
    "folder_of",
    "held",
    "id_of",
    "in_range",
    "unfit",
]
