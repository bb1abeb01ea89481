"""A report from a view of the run and what the detectors found: every figure on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from tinkertape.diagnosis import words
from tinkertape.diagnosis.detectors.user_error import code_line
from tinkertape.diagnosis.findings import Finding, FindingOwner, evidence_json, is_estimate
from tinkertape.diagnosis.fold import Fold
from tinkertape.diagnosis.parts import COMPUTE, IDLE, QUEUE, SEND, YOUR_CODE, PartOwner
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Failure, OperationKey
from tinkertape.diagnosis.report import ErrorRow, FindingRow, Owner, Part, PauseRow, Report, Role, State, Step, Verdict
from tinkertape.diagnosis.sdk_faults import SDK_KEY
from tinkertape.diagnosis.tables import (
    error_rows,
    model_rows,
    operation_rows,
    part_rows,
    pause_rows,
    quantile,
    retry_rows,
    span_rows,
    step_rows,
)
from tinkertape.diagnosis.verdict import Facts, owners_at_fault, verdict
from tinkertape.diagnosis.view import View

_STATES: Mapping[str, State] = {
    "success": "ended",
    "interrupted": "ended",
    "errored": "failed",
    "error": "failed",
    "failed": "failed",
    "killed": "killed",
}
IN_SEND = "in_send_s"  # a finding's figure: what of its cost lies in the network's part
IN_SEND_MIN_S = 0.01
TROUBLE_MIN_S = 0.05  # of a paused queue: less is a poll's rounding
_OWNERS: tuple[PartOwner, ...] = ("you", "network", "service", "idle")


@dataclass
class Identity:
    """What a tape's header says of the run, where the events do not."""

    run: str = ""
    name: str = ""
    project: str = ""
    python: str = ""
    sdk_version: str = ""
    sessions: list[str] = field(default_factory=list)


def settled(view: View | None, findings: Sequence[Finding]) -> list[Finding]:
    """The findings with what they cost the run, their share of it and their steps; the costliest first."""
    if view is None:
        return list(findings)
    out = []
    for finding in findings:
        if finding.key.startswith(SDK_KEY) and not view.book.only_sdk:
            continue  # ours tell the same error
        cost = view.cost_s(finding)
        share = cost / view.wall_s if cost is not None and view.wall_s > 0 else None
        in_send = view.in_send_s(finding)
        figures = (
            finding.evidence.figures if in_send < IN_SEND_MIN_S else {**finding.evidence.figures, IN_SEND: in_send}
        )
        evidence = msgspec.structs.replace(finding.evidence, steps=view.steps_of(finding), figures=figures)
        severity = "info" if cost == 0 and finding.severity == "warning" else finding.severity
        out.append(msgspec.structs.replace(finding, cost_s=cost, share=share, evidence=evidence, severity=severity))
    return sorted(out, key=lambda finding: -(finding.cost_s or 0.0))


def state_of(fold: Fold, view: View | None, said: State | None) -> State:
    """The run's state, where the caller does not know it: from how its recording ended, and from open pauses."""
    if view is not None and view.book.only_sdk and said in (None, "ended"):
        sdk = view.book.sdk
        return "failed" if sdk.ended_by is not None else "ended" if said or sdk.is_over else "running"
    if said is not None and said != "running":
        return said
    if view is None:
        return said or "running"
    process = view.process
    if process.session_ended_ns is not None and said is None:
        return _STATES.get(process.status or "success", "ended")
    flying = [operation for operation in process.order if operation.ended_ns is None]
    held = {id(pause.operation) for pause in process.open_pauses.values()}
    return "paused" if flying and held and all(id(operation) in held for operation in flying) else "running"


