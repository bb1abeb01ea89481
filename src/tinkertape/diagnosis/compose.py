"""A report from a view of the run and what the detectors found: every figure on the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from tinkertape.diagnosis import words
from tinkertape.diagnosis.done import failed_calls
from tinkertape.diagnosis.findings import OWN, WAITED_BY, Finding, evidence_json
from tinkertape.diagnosis.fold import Fold
from tinkertape.diagnosis.owners import (
    IN_SEND,
    TROUBLE_MIN_S,
    broken_connections,
    never_sent,
    owner_rows,
    unknown_owners,
)
from tinkertape.diagnosis.parts import COMPUTE, IDLE, QUEUE, YOUR_CODE
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Failure, OperationKey
from tinkertape.diagnosis.report import ErrorRow, FindingRow, OperationRow, Part, PauseRow, Report, State, Step
from tinkertape.diagnosis.sdk_faults import SDK_KEY
from tinkertape.diagnosis.steps import completed
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
from tinkertape.diagnosis.tracebacks import code_line
from tinkertape.diagnosis.verdict import REASONS, Facts, verdict
from tinkertape.diagnosis.view import View
from tinkertape.diagnosis.waited import Cost

_STATES: Mapping[str, State] = {
    "success": "ended",
    "interrupted": "ended",
    "errored": "failed",
    "error": "failed",
    "failed": "failed",
    "killed": "killed",
}
IN_SEND_MIN_S = 0.01
TOLD_BY_SDK = ("service-errors", "user-error")  # the causes that the SDK's own events can show


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
    pauses = pause_rows(view) if any(each.evidence.part.startswith(QUEUE) for each in findings) else []
    outages = [finding for finding in findings if finding.cause == "unreachable"]
    out = []
    for finding in findings:
        if finding.key.startswith(SDK_KEY) and not view.book.only_sdk:
            continue  # ours tell the same error
        out.append(_settled(view, finding, pauses, outages if finding.owner == "service" else ()))
    return sorted(out, key=lambda finding: -(finding.cost_s or 0.0))


def _settled(view: View, finding: Finding, pauses: Sequence[PauseRow], outages: Sequence[Finding]) -> Finding:
    cost = view.cost(finding, outages)
    cost_s = finding.cost_s if cost is None else cost.any_ns / 1e9
    if cost_s is not None and view.wall_s > 0:
        cost_s = min(cost_s, view.wall_s)
    share = cost_s / view.wall_s if cost_s is not None and view.wall_s > 0 else None
    figures = {**finding.evidence.figures, **_lengths(view, finding, pauses), **_who_waited(view, finding, cost)}
    in_send = view.in_send_s(finding)
    if in_send >= IN_SEND_MIN_S:
        figures[IN_SEND] = in_send
    evidence = msgspec.structs.replace(finding.evidence, steps=view.steps_of(finding), figures=figures)
    steps_went_on = cost is not None and cost.own_ns == 0 and any(each.step is not None for each in view.stretches)
    held_up = cost_s != 0 and not steps_went_on
    severity = "info" if not held_up and finding.severity == "warning" else finding.severity
    return msgspec.structs.replace(finding, cost_s=cost_s, share=share, evidence=evidence, severity=severity)


def _who_waited(view: View, finding: Finding, cost: Cost | None) -> dict[str, Any]:
    """Who waited, where it was not the run's own thread alone."""
    if cost is None:
        return {}
    own = {} if cost.own_ns is None else {OWN: cost.own_ns / 1e9}
    if not cost.any_ns:
        return {**own, WAITED_BY: view.thread_names(finding, view.waited_beside(finding))}
    others = [thread for thread in cost.threads if cost.own_ns is None or thread != view.thread]
    return {**own, WAITED_BY: view.thread_names(finding, others)} if others else {}


