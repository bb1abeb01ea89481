"""What the page's scripts draw from: the rows of the timeline, and the run as JSON in the page itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from markupsafe import Markup

from tinkertape.dashboard.parts import LOOKS, look_of, owner_class
from tinkertape.dashboard.report import Finding, Report, Step, StepId
from tinkertape.dashboard.text import visible_tree
from tinkertape.figures import THIN, between, seconds

SPANS_MAX = 20_000  # drawn on the timeline; the newest
ROWS_FEW, ROWS_MAX = 4, 8  # so many operations have a lane each in any case, so many at most; the rest share one
OWN_ROW = ("training", "sampling")


class Row(msgspec.Struct, frozen=True):
    """A lane of the timeline. `kind` is operations, findings, idle or marks."""

    kind: str
    label: str
    count: int | None
    operations: list[str] = []


def timeline_rows(report: Report) -> list[Row]:
    """The lanes: findings, operations in the order of their first call, what shares a lane, what is idle, errors and
    retries."""
    if not report.spans:
        return []
    calls: dict[str, int] = {}
    for span in sorted(report.spans, key=lambda span: span.began_s):
        calls[span.operation] = calls.get(span.operation, 0) + 1
    family = {operation.operation: operation.family for operation in report.operations}
    own = [name for name in calls if family.get(name, OWN_ROW[0]) in OWN_ROW]
    if len(own) > ROWS_FEW:  # many kinds of calls: those that come again and again keep a lane
        own = [name for name in own if calls[name] > 2][:ROWS_MAX]
    shared = [name for name in calls if name not in own]
    rows = [Row("findings", "findings", len(report.findings))] if report.findings else []
    rows += [Row("operations", name, calls[name], [name]) for name in own]
    if shared:
        label = (
            shared[0]
            if len(shared) == 1
            else "session, model"
            if all(family.get(name) == "service" for name in shared)
            else "other calls"
        )
        rows.append(Row("operations", label, sum(calls[name] for name in shared), shared))
    rows.append(Row("idle", "nothing in flight", None))
    rows.append(Row("marks", "errors, retries", sum(error.count for error in report.errors) + len(report.retries)))
    return rows


def page_data(report: Report, rows: list[Row]) -> Markup:
    """The data as JSON that can stand inside a script element: plain ASCII without `<`, `>` and `&`."""
    names = (
        {look.part for look in LOOKS}
        | {part for span in report.spans for part, _, _ in span.segments}
        | {part for step in report.steps for part in step.parts}
    )
    data = {
        "run": report.run,
        "live": report.live,
        "began": report.began,
        "wall_s": report.wall_s,
        "looks": {name: [look_of(name).label, look_of(name).owner, look_of(name).fill] for name in sorted(names)},
        "order": [look.part for look in LOOKS],
        "rows": [[row.kind, row.label, row.operations] for row in rows],
        "quality": {part.part: part.marked_as for part in report.parts},
        "steps": [_step(step) for step in report.steps],
        "spans": [
            [
                span.operation,
                span.began_s,
                span.ended_s,
                span.open,
                span.step,
                bool(span.error),
                span.request_ids[:4],
                span.segments,
            ]
            for span in report.spans[-SPANS_MAX:]
        ],
        "findings": [_bracket(finding, report) for finding in report.findings],
        "retries": [[retry.at_s, retry.operation, retry.error_type] for retry in report.retries],
        "errors": [[error.first_s, error.last_s, error.type, owner_class(error.owner)] for error in report.errors],
    }
    text = json.dumps(_rounded(visible_tree(data)), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(
        text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )  # JSON's own escapes: no markup is left in it


def _rounded(value: Any) -> Any:
    """Figures to a tenth of a millisecond: no screen shows more, and it halves the page."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _step(step: Step) -> list[Any]:
    return [
        step.step,
        step.began_s,
        step.ended_s,
        step.wall_s,
        step.parts,
        step.over_s,
        step.failed,
        step.open,
        step.inferred,
    ]


def bounds_of(finding: Finding) -> str:
    """The bounds of a pause, `2.0 to 2.3 s`, where its evidence has them and they read apart."""
    least, most = finding.evidence.figures.get("min_s"), finding.evidence.figures.get("max_s")
    return between(least, most) if isinstance(least, int | float) and isinstance(most, int | float) else ""


def _bracket(finding: Finding, report: Report) -> list[Any]:
    """A finding on the timeline: owner, words, from, to, shaded. Times come from its evidence, else from the steps
    that it names."""
    evidence = finding.evidence
    began, ended = evidence.began_s, evidence.ended_s
    if began is None:
        named: set[StepId] = set(evidence.steps)
        steps = [step for step in report.steps if step.step in named and step.step is not None]
        began = min((step.began_s for step in steps), default=None)
        ended = max((step.ended_s if step.ended_s is not None else report.wall_s for step in steps), default=None)
    mark = f"≈{THIN}" if bounds_of(finding) else ""
    cost = f" {mark}{seconds(finding.cost_s)}" if finding.cost_s and finding.cause.endswith("pause") else ""
    return [
        owner_class(finding.owner),
        f"{finding.cause}{cost}",
        began,
        report.wall_s if ended is None and began is not None else ended,
        finding.cause == "slow-service",
    ]