def compose(
    fold: Fold,
    view: View | None,
    findings: Sequence[Finding],
    causes: Sequence[str],
    identity: Identity,
    said: State | None,
    ledger: Mapping[str, Any] | None,
) -> Report:
    """The report. `findings` are settled; `said` is the state that the caller knows, or None."""
    state = state_of(fold, view, said)
    first = min(fold.processes.values(), key=lambda process: process.wall_ns(process.first_ns), default=None)
    rows = [_finding_row(view, finding) for finding in findings]
    only_sdk = view is not None and view.book.only_sdk
    parts = part_rows(view.total) if view is not None and not only_sdk else []
    over = view.over_ns(findings) if view is not None else {}
    steps = step_rows(view, over) if view is not None else []
    pauses = pause_rows(view) if view is not None else []
    errors = error_rows(view) if view is not None else []
    usual = _usual_step_s(steps)
    exit_status = first.exit_status if first is not None and state in ("ended", "failed") else None
    facts = _facts(fold, view, state, exit_status, rows, steps, parts, pauses, usual, ledger)
    answer = verdict(facts)
    over_s = _over_s(view, over)
    owners = _unknown_owners() if only_sdk else _owners(fold, view, parts, rows, errors, over_s, answer)
    return Report(
        run=fold.run or identity.run,
        name=fold.name or identity.name,
        project=fold.project or identity.project or "default",
        state=state,
        status=view.process.status if view is not None else None,
        exit_status=exit_status,
        began=_rfc3339(view.process, view.began_ns) if view is not None else None,
        ended=_rfc3339(view.process, view.ended_ns) if view is not None and _is_over(view, state) else None,
        wall_s=view.wall_s if view is not None else 0.0,
        model=fold.model,
        sdk_version=fold.sdk_version or identity.sdk_version,
        python=identity.python,
        processes=len(fold.processes),
        sessions=list(dict.fromkeys([*fold.sessions, *identity.sessions])),
        events=fold.events,
        verdict=answer,
        owners=owners,
        parts=parts,
        lost_s=sum(part.seconds for part in parts if part.part.startswith(QUEUE)) + over_s,
        over_s=over_s,
        steps=steps,
        usual_step_s=usual,
        models=model_rows(view) if view is not None else [],
        operations=operation_rows(view) if view is not None else [],
        spans=span_rows(view) if view is not None else [],
        pauses=pauses,
        errors=errors,
        retries=retry_rows(view) if view is not None else [],
        findings=rows,
        checked=[cause for cause in causes if all(row.cause != cause for row in rows)],
        ledger=dict(ledger) if ledger is not None else None,
        loss=[(step.step, step.loss) for step in steps if step.loss is not None],
    )


def _is_over(view: View, state: State) -> bool:
    return state in ("ended", "failed", "killed") if view.book.only_sdk else not view.live


def _finding_row(view: View | None, finding: Finding) -> FindingRow:
    evidence = finding.evidence
    process = view.book.fold.processes.get(evidence.process) if view is not None else None
    began = ended = None
    if view is not None and process is not None:
        began = view.seconds(process, evidence.began_ns)
        ended = None if evidence.ended_ns is None else view.seconds(process, evidence.ended_ns)
    return FindingRow(
        finding.cause,
        finding.owner,
        finding.severity,
        finding.confidence,
        finding.summary,
        finding.cost_s,
        finding.share,
        dict(evidence_json(evidence, began or 0.0, ended)),
        finding.advice,
    )


def _usual_step_s(steps: Sequence[Step]) -> float | None:
    """The median wall time of the steps that are over and did not fail."""
    walls = sorted(step.wall_s for step in steps if not step.open and not step.failed)
    return quantile(walls, 0.5) if walls else None


def _over_s(view: View | None, over: Mapping[OperationKey, int]) -> float:
    if view is None:
        return 0.0
    return sum(view.cost_ns(key, cost, COMPUTE) for key, cost in over.items()) / 1e9


