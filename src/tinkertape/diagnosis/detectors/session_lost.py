"""session-lost: the service ended a session, and takes nothing for it any more.

Rule      a heartbeat, or the submission of a call, was answered 410. All of a process is one finding. It is the
          service's, unless no heartbeat of any session had been answered for 120 s before: then it is the network's
          where heartbeats broke, and yours where this process sent none. The cost is all of the calls that failed.
Source    facts/sdk.md §4 and §5: a heartbeat each 10 s; after 120 s without one the SDK says itself that the session
          will be ended.
Wrong if  the session was ended on purpose, by another process that used it too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.failures import GONE, IN_SESSION
from tinkertape.diagnosis.findings import Evidence, Finding, FindingOwner
from tinkertape.diagnosis.fold import OPERATION_FAILS
from tinkertape.diagnosis.tallies import Costs
from tinkertape.diagnosis.words import count, seconds

HEARTBEAT, CREATED, REFUSED = "tinker.session.heartbeat", "tinker.session.create", "tinker.submit.exception"
LISTENS = (f"{HEARTBEAT}.stop", f"{HEARTBEAT}.exception", CREATED, REFUSED, *OPERATION_FAILS)
SILENT_NS = 120_000_000_000
ADVICE = "Make a new `ServiceClient`, load your last checkpoint, and go on: this session takes nothing more."


@dataclass
class _Beats:
    """The heartbeats of one process: when the last one was answered, and how many broke since."""

    answered_ns: int | None = None
    broke: int = 0


@dataclass
class _Lost:
    """What one process was refused since its session was over."""

    process: str
    began_ns: int
    last_ns: int
    owner: FindingOwner
    silent_ns: int
    broke: int
    costs: Costs
    heartbeats: int = 0
    refused: int = 0  # attempts to submit
    failed: int = 0
    sessions: dict[str, None] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)
    open: set[int] = field(default_factory=set)  # operations that were refused, and have not failed yet


class Detector:
    """Keeps the heartbeats of each process, and what it was refused."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._beats: dict[str, _Beats] = {}
        self._lost: dict[str, _Lost] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding at the first 410, growing with each further one and each call that failed of it."""
        at = int(event.measurements.get("monotonic_time", event.monotonic_ns))
        is_gone = event.metadata.get("status_code") == GONE
        if event.name.startswith("tinker.session."):
            if is_gone:
                lost = self._take(event, at)
                lost.heartbeats += 1
                lost.sessions[str(event.metadata.get("session_id") or "")] = None
                yield _finding(lost)
            else:
                self._beat(event, at)
        elif is_gone and event.name == REFUSED and self._is_in_session(event):
            lost = self._take(event, at)
            lost.refused += 1
            lost.open.add(event.metadata["operation_id"])
            lost.names[str(event.metadata.get("operation") or "a call")] += 1
            yield _finding(lost)
        elif is_gone and event.process in self._lost:
            yield from self._failed(self._lost[event.process], event, at)

    def _beat(self, event: Event, at: int) -> None:
        beats = self._beats.setdefault(event.process, _Beats())
        if event.metadata.get("status") == "success":
            beats.answered_ns, beats.broke = at, 0
        elif event.name.startswith(HEARTBEAT):
            beats.broke += 1

    def _is_in_session(self, event: Event) -> bool:
        operation = self._book.fold.processes[event.process].operations.get(event.metadata.get("operation_id") or 0)
        return operation is not None and operation.family in IN_SESSION

    def _take(self, event: Event, at: int) -> _Lost:
        lost = self._lost.get(event.process)
        if lost is None:
            began = at - int(event.measurements.get("duration") or 0)
            beats = self._beats.get(event.process, _Beats())
            silent = 0 if beats.answered_ns is None else began - beats.answered_ns
            owner: FindingOwner = "service" if silent < SILENT_NS else "network" if beats.broke else "you"
            costs = Costs(self._book.most_named)
            lost = self._lost[event.process] = _Lost(event.process, began, at, owner, silent, beats.broke, costs)
        lost.last_ns = max(lost.last_ns, at)
        return lost

    def _failed(self, lost: _Lost, event: Event, at: int) -> Iterator[Finding]:
        number = event.metadata.get("operation_id")
        if number in lost.open:
            lost.open.discard(number)
            lost.failed += 1
            lost.last_ns = max(lost.last_ns, at)
            lost.costs.put((lost.process, number), int(event.measurements.get("duration") or 0))
            yield _finding(lost)


def _finding(lost: _Lost) -> Finding:
    silent = seconds(lost.silent_ns / 1e9)
    why = {
        "service": "",
        "network": f": no heartbeat got through to it for {silent} before, {lost.broke} broke",
        "you": f": for {silent} before, this process sent no heartbeat",
    }[lost.owner]
    calls = f" {count(lost.failed, 'call')} failed of it." if lost.failed else ""
    figures = {
        "failed": lost.failed,
        "heartbeats": lost.heartbeats,
        "attempts": lost.refused,
        "statuses": {str(GONE): lost.refused} if lost.refused else {},
        "sessions": len(lost.sessions),
        "silent_s": round(lost.silent_ns / 1e9, 1),
    }
    return Finding(
        lost.owner,
        summary=f"The service ended the session{why}.{calls}",
        evidence=Evidence(
            began_ns=lost.began_ns,
            ended_ns=lost.last_ns,
            process=lost.process,
            operations=tuple(name for name, _ in lost.names.most_common()),
            figures=figures,
            costs_ns=lost.costs.by_operation,
        ),
        severity="error",
        cost_s=lost.costs.total_ns / 1e9,
        advice=ADVICE,
    )
