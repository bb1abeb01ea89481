"""billing-hold: Tinker takes nothing from this account until its billing is settled.

Rule      a submission was answered 402. The SDK says so once, waits, and sends it again each 5 s for as long as that
          lasts: the call neither fails nor goes on. SDKs before 0.20 do not wait: the call fails. All of a process is
          one finding, which goes on until what was refused is taken, or ends. The cost is what the run waited for it:
          `wait_local` for samples, `send` for all else.
Source    facts/partition.md §1 and §2: 429 and 402 are back-pressure; docs/faults.md: 402 is "billing".
Wrong if  a proxy between you and the service made the answer up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinkertape.context import Event
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.failures import UNPAID
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.losses import is_due
from tinkertape.diagnosis.parts import SDK_LOOP, SEND, WAIT_LOCAL
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import OperationKey
from tinkertape.diagnosis.tallies import Costs
from tinkertape.diagnosis.words import count, first_line, quoted

LISTENS = ("tinker.submit.exception", "tinker.retry", "clock.tick", "telemetry.session.stop", SETTLED)
_DETAIL = re.compile(r"'(?:detail|message)': '([^']+)'")
SETTLE = "Settle the billing of your Tinker account"
ADVICE = f"{SETTLE}; the SDK asks again each 5 s, and the run goes on by itself."


@dataclass
class _Held:
    """What one process was refused."""

    process: str
    began_ns: int
    last_ns: int
    costs: Costs
    answers: int = 0
    failed: int = 0  # operations
    says: str = ""
    told_ns: int = 0
    open: dict[int, int] = field(default_factory=dict)  # operations that wait, since
    names: Counter[str] = field(default_factory=Counter)


class Detector:
    """Keeps what each process was refused."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._held: dict[str, _Held] = {}

    def held(self) -> Iterator[OperationKey]:
        """The operations that it may still ask for."""
        yield from ((process, number) for process, held in self._held.items() for number in held.open)

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding at each answer, growing while the run waits."""
        process = self._book.fold.processes[event.process]
        is_refused = event.metadata.get("status_code") == UNPAID and event.metadata.get("operation_id") is not None
        if is_refused and event.name == "tinker.submit.exception":
            self._refused(process, event)
        held = self._held.get(event.process)
        if held is None:
            return
        if is_refused and event.name == "tinker.retry":
            self._sent_again(held, event, process.last_ns)
        for number in [number for number in held.open if _is_over(process, number)]:
            operation = process.operations[number]
            held.failed += operation.failure is not None and operation.failure.status_code == UNPAID
            _close(held, number, operation.ended_ns or 0)
        if is_refused or event.name == "telemetry.session.stop" or is_due(held.told_ns, held.began_ns, process.last_ns):
            held.told_ns = process.last_ns
            yield _finding(held, process.last_ns)

    def _refused(self, process: Process, event: Event) -> None:
        at, number = process.last_ns, event.metadata["operation_id"]
        held = self._held.get(process.id)
        if held is None:
            held = self._held[process.id] = _Held(process.id, at, at, Costs(self._book.most_named))
        held.answers += 1
        held.last_ns = max(held.last_ns, at)
        held.open[number] = at
        held.names[str(event.metadata.get("operation") or "")] += 1
        held.says = _says(str(event.metadata.get("reason") or "")) or held.says

    def _sent_again(self, held: _Held, event: Event, at: int) -> None:
        _close(held, event.metadata["operation_id"], at)


def _close(held: _Held, number: int, at: int) -> None:
    since = held.open.pop(number, None)
    if since is not None:
        held.costs.add((held.process, number), max(0, at - since))
        held.last_ns = max(held.last_ns, at)


def _is_over(process: Process, number: int) -> bool:
    operation = process.operations.get(number)
    return operation is not None and operation.ended_ns is not None


def _says(reason: str) -> str:
    """The service's own words, without what the SDK puts around them."""
    found = _DETAIL.search(reason)
    return found[1] if found is not None else first_line(reason)


def _finding(held: _Held, now: int) -> Finding:
    costs = Counter(held.costs.by_operation)
    costs.update({(held.process, number): max(0, now - since) for number, since in held.open.items()})
    failed = f" {count(held.failed, 'call')} failed of it." if held.failed else ""
    says = f"; it says: {quoted(held.says).rstrip('.')}" if held.says else ""
    what = f"Tinker answered 402 to {count(held.answers, 'attempt')}, for the billing of this account{says}."
    return Finding(
        "you",
        summary=what + failed,
        evidence=Evidence(
            began_ns=held.began_ns,
            ended_ns=None if held.open else held.last_ns,
            process=held.process,
            operations=tuple(name for name, _ in held.names.most_common() if name),
            figures={"attempts": held.answers, "statuses": {str(UNPAID): held.answers}},
            costs_ns=costs,
            parts=(WAIT_LOCAL, SDK_LOOP, SEND),
        ),
        severity="error",
        cost_s=max(costs.values(), default=0) / 1e9,
        advice=f"{SETTLE}, and call again." if held.failed else ADVICE,
    )
