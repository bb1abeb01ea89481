"""Is what the simulated service did in the report? For each fault that it injected: seen or not, whose, how long.

The truth is the service's own file (`tinkertape.sim`), the report is what tinkertape made of the recording: neither
knows the other. Pure. A pause agrees when the true length lies within the report's bounds, or the two differ by 5 %
at most. Source: docs/simulated-service.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tinkertape.cli.figures import bounds, seconds
from tinkertape.diagnosis.report import FindingRow, PauseRow, Report
from tinkertape.tape import Ledger

TOLERANCE = 0.05


class TruthLine(msgspec.Struct, frozen=True):
    """A line of the truth file, as far as faults need it. Times are in nanoseconds."""

    what: str
    at_ns: int
    request_id: str | None = None
    request_ids: list[str] = []
    request_type: str | None = None
    nth: int | None = None
    reason: str | None = None
    duration_ns: int = 0
    kind: str | None = None
    injected: bool = False
    status: int | None = None
    category: str | None = None
    factor: float = 1.0


class Checked(msgspec.Struct, frozen=True):
    """One injected fault: what it was, and what the report says of it. `missing` is empty when the report is right."""

    injected: str
    missing: str = ""


def read_truth(path: Path) -> list[TruthLine]:
    """The complete lines of a truth file."""
    return [msgspec.json.decode(line, type=TruthLine) for line in path.read_bytes().split(b"\n")[:-1]]


def check(truth: Sequence[TruthLine], report: Report) -> list[Checked]:
    """Hold the report against the truth: an answer for each pause, slow stretch and fault, and the ledger."""
    found = [*_pauses(truth, report), *_slow(truth, report), *_faults(truth, report)]
    return [*found, _nothing_else(truth, report), _ledger(report)]


def _found(report: Report, cause: str) -> FindingRow | None:
    return next((finding for finding in report.findings if finding.cause == cause), None)


def _owned(report: Report, cause: str) -> str:
    """What is wrong with the finding that must be there and be the service's; nothing when all is well."""
    finding = _found(report, cause)
    if finding is None:
        return f"no finding {cause}"
    return "" if finding.owner == "service" else f"{cause} is laid at {finding.owner}"


def _pauses(truth: Sequence[TruthLine], report: Report) -> Iterator[Checked]:
    for resumed in (line for line in truth if line.what == "resumed"):
        true_s = resumed.duration_ns / 1e9
        seen = [pause for pause in report.pauses if pause.request_id in resumed.request_ids]
        injected = f"a {resumed.reason} pause of {seconds(true_s)}"
        cause = f"{(resumed.reason or '').replace('_', '-')}-pause"
        yield Checked(injected, _pause_missing(true_s, seen) or _owned(report, cause))


def _pause_missing(true_s: float, seen: Sequence[PauseRow]) -> str:
    if not seen:
        return "not in the report"
    if any(_agrees(true_s, pause) for pause in seen):
        return ""
    said = ", ".join(f"{seconds(pause.length_s)} ({bounds(pause.min_s, pause.max_s)})" for pause in seen)
    return f"the report says {said}"


def _agrees(true_s: float, pause: PauseRow) -> bool:
    return pause.min_s <= true_s <= pause.max_s or abs(pause.length_s - true_s) <= TOLERANCE * true_s


def _slow(truth: Sequence[TruthLine], report: Report) -> Iterator[Checked]:
    slow = [line for line in truth if line.what == "slow"]
    if not slow:
        return
    injected = f"{len(slow)} requests slowed down {slow[0].factor:.1f}×"
    missing = _owned(report, "slow-service")
    finding = _found(report, "slow-service")
    if finding is not None and not missing and finding.evidence.get("request_ids"):
        true = {line.request_id for line in slow}
        if not true & set(finding.evidence["request_ids"]):
            missing = "slow-service names other requests"
    yield Checked(injected, missing)


def _faults(truth: Sequence[TruthLine], report: Report) -> Iterator[Checked]:
    injected = [line for line in truth if line.what == "fault" and line.injected]
    groups = Counter((fault.kind, fault.request_type, fault.nth, fault.status, fault.category) for fault in injected)
    for (kind, request_type, nth, status, category), number in groups.items():
        if category == "user":
            yield Checked("a request that failed by its input", "" if _blamed(report, "you") else "no error of yours")
            continue
        said = f"status {status}" if status else f"category {category}"
        times = "" if number == 1 else f", {number} times"
        missing = _fault_missing(status, category, number, report)
        yield Checked(f"a failed {kind} of {request_type} {nth} ({said}){times}", missing)


def _fault_missing(status: int | None, category: str | None, number: int, report: Report) -> str:
    retried = sum(retry.status_code == status for retry in report.retries) if status else 0
    told = sum(error.count for error in report.errors if (error.status_code, error.category) in _of(status, category))
    if retried + told < number:
        return f"the report has {retried + told} of {number}"
    return _owned(report, _cause(status))


def _cause(status: int | None) -> str:
    return "session-lost" if status == 410 else "service-errors"


def _of(status: int | None, category: str | None) -> set[tuple[int | None, str | None]]:
    """What an error of the report may carry: a status, or a category, as the SDK hands it on."""
    return {(status, category), (status, None), (status, ""), (None, category)}


def _nothing_else(truth: Sequence[TruthLine], report: Report) -> Checked:
    """The service is blamed for what it did, and for nothing else. What this machine did is not in the truth."""
    reasons = {"capacity": "capacity-pause", "rate_limit": "rate-limit-pause", "unknown": "rate-limit-pause"}
    did = {reasons.get(line.reason or "unknown", "") for line in truth if line.what == "resumed"}
    did |= {"slow-service" for line in truth if line.what == "slow"}
    did |= {_cause(line.status) for line in truth if line.what == "fault" and line.injected}
    did |= {"promise-expired" for line in truth if line.what == "expired"}
    did |= {"session-lost" for line in truth if line.what == "sessions_lost"}
    wrong = [finding.cause for finding in report.findings if finding.owner == "service" and finding.cause not in did]
    return Checked("nothing else laid at the service", ", ".join(wrong))


def _blamed(report: Report, owner: str) -> bool:
    return any(error.owner == owner for error in report.errors)


def _ledger(report: Report) -> Checked:
    ledger = msgspec.convert(report.ledger or {}, Ledger)
    missing = "" if ledger.balanced else f"{ledger.recorded} recorded, {ledger.accounted} accounted for"
    if not missing and (ledger.pending or not ledger.recorded):
        missing = f"{ledger.pending} of {ledger.recorded} events are still pending"
    return Checked("every event in the ledger", missing)
