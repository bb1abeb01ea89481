"""service-errors: the service answered with its own errors, or failed a request.

Rule      an attempt was answered 5xx, or an operation failed of the service's doing (category server, 5xx); errors
          within 30 s of each other are one finding. A request that the service failed without saying whose mistake it
          was (category unknown) is a finding with the owner none. What is answered 410 is `promise-expired` or
          `session-lost`. Where no operation was recorded, the SDK's own events tell them (`sdk_faults.py`), without a
          cost.
Source    facts/sdk.md §2a and §5: 5xx on a submission is tried again after a back-off, on a poll at once; a future that
          resolves to {"error", "category"} fails the operation. facts/partition.md §8.
Wrong if  a proxy between you and the service made the answer up. A poll answered 5xx costs nothing: the work went on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.failures import GONE, IN_SESSION
from tinkertape.diagnosis.findings import Evidence, Finding, FindingOwner
from tinkertape.diagnosis.fold import OPERATION_FAILS
from tinkertape.diagnosis.sdk_faults import NAMES, SDK_KEY, SdkFault
from tinkertape.diagnosis.tallies import Costs, RequestIds
from tinkertape.diagnosis.words import count, first_line, listed, quoted
from tinkertape.faults import INTERRUPTIONS

LISTENS = (
    "tinker.http.request.stop",
    "tinker.http.request.exception",
    "tinker.retry",
    *OPERATION_FAILS,
    *NAMES,
)
SAME_STRETCH_NS = 30_000_000_000
SDK_STRETCH_NS = 600_000_000_000  # the SDK tells of an attempt when its HTTP client has given up: a minute apart
POLLS = "/api/v1/retrieve_future"
CANCELLED = INTERRUPTIONS | {"TimeoutError"}


@dataclass
class _Stretch:
    """Errors close to each other."""

    process: str
    owner: FindingOwner
    first_ns: int  # when the first that was heard of began: its name, which stays
    began_ns: int  # the earliest
    last_ns: int
    costs: Costs  # of operations that failed, all of it; else their failed attempts and back-off
    attempts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)  # operations that failed, by name
    message: str = ""
    requests: RequestIds = field(default_factory=RequestIds)
    operations: Counter[str] = field(default_factory=Counter)


class Detector:
    """Keeps the last stretch of errors of each process."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._stretches: dict[tuple[str, FindingOwner], _Stretch] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding at each error, its count and cost growing."""
        if event.event_id:
            fault = self._book.sdk.told
            if (
                fault is not None
                and self._book.only_sdk
                and (fault.failure.owner == "service" or fault.failure.category == "unknown")
            ):
                yield self._of_sdk(fault, event, fault.time_ns - self._book.fold.processes[event.process].offset_ns)
            return
        at = _stamp(event)
        status = event.metadata.get("status_code")
        is_error = isinstance(status, int) and status >= 500
        number = event.metadata.get("operation_id")
        if number is None:
            return
        key = (event.process, number)
        if event.name.startswith("tinker.http.request."):
            if is_error:
                stretch = self._stretch(event, at)
                stretch.attempts += 1
                stretch.statuses[str(status)] += 1
                if not str(event.metadata.get("path") or "").startswith(POLLS):
                    stretch.costs.add(key, int(event.measurements.get("duration") or 0))
                yield _finding(stretch)
        elif event.name == "tinker.retry":
            if is_error:
                stretch = self._stretch(event, at)
                stretch.costs.add(key, int(event.measurements.get("delay") or 0))
                yield _finding(stretch)
        elif event.name.endswith(".exception") and (is_services(event) or is_unexplained(event)):
            stretch = self._stretch(event, at, owner="service" if is_services(event) else "none")
            name = str(event.metadata.get("operation") or event.name.split(".")[2])
            stretch.failed[name] += 1
            stretch.message = stretch.message or first_line(str(event.metadata.get("reason") or ""))
            stretch.costs.put(key, int(event.measurements.get("duration") or 0))
            yield _finding(stretch)

    def _of_sdk(self, fault: SdkFault, event: Event, at: int) -> Finding:
        """Of an event of the SDK's own, where it is all that is known."""
        owner: FindingOwner = "service" if fault.failure.owner == "service" else "none"
        stretch = self._stretch(event, at, SDK_STRETCH_NS, owner)
        stretch.operations[fault.operation] += 1
        if fault.retried:
            stretch.attempts += 1
            stretch.statuses[str(fault.failure.status_code or fault.failure.error_type)] += 1
        else:
            stretch.failed[fault.operation or "a call"] += 1
            stretch.message = stretch.message or first_line(fault.failure.message)
        found = _finding(stretch)
        return msgspec.structs.replace(found, cost_s=None, key=SDK_KEY + found.key)

    def _stretch(
        self, event: Event, at: int, gap_ns: int = SAME_STRETCH_NS, owner: FindingOwner = "service"
    ) -> _Stretch:
        stretch = self._stretches.get((event.process, owner))
        began = at - int(event.measurements.get("duration") or event.measurements.get("delay") or 0)
        if stretch is None or began - stretch.last_ns > gap_ns:
            costs = Costs(self._book.most_named)
            stretch = self._stretches[event.process, owner] = _Stretch(event.process, owner, began, began, at, costs)
        stretch.began_ns = min(stretch.began_ns, began) if not stretch.attempts else stretch.began_ns
        stretch.last_ns = max(stretch.last_ns, at)
        stretch.operations[str(event.metadata.get("operation") or "")] += 1
        stretch.requests.add(event.metadata.get("request_ids") or [event.metadata.get("request_id")])
        return stretch