def _facts(
    fold: Fold,
    view: View | None,
    state: State,
    exit_status: int | None,
    findings: list[FindingRow],
    steps: Sequence[Step],
    parts: Sequence[Part],
    pauses: Sequence[PauseRow],
    usual: float | None,
    ledger: Mapping[str, Any] | None,
) -> Facts:
    shares = {part.part: part.share for part in parts}
    failure = _last_failure(view) if view is not None else None
    open_pause = next((pause for pause in pauses if pause.ended_s is None and pause.reason == "capacity"), None)
    waiting = state == "paused" or (open_pause is not None and view is not None and _waits_in_queue(view))
    return Facts(
        state=state,
        status=view.process.status if view is not None else None,
        exit_status=exit_status,
        wall_s=view.wall_s if view is not None else 0.0,
        steps=sum(not step.open for step in steps),
        step_now=steps[-1].step if steps else None,
        usual_step_s=usual,
        calls=sum(len(process.order) for process in fold.processes.values()),
        findings=findings,
        compute_share=shares.get(COMPUTE, 0.0),
        your_share=shares.get(YOUR_CODE, 0.0) + shares.get(IDLE, 0.0),
        idle_share=shares.get(IDLE, 0.0),
        paused_s=open_pause.length_s if open_pause is not None and waiting else None,
        paused_about=open_pause is not None and bool(words.between(open_pause.min_s, open_pause.max_s)),
        paused_text=open_pause.text if open_pause is not None else "",
        paused_step=open_pause.step if open_pause is not None else None,
        failure=failure,
        failure_where=code_line(failure.traceback, failure.message) if failure is not None else "",
        failure_step=view.step_at(failure.at_ns) if view is not None and failure is not None else None,
        ledger=dict(ledger) if ledger is not None else None,
        only_sdk=view is not None and view.book.only_sdk,
        trouble=_trouble(fold, parts),
    )


def _trouble(fold: Fold, parts: Sequence[Part]) -> list[str]:
    """What was seen and may have no finding: no run with it is called healthy without a word of it."""
    told = [
        f"{words.about(part.seconds, estimate=True)} in a paused queue ({part.part[len(QUEUE) :].strip(':_')})"
        for part in parts
        if part.part.startswith(QUEUE) and part.seconds >= TROUBLE_MIN_S
    ]
    retries = [retry for process in fold.processes.values() for retry in process.retries]
    broken = _broken_connections(fold)
    if broken:
        told.append(words.count(broken, "broken connection"))
    limited = sum(retry.status_code == 429 for retry in retries)
    if limited:
        told.append(f"{words.count(limited, 'answer')} of 429, too many requests")
    return told


def _broken_connections(fold: Fold) -> int:
    return sum(retry.status_code is None for process in fold.processes.values() for retry in process.retries)


def _waits_in_queue(view: View) -> bool:
    """Is the run's thread, now, waiting in a pause?"""
    pieces = next((each.pieces for each in reversed(view.partitions) if each.pieces), [])
    return bool(pieces) and pieces[-1].part.startswith(QUEUE)


def _last_failure(view: View) -> Failure | None:
    """What ended the program, else the last operation that failed."""
    if view.book.only_sdk:
        ended_by = view.book.sdk.ended_by
        return ended_by.failure if ended_by is not None else None
    if view.process.failures:
        return view.process.failures[-1]
    failed = [operation.error for operation in view.process.order if operation.error is not None]
    return failed[-1] if failed else None


def _unknown_owners() -> list[Owner]:
    return [Owner(owner, None, 0.0, "none", "not recorded") for owner in _OWNERS]