def _lengths(view: View, finding: Finding, pauses: Sequence[PauseRow]) -> dict[str, float]:
    """How long a queue was held, as the rows of the pauses have it; of requests that were held at once, the longest."""
    evidence = finding.evidence
    process = view.book.fold.processes.get(evidence.process)
    if not evidence.part.startswith(QUEUE) or process is None:
        return {}
    began_s, ended_s = (view.seconds(process, at) for at in view.span_of(finding))
    told: dict[int, list[PauseRow]] = {}
    for row in pauses:
        over_s = math.inf if row.ended_s is None else row.ended_s
        if row.request_id in evidence.request_ids and row.began_s <= ended_s and over_s >= began_s:
            told.setdefault(row.pause, []).append(row)
    if not told:
        return {}
    return {
        "length_s": sum(max(row.length_s for row in held) for held in told.values()),
        "min_s": sum(max(row.min_s for row in held) for held in told.values()),
        "max_s": sum(max(row.max_s for row in held) for held in told.values()),
    }


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
    set_aside: int,
) -> Report:
    """The report. `findings` are settled; `said` is the state that the caller knows, or None."""
    state = state_of(fold, view, said)
    first = min(fold.processes.values(), key=lambda process: process.wall_ns(process.first_ns), default=None)
    rows = [_finding_row(view, finding) for finding in findings]
    only_sdk = view is not None and view.book.only_sdk
    parts = part_rows(view.total) if view is not None and not only_sdk else []
    over = view.over_ns(findings) if view is not None else {}
    steps, operations = (step_rows(view, over), operation_rows(view)) if view is not None else ([], [])
    pauses, errors = (pause_rows(view), error_rows(view)) if view is not None else ([], [])
    exit_status = first.exit_status if first is not None and state in ("ended", "failed") else None
    facts = _facts(fold, view, state, exit_status, rows, steps, parts, pauses, errors, _usual_step_s(steps), ledger)
    facts.set_aside, facts.mainly = set_aside, _mainly(operations)
    answer, over_s = verdict(facts), _over_s(view, over)
    owners = unknown_owners() if only_sdk else owner_rows(fold, view, parts, rows, errors, over_s, answer)
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
        steps_completed=facts.steps,
        usual_step_s=facts.usual_step_s,
        models=model_rows(view) if view is not None else [],
        operations=operations,
        spans=span_rows(view) if view is not None else [],
        pauses=pauses,
        errors=errors,
        retries=retry_rows(view) if view is not None else [],
        findings=rows,
        checked=_not_seen(TOLD_BY_SDK if only_sdk else causes if facts.calls else (), rows),
        ledger=dict(ledger) if ledger is not None else None,
        set_aside=set_aside,
        loss=[(step.step, step.loss) for step in steps if step.loss is not None],
    )


def _not_seen(causes: Sequence[str], rows: Sequence[FindingRow]) -> list[str]:
    """The causes that were looked for in vain."""
    return [cause for cause in causes if all(row.cause != cause for row in rows)]


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
    return sum(min(cost, view.waited[key][COMPUTE]) for key, cost in over.items() if key in view.waited) / 1e9


def _mainly(operations: Sequence[OperationRow]) -> str:
    """What the operation that took most of the time took, in words; '' if none was answered."""
    answered = [row for row in operations if row.p50_s is not None and row.family in ("training", "sampling")]
    if not answered:
        return ""
    most = max(answered, key=lambda row: row.count * (row.p50_s or 0.0))
    took = words.seconds(most.p50_s or 0.0)
    return f"`{most.operation}` took {took}" if most.count == 1 else f"`{most.operation}` takes {took} (p50)"


