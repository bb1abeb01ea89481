"""One run's page, as values for the template: everything that is said on it is decided here. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
from markupsafe import Markup

from tinkertape.dashboard.format import after, moment, rate
from tinkertape.dashboard.latency_chart import Latency, OverTime, latency, over_time
from tinkertape.dashboard.loss_chart import LossChart, loss_chart
from tinkertape.dashboard.parts import OVER, look_of, owner_class, owner_name, rank_of
from tinkertape.dashboard.report import ErrorGroup, Finding, Ledger, Owner, Pause, Report, Step
from tinkertape.dashboard.share import Bar, share_bar
from tinkertape.dashboard.steps_chart import Chart, explained, steps_chart
from tinkertape.dashboard.tape_lines import TapeLine, tape_line
from tinkertape.dashboard.timeline import Row, bounds_of, page_data, timeline_rows
from tinkertape.figures import THIN, between, marked, models, percent, seconds, sum_marked_as

STATES = {
    "running": "Running",
    "paused": "Paused",
    "stuck": "Stuck",
    "failed": "Failed",
    "ended": "Ended",
    "killed": "Killed",
}
ROLES = {"cause": "The cause:", "not": "Not the cause:", "usual": "Steady:"}
_LIMITS = ("min_s", "max_s")
STEPS_MAX, ERRORS_MAX = 200, 20  # in the table; the newest · kinds shown


class OwnerLine(msgspec.Struct, frozen=True):
    css: str
    name: str
    figure: str
    share: str
    role: str
    is_cause: bool
    say: str


class FindingLine(msgspec.Struct, frozen=True):
    finding: Finding
    css: str
    owner: str
    cost: str
    share: str
    links: list[tuple[str, str]]  # words, fragment
    requests: list[str]
    sure: str


class PartLine(msgspec.Struct, frozen=True):
    part: str
    label: str
    owner: str
    figure: str
    share: str
    known: str


class PauseLine(msgspec.Struct, frozen=True):
    pause: Pause
    began: datetime | None
    length: str
    limits: str
    reason: str
    operations: str
    requests: list[str]


class StepLine(msgspec.Struct, frozen=True):
    step: Step
    owners: list[float]  # you, network, Tinker, idle


class ErrorLine(msgspec.Struct, frozen=True):
    error: ErrorGroup
    css: str
    owner: str
    first: datetime | None
    last: datetime | None


class RunPage(msgspec.Struct, frozen=True):
    report: Report
    state: str
    lead: str
    rest: str
    css: str
    mark: str  # the shape before the answer
    share: Bar
    owners: list[OwnerLine]
    chart: Chart
    parts: list[PartLine]
    findings: list[FindingLine]
    cost: str
    pauses: list[PauseLine]
    latency: Latency
    over_time: OverTime
    loss: LossChart | None
    steps: list[StepLine]
    rows: list[Row]
    errors: list[ErrorLine]
    errors_more: int
    errors_said: str
    retries_said: str
    tape: list[TapeLine]
    ledger: Ledger
    began: datetime | None
    ended: datetime | None
    rate: str
    calls: int
    models: str
    now: str
    about: str
    data_markup: Markup


def run_page(report: Report, ledger: Ledger, events: list[dict[str, Any]]) -> RunPage:
    """Everything that one run's page says. `events` are the tape's last lines; `ledger` is the newest count."""
    began = moment(report.began)
    lead, rest = _answer(report)
    rows = timeline_rows(report)
    return RunPage(
        report=report,
        state=STATES.get(report.state, "Unknown"),
        lead=lead,
        rest=rest,
        css=owner_class(report.verdict.owner),
        mark=_mark(report),
        share=share_bar(
            {part.part: part.seconds for part in report.parts},
            report.over_s,
            {part.part: part.quality for part in report.parts},
            {"queue:rate_limit"} if any(_is_own_limit(finding) for finding in report.findings) else (),
        ),
        owners=owner_lines(report),
        chart=steps_chart(report),
        parts=part_lines(report),
        findings=[finding_line(finding) for finding in report.findings],
        cost=_together(report),
        pauses=[pause_line(held, began, report.wall_s) for held in told_as_one(report.pauses)],
        latency=latency(report),
        over_time=over_time(report),
        loss=loss_chart(report),
        steps=[step_line(step) for step in report.steps[-STEPS_MAX:]],
        rows=rows,
        errors=[
            ErrorLine(
                error,
                owner_class(error.owner),
                owner_name(error.owner),
                after(began, error.first_s),
                after(began, error.last_s),
            )
            for error in report.errors[:ERRORS_MAX]
        ],
        errors_more=max(0, len(report.errors) - ERRORS_MAX),
        errors_said=_errors_said(report),
        retries_said=_retries_said(report),
        tape=[tape_line(event) for event in events],
        ledger=ledger,
        began=began,
        ended=moment(report.ended) or (None if report.live else after(began, report.wall_s)),
        rate=rate(report.steps_completed, report.wall_s),
        calls=sum(operation.count for operation in report.operations),
        models=models([model.steps for model in report.models]),
        now=_in_flight(report),
        about=_about(report),
        data_markup=page_data(report, rows),
    )


def _is_own_limit(finding: Finding) -> bool:
    """Was it this run that sent more than Tinker takes?"""
    return finding.cause.startswith("rate-limit") and owner_class(finding.owner) == "you"


def _answer(report: Report) -> tuple[str, str]:
    lead, sentence = report.verdict.lead.strip(), report.verdict.sentence.strip()
    if lead and sentence.startswith(lead):
        sentence = sentence[len(lead) :].strip()
    if not lead and not sentence:
        return "", "Too early to say: nothing is recorded yet."
    return lead, sentence


def _mark(report: Report) -> str:
    """The owner's shape, or where it is nobody's the state's; ✓ stands for what is known to be well only."""
    css = owner_class(report.verdict.owner)
    if css != "none":
        return css
    if report.state in ("failed", "killed"):
        return report.state
    return "none" if report.verdict.well else "unknown"


