"""capacity-pause: the service had no machine free for this run.

Rule      answers to polls said "paused, capacity" for 1 s or more; pauses of several requests at once are one.
Source    facts/sdk.md §4: `queue_state`, `queue_state_reason` in the answer to a poll; facts/partition.md §7.2: a pause
          is known to one poll at each end, and the bounds say so.
Wrong if  the service gives no reason (SDK 0.6): such a pause is `rate-limit-pause`'s, which says so. What the run did
          not wait for costs it nothing: the cost is the time that it waited in `queue:capacity`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinkertape.context import Event
from tinkertape.diagnosis.findings import Finding
from tinkertape.diagnosis.pauses import PAUSES, Pauses

LISTENS = PAUSES


class Detector:
    """Keeps the stretch of pauses of each process that is open, or was last."""

    def __init__(self) -> None:
        self._pauses = Pauses("capacity")

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when a pause ends, and again at each tick while one grows."""
        for stretch, now in self._pauses.after(event):
            kept = "keeps" if stretch.open else "kept"
            yield Finding(
                "service",
                summary=f"The service {kept} {stretch.operation} queued: out of capacity.{stretch.words}",
                evidence=stretch.evidence(now),
                cost_s=stretch.length_s(now),
                advice=f"Nothing to change in your code; the run {'goes' if stretch.open else 'went'} on by itself.",
            )
