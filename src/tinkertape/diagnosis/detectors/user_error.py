"""user-error: a call failed because of what it was given, or the program ended by an exception of its own.

Rule      an operation failed of your doing: the service said category "user", or answered 4xx (not 408, not 429), or
          the call was refused before it was sent. What is answered 402 is `billing-hold`. The same error of the same
          operation is one finding. Where no operation was recorded, the SDK's own events tell it (`sdk_faults.py`),
          without a cost. An exception that ended the program, and that no call raised, is one too: without a cost, for
          nothing came after it.
Source    facts/sdk.md §7, the specification's rule; the fault is classified where it is caught (`fault_owner`).
Wrong if  a 4xx is the service's own mistake (a 404 of a checkpoint that exists). A result that nobody waited for until
          its timeout, or a call that was cancelled, is no error.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.failures import IN_SESSION, UNPAID, program_failure
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.fold import OPERATION_FAILS
from tinkertape.diagnosis.records import Failure
from tinkertape.diagnosis.sdk_faults import NAMES, SDK_KEY, SdkFault
from tinkertape.diagnosis.tallies import Costs, RequestIds
from tinkertape.diagnosis.tracebacks import code_line
from tinkertape.diagnosis.words import first_line, quoted
from tinkertape.faults import INTERRUPTIONS

EXCEPTION, STOP = "telemetry.exception", "telemetry.session.stop"
LISTENS = (*OPERATION_FAILS, EXCEPTION, STOP, *NAMES)
KINDS_MAX = 200  # messages may have ids in them
CANCELLED = INTERRUPTIONS | {"TimeoutError"}


@dataclass
class _Same:
    """One error, as often as it came."""

    process: str
    operation: str
    message: str
    began_ns: int
    last_ns: int
    where: str
    costs: Costs
    count: int = 0
    requests: RequestIds = field(default_factory=RequestIds)
    status_code: int | None = None
    category: str | None = None
    error_type: str = ""


class Detector:
    """Keeps each kind of error of each process."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._seen: dict[tuple[str, str, str, str], _Same] = {}
        self._raised: dict[str, tuple[Failure, int]] = {}  # by process: what the program raised last
        self._failed: dict[str, deque[tuple[str, str]]] = {}  # by process: what calls failed of

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding at each error of yours, its count and cost growing."""
        fault = self._book.sdk.told
        if fault is not None and fault.failure.owner == "user" and self._book.only_sdk:
            yield self._of_sdk(fault, fault.time_ns - self._book.fold.processes[event.process].offset_ns)
        if event.event_id:
            return
        if event.name in (EXCEPTION, STOP):
            yield from self._of_program(event)
            return
        if not event.name.endswith(".exception"):
            return
        metadata = event.metadata
        failed = self._failed.setdefault(event.process, deque(maxlen=KINDS_MAX))
        failed.append((str(metadata.get("error_type")), str(metadata.get("reason"))))
        if not is_yours(event):
            return
        name = str(metadata.get("operation") or event.name.split(".")[2])
        error_type = str(metadata.get("error_type") or "")
        message = first_line(str(metadata.get("reason") or ""))
        at = event.measurements.get("monotonic_time", event.monotonic_ns)
        duration = int(event.measurements.get("duration") or 0)
        key = self._key(event.process, name, error_type, message)
        same = self._seen.get(key)
        if same is None:
            where = code_line(str(metadata.get("stacktrace") or ""), str(metadata.get("reason") or ""))
            same = self._seen[key] = _Same(event.process, name, message, at - duration, at, where, self._costs())
        same.count += 1
        same.last_ns = at
        same.error_type = error_type
        same.status_code, same.category = metadata.get("status_code"), metadata.get("error_category")
        same.requests.add(metadata.get("request_ids") or ())
        if metadata.get("operation_id") is not None:
            same.costs.put((event.process, metadata["operation_id"]), duration)
        yield _finding(same, "|".join(key), duration)

    def _of_program(self, event: Event) -> Iterator[Finding]:
        """The exception that ended the program, once it has ended, unless a call had failed by it."""
        at = event.measurements.get("monotonic_time", event.monotonic_ns)
        if event.name == EXCEPTION:
            self._raised[event.process] = program_failure(event, at), at
            return
        failure, raised_ns = self._raised.pop(event.process, (None, 0))
        if failure is None or event.metadata.get("status") != "errored" or failure.is_interruption:
            return
        is_calls = (failure.error_type, failure.message) in self._failed.get(event.process, ())
        if is_calls or failure.owner not in ("user", "client"):
            return
        message = quoted(first_line(failure.message).rstrip("."))
        where = code_line(failure.traceback, failure.message)
        figures = {"count": 1, "error_type": failure.error_type, "where": where}
        yield Finding(
            "you",
            summary=f"The program raised {failure.error_type}{f': {message}' if message else ''}.",
            evidence=Evidence(
                began_ns=raised_ns,
                ended_ns=raised_ns,
                process=event.process,
                figures={name: value for name, value in figures.items() if value},
            ),
            severity="error",
            advice=f"Look at `{where}`." if where else "",
        )

    def _of_sdk(self, fault: SdkFault, at: int) -> Finding:
        """Of an event of the SDK's own, where it is all that is known."""
        failure = fault.failure
        message = first_line(failure.message)
        key = self._key(fault.process, fault.operation, failure.error_type, message)
        where = code_line(failure.traceback, failure.message)
        made = _Same(fault.process, fault.operation, message, at, at, where, self._costs())
        same = self._seen.setdefault(key, made)
        same.count += 1
        same.last_ns, same.error_type = at, failure.error_type
        same.status_code, same.category = failure.status_code, failure.category
        same.requests.add([fault.request_id])
        return msgspec.structs.replace(_finding(same, SDK_KEY + "|".join(key), 0), cost_s=None)

    def _key(self, process: str, operation: str, error_type: str, message: str) -> tuple[str, str, str, str]:
        """What makes it the same error: its message, too, as long as there are not too many of them."""
        key = (process, operation, error_type, re.sub(r"\d+", "#", message))
        return key if key in self._seen or len(self._seen) < KINDS_MAX else (process, operation, error_type, "")

    def _costs(self) -> Costs:
        return Costs(self._book.most_named)


