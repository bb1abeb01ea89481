"""Twenty runs of the real SDK, end to end, each held against the truth of the service that it trained against.

Both are on one machine's clock. What is compared came out of the collector: its report, and its events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest
from tests.diagnosis.test_forgetting import folded
from tests.journeys.seeds import (
    COMPUTE_S,
    HEALTHY_SEED,
    HOLDS_S,
    PAUSE_MIN_S,
    SEEDS,
    USER_ERROR_SEED,
    held_name,
    seed_name,
)
from tests.journeys.trained import MS, Trained

from tinkertape.diagnosis.report import PauseRow, Report
from tinkertape.diagnosis.segments import OperationCut

FIGURE_SHARE, FIGURE_NS = 0.02, 5 * MS
PAUSE_SHARE = 0.05
SUM_SHARE = 0.001
OWNERS = {
    "capacity-pause": "service",
    "slow-service": "service",
    "service-errors": "service",
    "user-error": "you",
    "unreachable": "network",
}
EVERY_RUN = [seed_name(seed) for seed in SEEDS] + [held_name(hold_s) for hold_s in HOLDS_S]

pytestmark = pytest.mark.timeout(300)  # the first test waits for all runs


@pytest.fixture(params=EVERY_RUN)
def run(request: pytest.FixtureRequest, trained: dict[str, Trained]) -> Trained:
    return trained[request.param]


class FindingShape(msgspec.Struct, forbid_unknown_fields=True):
    """As docs/http.md has it. `cost_s` and `share` are null only where durations are not known; here they are."""

    cause: str
    owner: Literal["you", "network", "service", "none"]
    severity: Literal["info", "warning", "error"]
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)]
    summary: str
    cost_s: Annotated[float, msgspec.Meta(ge=0)]
    share: Annotated[float, msgspec.Meta(ge=0, le=1)]
    evidence: dict[str, Any]
    advice: str


class LedgerShape(msgspec.Struct, forbid_unknown_fields=True):
    recorded: int
    stored: int
    pending: int
    rejected: int
    dropped: dict[str, int]


class DiagnosisShape(msgspec.Struct, forbid_unknown_fields=True):
    run: str
    healthy: bool
    findings: list[FindingShape]
    partition: dict[str, Annotated[float, msgspec.Meta(ge=0)]]
    ledger: LedgerShape


def test_what_scripts_read_has_its_shape_and_healthy_is_what_the_answer_says(run: Trained) -> None:
    assert run.report is not None
    diagnosis = msgspec.convert(run.diagnosis, DiagnosisShape, strict=True)

    assert (diagnosis.run, len(diagnosis.findings)) == (run.run, len(run.report.findings))
    assert diagnosis.healthy == run.report.verdict.lead.startswith("Healthy")
    assert not (diagnosis.healthy and diagnosis.findings)
    assert sum(diagnosis.partition.values()) == pytest.approx(run.report.wall_s, rel=1e-9)


def true_causes(run: Trained) -> dict[str, str]:
    """What the truth file tells of, by cause, with its owner."""
    causes = {"capacity-pause" for line in run.said("paused", reason="capacity") if line["length_s"] >= PAUSE_MIN_S}
    causes |= {"slow-service" for _ in run.said("slow")}
    causes |= {"unreachable" for _ in run.said("restored")}
    for line in run.said("fault"):
        by_user = line.get("category") == "user" or (line["status"] or 500) < 500
        causes.add("user-error" if by_user else "service-errors")
    return {cause: OWNERS[cause] for cause in causes}


def test_every_finding_is_in_the_truth_and_every_injected_fault_is_found_with_its_owner(run: Trained) -> None:
    assert run.report is not None
    found = {finding.cause: finding.owner for finding in run.report.findings}
    expected = {cause: owner for cause, owner in true_causes(run).items() if cause in found or not may_miss(run, cause)}

    assert found == expected, [finding.summary for finding in run.report.findings]
    assert len(run.report.findings) == len(expected)
    assert run.report.verdict.owner in (set(expected.values()) or {"none"})


def may_miss(run: Trained, cause: str) -> bool:
    """Was this machine too busy for a client to tell what is slow from what is usual, or to ask often enough to meet
    nobody? On a quiet one never."""
    assert run.report is not None
    return cause in ("slow-service", "unreachable") and any(was_starved(run, step.step) for step in run.report.steps)


def test_a_run_without_a_fault_is_healthy_and_a_users_error_is_the_users_alone(trained: dict[str, Trained]) -> None:
    healthy, mistaken = trained[seed_name(HEALTHY_SEED)].report, trained[seed_name(USER_ERROR_SEED)].report
    assert healthy is not None and mistaken is not None

    assert (healthy.findings, healthy.errors, healthy.pauses, healthy.verdict.owner) == ([], [], [], "none")
    assert [(finding.cause, finding.owner) for finding in mistaken.findings] == [("user-error", "you")]
    assert (mistaken.verdict.owner, [error.owner for error in mistaken.errors]) == ("you", ["you"])


def test_the_injected_faults_are_in_the_steps_where_they_were(run: Trained) -> None:
    assert run.report is not None
    slow = {line["nth"] for line in run.said("slow")}
    failed = {line["nth"] for line in run.said("fault", kind="future")}
    paused = {line["nth"] for line in run.said("paused")}
    steps = {finding.cause: set(finding.evidence["steps"]) for finding in run.report.findings}

    if slow and ("slow-service" in steps or not may_miss(run, "slow-service")):
        assert len(steps["slow-service"] & slow) >= len(slow) - 1
        assert all(was_starved(run, step) for step in steps["slow-service"] - slow)
    assert {step.step for step in run.report.steps if step.failed} == failed
    assert paused <= {pause.step for pause in run.report.pauses}
    assert not paused or paused <= steps["capacity-pause"]


def was_starved(run: Trained, number: int) -> bool:
    """Was the machine too busy in a step for it to be told from a slow one?"""
    assert run.report is not None
    [step] = [step for step in run.report.steps if step.step == number]
    began, ended = (run.view.began_ns + int(at_s * 1e9) for at_s in (step.began_s, step.ended_s))
    return run.starved_ns(began, ended) > 0.1 * (ended - began)


def test_a_pause_is_as_long_as_it_was_or_its_bounds_say_so(run: Trained) -> None:
    assert run.report is not None
    rows: dict[str, PauseRow] = {pause.request_id: pause for pause in run.report.pauses}
    ready = {line["request_id"]: line for line in run.said("ready")}
    told = {request: line["reason"] for line in run.said("resumed") for request in line["request_ids"]}

    assert set(told) == set(rows)
    for request, reason in told.items():
        pause, truth = rows[request], ready[request]
        true_s = truth["queue_ns"] / 1e9
        spare_s = run.starved_ns(truth["at_ns"] - truth["total_ns"], truth["at_ns"] + 20 * MS) / 1e9 + 0.005
        assert pause.reason == reason and pause.min_s <= pause.length_s <= pause.max_s
        close = abs(pause.length_s - true_s) <= PAUSE_SHARE * true_s + spare_s
        assert close or pause.min_s - spare_s <= true_s <= pause.max_s + spare_s, (pause, true_s)
        polls_s = 2 * run.scenario.poll_hold_s + sum(COMPUTE_S.values())
        assert pause.max_s - pause.min_s <= polls_s + spare_s, pause


def test_compute_queue_and_send_of_every_request_are_the_services_own(run: Trained) -> None:
    wrong, compared = [], 0
    for cut, figures in cuts(run):
        spare = run.starved_ns(cut.operation.began_ns, cut.ended_ns)
        for part, (least, most) in figures.items():
            seen = cut.nanoseconds(part)
            less, more = cut.doubt_ns(part)
            off = max(FIGURE_NS, most * FIGURE_SHARE) + spare
            compared += 1
            if not (seen - less - off <= most and least <= seen + more + off):
                wrong.append(
                    (cut.operation.name, part, *(round(ns / MS, 1) for ns in (seen, least, most, less, more, spare)))
                )

    assert wrong == []
    assert compared >= 3 * 2 * 5


def test_bounds_are_no_wider_than_they_must_be(run: Trained) -> None:
    """Bounds that hold everything say nothing: without a pause, compute is known to a fifth of itself and 5 ms."""
    vague, compared = [], 0
    for cut, figures in cuts(run):
        compute_ns, queue_ns = (figures[part][0] for part in ("compute", "queue:capacity"))
        if queue_ns == 0:
            width = sum(cut.doubt_ns("compute", in_order=True)) - run.starved_ns(cut.operation.began_ns, cut.ended_ns)
            compared += 1
            if width > 0.2 * compute_ns + FIGURE_NS:
                vague.append((cut.operation.name, width / MS, compute_ns / MS))

    assert len(vague) <= 0.2 * compared, vague


def cuts(run: Trained) -> Iterator[tuple[OperationCut, dict[str, tuple[int, int]]]]:
    """Every operation with one request, and what the service says of it: the least and the most, in ns."""
    ready = {line["request_id"]: line for line in run.said("ready")}
    for operation in run.view.process.order:
        if len(operation.requests) == 1:
            truth = ready[operation.request_ids[0]]
            compute_ns, queue_ns = truth["compute_ns"], truth["queue_ns"]
            figures = {"compute": (compute_ns, compute_ns), "queue:capacity": (queue_ns, queue_ns)}
            yield run.view.cutter.cut(operation), figures | {"send": sent_ns(run, truth, operation.began_ns)}


def sent_ns(run: Trained, ready: dict[str, Any], called_ns: int) -> tuple[int, int]:
    """From the first attempt's headers at the service to the answer of the one that it took, of the last one where an
    answer was lost; or, when it was out of reach in between, from the first attempt that it cannot have seen."""
    accepted = [
        line
        for line in run.said("exchange", request_id=ready["request_id"], status=200)
        if "retrieve" not in line["path"]
    ]
    refused = run.said("fault", kind="submit", request_type=ready["request_type"], nth=ready["nth"])
    first = min([line["headers_ns"] for line in accepted] + [line["at_ns"] for line in refused])
    outages = ((line["at_ns"] - line["duration_ns"], line["at_ns"]) for line in run.said("restored"))
    unseen = [max(began, called_ns) for began, ended in outages if began < first and called_ns < ended]
    answered = [line["handled_ns"] for line in accepted]
    return int(min(answered) - first), int(max(answered) - min([first, *unseen]))


def test_the_parts_of_every_step_and_of_the_run_add_up_to_the_wall(run: Trained) -> None:
    report: Report | None = run.report
    assert report is not None and report.steps
    assert sum(part.seconds for part in report.parts) == pytest.approx(report.wall_s, rel=SUM_SHARE)
    for step in report.steps:
        assert sum(step.parts.values()) == pytest.approx(step.wall_s, rel=SUM_SHARE)
        assert step.wall_s == pytest.approx(step.ended_s - step.began_s, rel=SUM_SHARE)
    assert all(part.min_s <= part.seconds <= part.max_s for part in report.parts)


def test_every_event_of_the_run_is_stored_and_the_ledger_balances_exactly(run: Trained) -> None:
    ledger = run.ledger

    assert run.report is not None
    assert ledger["recorded"] == ledger["stored"] == run.report.events
    assert (ledger["pending"], ledger["rejected"], ledger["dropped"]) == (0, 0, {})


def test_a_live_diagnosis_forgets_what_is_settled_and_finds_the_very_same(run: Trained) -> None:
    assert folded(run.events, 7)[:2] == folded(run.events, None)[:2]
