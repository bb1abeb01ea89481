"""Answers about runs, as plain data: for the HTTP API and for the pages (the dashboard's `Source`).

Every method may block; it is called in a worker thread. A run that is not there is None, an id from outside is only
ever a parameter of a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tinkertape.collector.books import Books
from tinkertape.collector.reports import Reports
from tinkertape.collector.run_row import is_healthy
from tinkertape.context import Event
from tinkertape.store import Store
from tinkertape.tape.format import encode_line

RUNS_MAX = 1_000
EVENTS_MAX = 10_000
_CURSOR = re.compile(r"(-?\d{1,19}):(.*)", re.ASCII | re.DOTALL)
_INT64_MAX = 2**63 - 1


class BadParameter(ValueError):
    """A parameter that is none; its text is one line."""


class StoreSource:
    """What is in a store, with the reports that are kept for it."""

    def __init__(self, store: Store, reports: Reports, books: Books) -> None:
        self._store = store
        self._reports = reports
        self._books = books

    def runs(self, limit: int = 100, before: str | None = None) -> list[dict[str, Any]]:
        """The newest runs first. Each row carries its `cursor`; `before` is one, or a run's id.

        Raises `BadParameter` when it is neither.
        """
        limit = max(1, min(limit, RUNS_MAX))
        cursor = self._cursor(before)
        live = self._reports.live_rows()  # first: a run that ends leaves this table after its row is in the store
        rows = {summary.run: summary.summary for summary in self._store.runs(limit, cursor)}
        for run, row in live.items():
            if run in rows:
                rows[run] = row if row["events"] > rows[run]["events"] else rows[run]
            elif cursor is None or (row["began_us"], run) < cursor:
                rows[run] = row
        newest = sorted(rows.values(), key=lambda row: (row["began_us"], row["run"]), reverse=True)[:limit]
        return [{**row, "cursor": f"{row['began_us']}:{row['run']}"} for row in newest]

    def _cursor(self, before: str | None) -> tuple[int, str] | None:
        if not before:
            return None
        found = _CURSOR.fullmatch(before)
        if found and -_INT64_MAX <= int(found[1]) <= _INT64_MAX:
            return int(found[1]), found[2]
        row = self._store.run(before)
        if row is None:
            raise BadParameter("before must be the cursor of a run, or its id")
        return row.began_us, row.run

    def run(self, run: str) -> dict[str, Any] | None:
        """One run: its row of the list and its report."""
        return self._reports.run(run)

    def report(self, run: str) -> dict[str, Any] | None:
        """A run's report."""
        return self._reports.report(run)

    def diagnosis(self, run: str) -> dict[str, Any] | None:
        """What `diagnose --json` prints."""
        report = self._reports.report(run)
        if report is None:
            return None
        findings = report.get("findings") or []
        partition = {part["part"]: part["seconds"] for part in report.get("parts") or []}
        return {
            "run": run,
            "healthy": is_healthy(report),
            "findings": findings,
            "partition": partition,
            "ledger": report["ledger"],
        }

    def last_events(self, run: str, limit: int) -> list[dict[str, Any]]:
        """The last events of a run by time, the oldest of them first, as the tape's lines."""
        events = self._store.last_events(run, max(1, min(limit, EVENTS_MAX)))
        return [msgspec.json.decode(encode_line(event)) for event in reversed(events)]

    def events(self, run: str, after: int, limit: int) -> Iterator[bytes]:
        """A run's events in the order in which they came, which is each process's own, as the tape's lines with a
        `cursor` each."""
        for cursor, event in self._store.events(run, after, max(1, min(limit, EVENTS_MAX))):
            yield line_with_cursor(event, cursor)

    def has_run(self, run: str) -> bool:
        """Is anything stored of this run?"""
        return self._store.count(run) > 0

    def knows(self, run: str | None) -> bool:
        """Is anything here of this run, stored or not? None are all runs."""
        return run is None or self._books.knows(run)

    def ledger(self, run: str | None = None) -> dict[str, Any]:
        """The count of one run's events, or of all runs'."""
        return msgspec.structs.asdict(self._books.ledger(run))

    def ledger_of_known(self, run: str | None) -> dict[str, Any] | None:
        """The same; None for a run of which nothing is here."""
        found = self.ledger(run)
        return found if found["recorded"] or self.knows(run) else None


def line_with_cursor(event: Event, cursor: int) -> bytes:
    """A tape's line; the cursor is text, since JavaScript's numbers end at 2⁵³."""
    return b'%s,"cursor":"%d"}\n' % (encode_line(event)[:-2], cursor)