def is_yours(event: Event) -> bool:
    """Did this operation fail of your doing?"""
    metadata = event.metadata
    status = metadata.get("status_code")
    if metadata.get("error_type") in CANCELLED or (status == UNPAID and event.name.split(".")[1] in IN_SESSION):
        return False
    owner = metadata.get("fault_owner")
    if owner in ("service", "network"):
        return False
    if owner in ("user", "client") or metadata.get("error_category") == "user":
        return True
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)


def _finding(same: _Same, key: str, duration: int) -> Finding:
    times = f" ({same.count} times)" if same.count > 1 else ""
    message = quoted(same.message.rstrip(".")) or same.error_type
    figures = {
        "count": same.count,
        "error_type": same.error_type,
        "status_code": same.status_code,
        "category": same.category,
        "where": same.where,
    }
    what = f"`{same.operation}`" if same.operation else "A call"
    return Finding(
        "you",
        summary=f"{what} failed{times}: {message}.",
        evidence=Evidence(
            began_ns=same.began_ns,
            ended_ns=same.last_ns,
            process=same.process,
            request_ids=tuple(same.requests.first),
            operations=(same.operation,) * bool(same.operation),
            figures={name: value for name, value in figures.items() if value not in (None, "")},
            costs_ns=same.costs.by_operation,
        ),
        severity="error",
        cost_s=same.costs.total_ns / 1e9 or duration / 1e9,
        advice=f"Look at `{same.where}`." if same.where else "Check what the call was given.",
        key=key,
    )