def owner_lines(report: Report) -> list[OwnerLine]:
    given = {owner_class(owner.owner): owner for owner in report.owners}
    found = []
    for css in ("you", "network", "tinker", "idle"):
        owner = given.get(css) or Owner(css)
        role = ROLES.get(owner.role, "")
        say = owner.say.removeprefix(role).strip() if role else owner.say
        say = say or {"idle": "Nothing in flight"}.get(css, "")
        if owner.seconds is None:
            found.append(OwnerLine(css, owner_name(css), "–", "", "", False, owner.say or "no data"))
            continue
        quality = sum_marked_as((part.seconds, part.marked_as) for part in report.parts if part.owner == owner.owner)
        figure = marked(seconds(owner.seconds), quality)
        found.append(OwnerLine(css, owner_name(css), figure, percent(owner.share), role, owner.role == "cause", say))
    return found


def part_lines(report: Report) -> list[PartLine]:
    """The partition as a table; what is above usual stands below compute, and is not counted twice."""
    lines = []
    for part in sorted(report.parts, key=lambda part: rank_of(part.part)):
        look = look_of(part.part)
        lines.append(
            PartLine(
                part.part,
                look.label,
                owner_name(part.owner or look.owner),
                marked(seconds(part.seconds), part.marked_as),
                percent(part.share),
                explained(part.part, report),
            )
        )
        if part.part == "compute" and report.over_s > 0:
            lines.append(
                PartLine(
                    OVER,
                    "of it above usual",
                    "Tinker",
                    marked(seconds(report.over_s), "inferred"),
                    percent(report.over_s / report.wall_s) if report.wall_s else "–",
                    "inferred: against the usual compute of this run",
                )
            )
    return lines


def finding_line(finding: Finding) -> FindingLine:
    evidence = finding.evidence
    named = [step for step in evidence.steps if step is not None]
    links = [_step_link(named)] if named else []
    if not links and evidence.began_s is not None:
        ended = evidence.began_s if evidence.ended_s is None else evidence.ended_s
        links = [("show", f"from={max(evidence.began_s - 1, 0):.1f}&to={ended + 1:.1f}")]
    sure = "" if finding.confidence >= 0.995 else f"{percent(finding.confidence)} sure"
    limits = bounds_of(finding)
    if limits:
        sure = f"the pause: {limits}"
    estimate = finding.cause == "slow-service" or finding.confidence < 0.995 or bool(limits)
    quality = "inferred" if finding.cost_s and estimate else "measured"
    return FindingLine(
        finding=finding,
        css=owner_class(finding.owner),
        owner=owner_name(finding.owner),
        cost=marked(seconds(finding.cost_s), quality),
        share=percent(finding.share) if finding.share is not None else "",
        links=links,
        requests=evidence.request_ids[:1],
        sure=sure,
    )


def _step_link(steps: list[int | str]) -> tuple[str, str]:
    first, last = steps[0], steps[-1]
    return (
        (f"step {first}", f"step={first}") if len(steps) == 1 else (f"steps {first} to {last}", f"steps={first}-{last}")
    )


def step_line(step: Step) -> StepLine:
    """A step's seconds by owner, for the table."""
    by = dict.fromkeys(("you", "network", "tinker", "idle"), 0.0)
    for part, amount in step.parts.items():
        by[look_of(part).owner] += amount
    return StepLine(step, list(by.values()))