def is_services(event: Event) -> bool:
    """Did this operation fail of the service's doing?"""
    metadata = event.metadata
    if metadata.get("error_type") in CANCELLED or metadata.get("error_category") == "user":
        return False
    if metadata.get("status_code") == GONE and event.name.split(".")[1] in IN_SESSION:
        return False
    status = metadata.get("status_code")
    if isinstance(status, int) and status >= 500:
        return True
    return metadata.get("fault_owner") == "service" or metadata.get("error_category") == "server"


def is_unexplained(event: Event) -> bool:
    """Did the service fail it, and not say whose mistake it was?"""
    return event.metadata.get("error_category") == "unknown"


def _finding(stretch: _Stretch) -> Finding:
    names = [name for name, _ in stretch.operations.most_common() if name]
    answered = listed(sorted(stretch.statuses))
    sentences = []
    if stretch.failed:
        failed = listed([f"`{name}`" for name in stretch.failed])
        message = f": {quoted(stretch.message.rstrip('.'))}" if stretch.message else ""
        unsaid = ", and did not say whose mistake it was" if stretch.owner == "none" else ""
        sentences.append(f"The service failed {failed}{unsaid}{message}.")
    if stretch.attempts:
        again = "" if stretch.failed else ", and the SDK tried again"
        sentences.append(f"{count(stretch.attempts, 'attempt')} answered {answered}{again}.")
    again = "Call it again: nothing in your request was wrong."
    if stretch.owner == "none":
        again = "Call it again; if it fails again, ask the service, with the request's id."
    return Finding(
        stretch.owner,
        summary=" ".join(sentences) or "The SDK waited after an error of the service.",
        evidence=Evidence(
            began_ns=stretch.began_ns,
            ended_ns=stretch.last_ns,
            process=stretch.process,
            request_ids=tuple(stretch.requests.first),
            operations=tuple(names),
            figures={
                "attempts": stretch.attempts,
                "failed": stretch.failed.total(),
                "statuses": dict(stretch.statuses),
            },
            costs_ns=stretch.costs.by_operation,
        ),
        severity="error" if stretch.failed else "warning",
        cost_s=stretch.costs.total_ns / 1e9,
        advice=again if stretch.failed else "",
        key=f"{stretch.process}:{stretch.owner}:{stretch.first_ns}",
    )


def _stamp(event: Event) -> int:
    value = event.measurements.get("monotonic_time")
    return int(value) if isinstance(value, int | float) else event.monotonic_ns
