"""What the report says of each owner: what it had of the time, and in a few words whether it is to blame.

Pure, from rows; a figure that is no measurement says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinkertape.diagnosis import words
from tinkertape.diagnosis.findings import FindingOwner, is_estimate
from tinkertape.diagnosis.fold import Fold
from tinkertape.diagnosis.parts import COMPUTE, QUEUE, SEND, PartOwner
from tinkertape.diagnosis.report import ErrorRow, FindingRow, Owner, Part, Role, Verdict
from tinkertape.diagnosis.tables import quantile
from tinkertape.diagnosis.verdict import owners_at_fault
from tinkertape.diagnosis.view import View

OWNERS: tuple[PartOwner, ...] = ("you", "network", "service", "idle")
IN_SEND = "in_send_s"  # a finding's figure: what of its cost lies in the network's part
UNSENT_MIN_NS = 30_000_000_000
SUSPECT = "Suspect"  # of trouble that no detector names
TROUBLE_MIN_S = 0.05  # of a paused queue: less is a poll's rounding


def broken_connections(fold: Fold) -> int:
    """How often something was tried again because no answer came."""
    return sum(retry.status_code is None for process in fold.processes.values() for retry in process.retries)


def never_sent(fold: Fold) -> list[str]:
    """Training calls that the SDK took, and kept: one waits for its turn for ever after a call before it was cancelled
    unsent (0.38.0). Samples may wait as long as the SDK has too many of them.
    """
    kept = [
        ((process.last_ns if operation.ended_ns is None else operation.ended_ns) - operation.began_ns, operation)
        for process in fold.processes.values()
        for operation in process.order
        if operation.family == "training"
    ]
    unsent = [(waited, each) for waited, each in kept if waited >= UNSENT_MIN_NS and each.first_submit_ns is None]
    if not unsent:
        return []
    waited, longest = max(unsent, key=lambda each: each[0])
    after = f"after {words.seconds(waited / 1e9)} inside the SDK (`{longest.name}`)"
    return [f"{words.count(len(unsent), 'call')} not sent {after}"]


def unknown_owners() -> list[Owner]:
    """Of a run of which no time is known."""
    return [Owner(owner, None, 0.0, "none", "not recorded") for owner in OWNERS]


def owner_rows(
    fold: Fold,
    view: View | None,
    parts: Sequence[Part],
    findings: list[FindingRow],
    errors: Sequence[ErrorRow],
    over_s: float,
    answer: Verdict,
) -> list[Owner]:
    """A row an owner, in their order."""
    guilty: list[FindingOwner] = owners_at_fault(findings) if findings else []
    if answer.owner != "none" and answer.owner not in guilty:
        guilty.append(answer.owner)
    if view is None:
        return []
    said = {
        "you": _say_you(fold, errors, "you" in guilty, findings),
        "network": _say_network(fold, view, "network" in guilty, parts, findings),
        "service": _say_service(fold, parts, over_s, "service" in guilty, findings),
        "idle": "Nothing in flight",
    }
    called = any(process.order for process in fold.processes.values())
    if not called:
        said |= {owner: "no call was recorded" for owner in said if owner not in ("idle", *guilty)}
    rows: list[Owner] = []
    for owner in OWNERS:
        spent = sum(part.seconds for part in parts if part.owner == owner)
        share = sum(part.share for part in parts if part.owner == owner)
        unclear = owner == "idle" or not called or said[owner].startswith(SUSPECT)
        role: Role = "cause" if owner in guilty else "none" if unclear else "not"
        if owner == "service" and role == "not" and not any(row.owner == "service" for row in findings):
            role = "usual"
        rows.append(Owner(owner, spent, share, role, said[owner]))
    return rows


def _blame(findings: list[FindingRow], owner: FindingOwner) -> str:
    mine = [row for row in findings if row.owner == owner]
    return "; ".join(_blamed(row) for row in mine[:2])


def _blamed(row: FindingRow) -> str:
    """A cause and its cost; what ended the program has none."""
    if row.cause == "user-error" and not row.evidence["operations"]:
        return f"the program raised {row.evidence['figures'].get('error_type', 'an exception')}"
    return f"{row.cause}, {_cost(row)}"


def _cost(row: FindingRow) -> str:
    return (
        words.about(row.cost_s, estimate=is_estimate(row.cause, row.evidence["figures"]))
        if row.cost_s
        else "at no cost"
    )


def _say_you(fold: Fold, errors: Sequence[ErrorRow], guilty: bool, findings: list[FindingRow]) -> str:
    if guilty:
        return f"The cause: {_blame(findings, 'you') or 'the program raised'}"
    unsent = never_sent(fold)
    if unsent and not findings:
        return f"{SUSPECT}: {unsent[0]}"
    mine = sum(row.count for row in errors if row.owner == "you")
    cost = sum(row.cost_s or 0.0 for row in findings if row.owner == "you")
    lost = f", {words.seconds(cost)}" if cost else ""
    return f"Not the cause: {words.count(mine, 'user error')}{lost}" if mine else "Not the cause: no error of yours"


def _say_network(fold: Fold, view: View, guilty: bool, parts: Sequence[Part], findings: list[FindingRow]) -> str:
    if guilty:
        return f"The cause: {_blame(findings, 'network') or 'the connection broke'}{_after_errors(findings)}"
    sends = []
    for operation in view.process.order:
        if operation.ended_ns is not None and operation.failure is None and operation.requests:
            sends.append(view.cutter.cut(operation).nanoseconds(SEND) / 1e9)
    broken = broken_connections(fold)
    is_measured = all(part.quality == "measured" for part in parts if part.part == SEND)
    slowest = quantile(sorted(sends), 0.95) if sends else None
    speed = f"send p95 {words.about(slowest, estimate=not is_measured)}, " if sends else ""
    lead = SUSPECT if broken and not findings else "Not the cause"
    return f"{lead}: {speed}{words.count(broken, 'broken connection')}{_after_errors(findings)}"


def _after_errors(findings: list[FindingRow]) -> str:
    """What of the network's time was spent on the service's errors: the SDK waits before it sends again."""
    rows = [row for row in findings if row.evidence["figures"].get(IN_SEND)]
    if not rows:
        return ""
    statuses = sorted({status for row in rows for status in row.evidence["figures"].get("statuses") or ()})
    seconds = words.seconds(sum(row.evidence["figures"][IN_SEND] for row in rows))
    return f"; {seconds} of it waiting after Tinker's {words.listed(statuses) or 'errors'}"


def _say_service(fold: Fold, parts: Sequence[Part], over_s: float, guilty: bool, findings: list[FindingRow]) -> str:
    lost = over_s + sum(part.seconds for part in parts if part.part.startswith(QUEUE))
    spent = sum(part.seconds for part in parts if part.owner == "service")
    if guilty and lost > 0:
        usual = _as_known(spent - lost, next((part for part in parts if part.part == COMPUTE), None))
        return f"The cause: {usual} is usual, ≈{words.THIN}{words.seconds(lost)} is not"
    if guilty:
        return f"The cause: {_blame(findings, 'service') or 'the service failed a request'}"
    if any(row.owner == "service" for row in findings):
        return f"Not the cause: {_blame(findings, 'service')}"
    unclear = sum(row.evidence["figures"].get("failed", 0) for row in findings if row.owner == "none")
    if unclear:
        return f"Steady: no more than {words.count(unclear, 'failure')} that it did not explain"
    if lost - over_s >= TROUBLE_MIN_S:
        return f"Paused for ≈{words.THIN}{words.seconds(lost - over_s)}; no error, no slow stretch"
    network = any(row.owner == "network" for row in findings)
    if network and all(process.round_trip_ns is None for process in fold.processes.values()):
        return "Not known: no answer of it came through"
    return "Steady: no pause, no error, no slow stretch"


def _as_known(seconds: float, compute: Part | None) -> str:
    """What the service took as usual, which is as well known as its compute."""
    if compute is None or compute.quality == "measured":
        return words.seconds(seconds)
    if compute.quality == "inferred":
        return f"about {words.seconds(seconds)}"
    return f"{'at most ' if compute.min_s < 0.9 * compute.seconds else ''}{words.seconds(seconds)}"
