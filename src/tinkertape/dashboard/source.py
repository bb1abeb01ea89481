"""What the pages need to know of the world: four questions, asked of whoever holds the runs."""

from __future__ import annotations

from typing import Any, Protocol


class Source(Protocol):
    """Answers about runs, as plain data. Every method may block: the pages call them in a worker thread."""

    def runs(self, limit: int = 100, before: str | None = None) -> list[dict[str, Any]]:
        """The newest runs first, as rows (`report.RunRow` says which keys are read)."""

    def report(self, run: str) -> dict[str, Any] | None:
        """One run's report (`report.Report`), or None when there is no such run."""

    def last_events(self, run: str, limit: int) -> list[dict[str, Any]]:
        """The last events of a run, oldest first, as the tape's lines."""

    def ledger(self, run: str | None) -> dict[str, Any]:
        """The count of one run's events, or of all runs'."""