def _facts(
    fold: Fold,
    view: View | None,
    state: State,
    exit_status: int | None,
    findings: list[FindingRow],
    steps: Sequence[Step],
    parts: Sequence[Part],
    pauses: Sequence[PauseRow],
    errors: Sequence[ErrorRow],
    usual: float | None,
    ledger: Mapping[str, Any] | None,
) -> Facts:
    shares = {part.part: part.share for part in parts}
    failure = _last_failure(view) if view is not None else None
    open_pause = next((pause for pause in pauses if pause.ended_s is None), None)
    waiting = state == "paused" or (open_pause is not None and view is not None and _waits_in_queue(view))
    return Facts(
        state=state,
        status=view.process.status if view is not None else None,
        exit_status=exit_status,
        wall_s=view.wall_s if view is not None else 0.0,
        steps=completed(view.stretches) if view is not None else 0,
        where=f"{'in' if steps[-1].open else 'after'} step {steps[-1].step}" if steps else "",
        usual_step_s=usual,
        calls=sum(len(process.order) for process in fold.processes.values()),
        findings=findings,
        compute_said=_compute_said(view, parts),
        your_share=shares.get(YOUR_CODE, 0.0) + shares.get(IDLE, 0.0),
        idle_share=shares.get(IDLE, 0.0),
        paused_s=open_pause.length_s if open_pause is not None and waiting else None,
        paused_about=open_pause is not None and bool(words.between(open_pause.min_s, open_pause.max_s)),
        paused_reason=open_pause.reason if open_pause is not None else "unknown",
        paused_text=open_pause.text if open_pause is not None else "",
        paused_step=open_pause.step if open_pause is not None else None,
        failed=failed_calls(view) if view is not None else [],
        failure=failure,
        failure_where=code_line(failure.traceback, failure.message) if failure is not None else "",
        failure_step=_failure_step(view, failure) if view is not None and failure is not None else None,
        ledger=dict(ledger) if ledger is not None else None,
        only_sdk=view is not None and view.book.only_sdk,
        trouble=_trouble(fold, parts, errors, findings),
    )


def _compute_said(view: View | None, parts: Sequence[Part]) -> str:
    """The share of Tinker computing, as it is known."""
    part = next((part for part in parts if part.part == COMPUTE), None)
    if part is None or view is None or view.wall_s <= 0:
        return words.percent(0.0)
    return words.share_as_known(part.share, part.quality, part.min_s / view.wall_s, part.max_s / view.wall_s)


def _trouble(
    fold: Fold, parts: Sequence[Part], errors: Sequence[ErrorRow], findings: Sequence[FindingRow]
) -> list[str]:
    """What was seen and may have no finding: no run with it is called healthy without a word of it."""
    told = [
        f"{words.about(part.seconds, estimate=True)} in a paused queue ({REASONS.get(part.part[len(QUEUE) :], '')})"
        for part in parts
        if part.part.startswith(QUEUE) and part.seconds >= TROUBLE_MIN_S
    ]
    retries = [retry for process in fold.processes.values() for retry in process.retries]
    broken = broken_connections(fold)
    if broken:
        told.append(words.count(broken, "broken connection"))
    limited = sum(retry.status_code == 429 for retry in retries)
    if limited:
        told.append(f"{words.count(limited, 'answer')} of 429, too many requests")
    nobodys = sum(error.count for error in errors if error.owner == "none")
    if nobodys and not findings:
        told.append(f"{words.count(nobodys, 'error')} of nobody's")
    return told + never_sent(fold)


def _waits_in_queue(view: View) -> bool:
    """Is the run's thread, now, waiting in a pause?"""
    pieces = next((each.pieces for each in reversed(view.partitions) if each.pieces), [])
    return bool(pieces) and pieces[-1].part.startswith(QUEUE)


def _last_failure(view: View) -> Failure | None:
    """What ended the program, else the last operation that failed."""
    if view.book.only_sdk:
        ended_by = view.book.sdk.ended_by
        return ended_by.failure if ended_by is not None else None
    if view.process.last_failure is not None:
        return view.process.last_failure
    for operation in reversed(view.process.order):
        if operation.error is not None:
            return operation.error
        if operation.family in ("training", "sampling"):
            return None  # the program went on
    return None


def _failure_step(view: View, failure: Failure) -> int | None:
    """The step in which the program failed. What ends it is recorded when all has been closed: if nobody waited for the
    last call of the last step, the program was in that step.
    """
    at = view.step_at(failure.at_ns)
    last = next((each for each in reversed(view.stretches) if each.step is not None), None)
    if at is not None or last is None or failure.at_ns < last.ended_ns:
        return at
    return last.step if last.operations and not last.operations[-1].claims else None


def _rfc3339(process: Process, at_ns: int) -> str:
    wall = process.wall_ns(at_ns)
    return datetime.fromtimestamp(wall // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{wall % 10**9 // 1000:06d}Z"
