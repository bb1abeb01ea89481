"""promise-expired: the service forgot requests that it had accepted.

Rule      a poll was answered 410. The SDK sends a sample again; a training call fails. Those within 30 s of each other
          are one finding. The cost is all of a call that failed; of a sample the time until it was sent again.
Source    facts/sdk.md §5: 410 on a poll; facts/partition.md §2: what follows it on `/asample` is `send:resubmit`.
Wrong if  nobody asked for so long that the service might well forget: the machine was suspended, the process stopped.
          Where the submission itself was answered 410 it is `session-lost`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.failures import GONE
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.fold import OPERATION_FAILS
from tinkertape.diagnosis.records import OperationKey
from tinkertape.diagnosis.tallies import Costs, RequestIds
from tinkertape.diagnosis.words import count, listed

EXPIRED = "tinker.request.exception"
RETRY = "tinker.retry"
LISTENS = (EXPIRED, RETRY, *OPERATION_FAILS)
SAME_STRETCH_NS = 30_000_000_000


@dataclass
class _Stretch:
    """Promises that expired close to each other."""

    process: str
    began_ns: int
    last_ns: int
    costs: Costs
    requests: RequestIds = field(default_factory=RequestIds)
    names: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    again: int = 0
    waiting: set[OperationKey] = field(default_factory=set)  # calls with a promise that expired: they fail, or go on


class Detector:
    """Keeps the last stretch of each process."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._stretches: dict[str, _Stretch] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding at each promise, growing as its call fails, or is sent again."""
        number = event.metadata.get("operation_id")
        if event.metadata.get("status_code") != GONE or number is None:
            return
        key, at = (event.process, number), int(event.measurements.get("monotonic_time", event.monotonic_ns))
        lasted_ns = int(event.measurements.get("duration") or event.measurements.get("delay") or 0)
        if event.name == EXPIRED:
            stretch = self._stretch(event.process, at - lasted_ns, at)
            stretch.waiting.add(key)
            stretch.requests.add([event.metadata.get("request_id")])
            stretch.names[str(event.metadata.get("operation") or "a call")] += 1
            stretch.costs.add(key, lasted_ns)
            yield _finding(stretch)
            return
        known = self._stretches.get(event.process)
        if known is None or key not in known.waiting:
            return
        known.last_ns = max(known.last_ns, at)
        if event.name == RETRY:
            known.again += 1
            known.costs.add(key, lasted_ns)
        else:
            known.failed[str(event.metadata.get("operation") or event.name.split(".")[2])] += 1
            known.costs.put(key, lasted_ns)
        known.waiting.discard(key)
        yield _finding(known)

    def _stretch(self, process: str, began: int, at: int) -> _Stretch:
        known = self._stretches.get(process)
        if known is None or at - known.last_ns > SAME_STRETCH_NS:
            known = self._stretches[process] = _Stretch(process, began, at, Costs(self._book.most_named))
        known.last_ns = max(known.last_ns, at)
        return known


def _finding(stretch: _Stretch) -> Finding:
    outcomes = []
    if stretch.failed:
        outcomes.append(f"{listed([f'`{name}`' for name in stretch.failed])} failed")
    if stretch.again:
        outcomes.append(f"the SDK sent {stretch.again} again")
    what = f"The service forgot {count(stretch.requests.count, 'request')} that it had accepted"
    return Finding(
        "service",
        summary=f"{what}{': ' if outcomes else ''}{listed(outcomes)}.",
        evidence=Evidence(
            began_ns=stretch.began_ns,
            ended_ns=stretch.last_ns,
            process=stretch.process,
            request_ids=tuple(stretch.requests.first),
            operations=tuple(name for name, _ in stretch.names.most_common()),
            figures={
                "requests": stretch.requests.count,
                "failed": stretch.failed.total(),
                "sent_again": stretch.again,
            },
            costs_ns=stretch.costs.by_operation,
        ),
        severity="error" if stretch.failed else "warning",
        cost_s=stretch.costs.total_ns / 1e9,
        advice="Call it again: nothing in your request was wrong." if stretch.failed else "",
    )