def told_as_one(pauses: list[Pause]) -> list[list[Pause]]:
    """The requests of each pause: those that were held at once are one pause to whoever waits."""
    told: dict[object, list[Pause]] = {}
    for place, pause in enumerate(pauses):
        told.setdefault(pause.pause or (place,), []).append(pause)
    return list(told.values())


def pause_line(held: list[Pause], began: datetime | None, wall_s: float) -> PauseLine:
    """One pause, of however many requests; the longest says how long it was."""
    pause = max(held, key=lambda each: each.length_s)
    open_ = any(each.ended_s is None for each in held)
    length = seconds(pause.length_s or (max(wall_s - pause.began_s, 0) if open_ else 0))
    least, most = ([each for each in (getattr(one, key) for one in held) if each is not None] for key in _LIMITS)
    limits = between(max(least, default=None), max(most, default=None))
    reason = {"capacity": "capacity", "rate_limit": "rate limit"}.get(pause.reason, "no reason given")
    return PauseLine(
        pause,
        after(began, min(each.began_s for each in held)),
        f"{f'≈{THIN}' if limits else ''}{length}{', still paused' if open_ else ''}",
        limits,
        reason,
        ", ".join(dict.fromkeys(each.operation for each in held)),
        [each.request_id for each in held],
    )


def _together(report: Report) -> str:
    costly = [finding for finding in report.findings if finding.cost_s]
    costs = [finding.cost_s or 0.0 for finding in costly]
    in_send = [finding.evidence.figures.get("in_send_s") for finding in report.findings]
    sent = sum(amount for amount in in_send if isinstance(amount, int | float))
    spans = [(each.evidence.began_s or 0.0, each.evidence.ended_s or report.wall_s) for each in costly]
    apart = _covered(spans) >= sum(max(0.0, ended - began) for began, ended in spans) - 1e-6
    figure = f"≈{THIN}{seconds(sum(costs))}" if apart else f"≤{THIN}{seconds(min(sum(costs), report.wall_s))}"
    said = [f"together {figure} of {seconds(report.wall_s)}"] if len(costs) > 1 else []
    said += [f"{seconds(sent)} of it in send"] if sent > 0 and costs else []
    return ", ".join(said)


def _covered(spans: list[tuple[float, float]]) -> float:
    """How long at least one of them lasts: what two calls wait at once counts once."""
    total = until = 0.0
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def _errors_said(report: Report) -> str:
    kinds, times = len(report.errors), sum(error.count for error in report.errors)
    if not kinds:
        return "none"
    return f"{kinds} kind{'s' * (kinds > 1)}, {times} time{'s' * (times > 1)}"


def _retries_said(report: Report) -> str:
    """What was tried again, after which answer, and how long it was held back: `2 of forward_backward after 503 …`."""
    if not report.retries:
        return "No retries."
    by = Counter((retry.operation, retry.status_code, retry.error_type) for retry in report.retries)
    kinds = [
        f"{number} of `{name or 'background requests'}`" + (f" after {why}" if why else "")
        for (name, status, error), number in by.most_common(4)
        for why in [" ".join(word for word in (str(status or ""), error) if word)]
    ]
    number = len(report.retries)
    waited = _covered([(retry.at_s, retry.at_s + (retry.delay_s or 0.0)) for retry in report.retries])
    return f"{number} {'retry' if number == 1 else 'retries'}: {'; '.join(kinds)}. {seconds(waited)} spent backing off."


def _in_flight(report: Report) -> str:
    """What is out now, the oldest first: "forward_backward of step 17, for 1.0 s"."""
    flying = [span for span in report.spans if span.open]
    if not report.live or not flying:
        return ""
    oldest = min(flying, key=lambda span: span.began_s)
    step = f" of step {oldest.step}" if oldest.step is not None else ""
    more = f", and {len(flying) - 1} more" if len(flying) > 1 else ""
    return f"`{oldest.operation}`{step}, for {seconds(max(report.wall_s - oldest.began_s, 0))}{more}"


def _about(report: Report) -> str:
    """The foot of the page: what recorded this run."""
    processes, sessions = report.processes, len(report.sessions)
    words = [f"{processes} process{'es' * (processes != 1)}"] * bool(processes) + [
        f"{sessions} session{'s' * (sessions != 1)}"
    ] * bool(sessions)
    words += [f"SDK {report.sdk_version}"] * bool(report.sdk_version) + [f"Python {report.python}"] * bool(
        report.python
    )
    return ", ".join(words)