def _owners(
    fold: Fold,
    view: View | None,
    parts: Sequence[Part],
    findings: list[FindingRow],
    errors: Sequence[ErrorRow],
    over_s: float,
    answer: Verdict,
) -> list[Owner]:
    guilty: list[FindingOwner] = owners_at_fault(findings) if findings else []
    if answer.owner != "none" and answer.owner not in guilty:
        guilty.append(answer.owner)
    if view is None:
        return []
    said = {
        "you": _say_you(errors, "you" in guilty, findings),
        "network": _say_network(fold, view, "network" in guilty, findings),
        "service": _say_service(parts, over_s, "service" in guilty, findings),
        "idle": "Nothing in flight",
    }
    rows: list[Owner] = []
    for owner in _OWNERS:
        spent = sum(part.seconds for part in parts if part.owner == owner)
        share = sum(part.share for part in parts if part.owner == owner)
        role: Role = "none" if owner == "idle" else "cause" if owner in guilty else "not"
        if owner == "service" and role == "not" and not any(row.owner == "service" for row in findings):
            role = "usual"
        rows.append(Owner(owner, spent, share, role, said[owner]))
    return rows


def _blame(findings: list[FindingRow], owner: FindingOwner) -> str:
    mine = [row for row in findings if row.owner == owner]
    costs = [words.about(row.cost_s, estimate=is_estimate(row.cause, row.evidence["figures"])) for row in mine[:2]]
    return "; ".join(f"{row.cause}, {cost}" for row, cost in zip(mine, costs, strict=False))


def _say_you(errors: Sequence[ErrorRow], guilty: bool, findings: list[FindingRow]) -> str:
    if guilty:
        return f"The cause: {_blame(findings, 'you') or 'the program raised'}"
    mine = sum(row.count for row in errors if row.owner == "you")
    cost = sum(row.cost_s or 0.0 for row in findings if row.owner == "you")
    lost = f", {words.seconds(cost)}" if cost else ""
    return f"Not the cause: {words.count(mine, 'user error')}{lost}" if mine else "Not the cause: no error of yours"


def _say_network(fold: Fold, view: View, guilty: bool, findings: list[FindingRow]) -> str:
    if guilty:
        return f"The cause: {_blame(findings, 'network') or 'the connection broke'}{_after_errors(findings)}"
    sends = []
    for operation in view.process.order:
        if operation.ended_ns is not None and operation.failure is None and operation.requests:
            sends.append(view.cutter.cut(operation).nanoseconds(SEND) / 1e9)
    broken = _broken_connections(fold)
    speed = f"send p95 {words.seconds(quantile(sorted(sends), 0.95))}, " if sends else ""
    lead = "Suspect" if broken and not findings else "Not the cause"
    return f"{lead}: {speed}{words.count(broken, 'broken connection')}{_after_errors(findings)}"


def _after_errors(findings: list[FindingRow]) -> str:
    """What of the network's time was spent on the service's errors: the SDK waits before it sends again."""
    rows = [row for row in findings if row.evidence["figures"].get(IN_SEND)]
    if not rows:
        return ""
    statuses = sorted({status for row in rows for status in row.evidence["figures"].get("statuses") or ()})
    seconds = words.seconds(sum(row.evidence["figures"][IN_SEND] for row in rows))
    return f"; {seconds} of it waiting after Tinker's {words.listed(statuses) or 'errors'}"


def _say_service(parts: Sequence[Part], over_s: float, guilty: bool, findings: list[FindingRow]) -> str:
    lost = over_s + sum(part.seconds for part in parts if part.part.startswith(QUEUE))
    spent = sum(part.seconds for part in parts if part.owner == "service")
    if guilty and lost > 0:
        return f"The cause: {words.seconds(spent - lost)} is usual, ≈{words.THIN}{words.seconds(lost)} is not"
    if guilty:
        return f"The cause: {_blame(findings, 'service') or 'the service failed a request'}"
    if any(row.owner == "service" for row in findings):
        return f"Not the cause: {_blame(findings, 'service')}"
    if lost - over_s >= TROUBLE_MIN_S:
        return f"Paused for ≈{words.THIN}{words.seconds(lost - over_s)}; no error, no slow stretch"
    return "As usual: no pause, no error, no slow stretch"


def _rfc3339(process: Process, at_ns: int) -> str:
    wall = process.wall_ns(at_ns)
    return datetime.fromtimestamp(wall // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{wall % 10**9 // 1000:06d}Z"
