"""Connections that break, outages and rate limits, with the real SDK, held against what the service says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from tests.diagnosis.truth import MS, Run, Trainer, outside, true_causes, view_of

from tinkertape.diagnosis import Diagnosis, diagnose
from tinkertape.sim import ConnectionFault, Outage, Pause, Scenario, SubmitFault

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("machine")]
pytest.importorskip("tinker")

COMPUTE_S = {"CreateModel": 0.03, "ForwardBackward": 0.1, "OptimStep": 0.03}


def scenario(**faults: object) -> Scenario:
    return Scenario(name="network", seed=3, compute_s=COMPUTE_S, poll_hold_s=0.5, **faults)  # type: ignore[arg-type]


def held(run: Run) -> Diagnosis:
    """The diagnosis, once its findings are in the truth, and the truth in them."""
    diagnosis = diagnose(run.tape)
    assert {finding.cause for finding in diagnosis} == true_causes(run), [finding.summary for finding in diagnosis]
    parts = diagnosis.report.parts
    assert sum(part.seconds for part in parts) == pytest.approx(diagnosis.report.wall_s, rel=1e-9)
    return diagnosis


def assert_inside(run: Run) -> None:
    """Compute, queue and send of every request are the service's own, or inside their bounds."""
    wrong, compared = outside(run, view_of(run)[0])
    assert not wrong, wrong
    assert compared > 30


@pytest.mark.parametrize("pipelined", [False, True], ids=["one by one", "pipelined"])
def test_a_service_that_is_gone_for_two_seconds_is_unreachable_then(
    trainer: Trainer, tmp_path: Path, pipelined: bool
) -> None:
    outage = Outage(nth=6, length_s=2.0, after_s=0.03)
    run = trainer.run(scenario(outages=(outage,)), tmp_path, steps=8, pipelined=pipelined)

    [finding] = held(run)
    [began], [ended] = run.said("outage"), run.said("restored")

    figures, evidence = finding.evidence.figures, finding.evidence
    late_s = run.starved_ns(began["at_ns"], evidence.ended_ns or 0) / 1e9 + 0.05
    assert finding.owner == "network" and evidence.ended_ns is not None
    assert began["at_ns"] - 5 * MS <= evidence.began_ns <= began["at_ns"] + late_s * 1e9
    assert figures["length_min_s"] - late_s <= ended["duration_ns"] / 1e9 <= figures["length_max_s"] + late_s
    assert evidence.steps == (6,)
    # the SDK asks 1 s and 3 s after the first break; the call itself was ready 70 ms after the outage began
    assert finding.cost_s == pytest.approx(2.93, abs=0.1 + late_s)
    assert_inside(run)


@pytest.mark.parametrize("pipelined", [False, True], ids=["one by one", "pipelined"])
def test_connections_that_break_now_and_then_are_flaky(trainer: Trainer, tmp_path: Path, pipelined: bool) -> None:
    faults = (
        ConnectionFault(nth=4),
        ConnectionFault(nth=5, on="poll"),
        ConnectionFault(nth=6, how="half"),
        ConnectionFault(nth=7, on="poll", how="half", request_type="OptimStep"),
    )
    run = trainer.run(scenario(connection_faults=faults), tmp_path, steps=9, pipelined=pipelined)

    [finding] = held(run)

    assert (finding.owner, finding.evidence.figures["broken"]) == ("network", len(run.said("broken")))
    assert set(finding.evidence.steps) == {4, 5, 6, 7}
    assert finding.cost_s is not None and 1.5 <= finding.cost_s <= 3.5  # two waits of 0.5 s, two of 1 s
    assert_inside(run)


def test_one_broken_connection_is_no_finding_and_is_not_passed_over(trainer: Trainer, tmp_path: Path) -> None:
    run = trainer.run(scenario(connection_faults=(ConnectionFault(nth=5),)), tmp_path, steps=8)

    report = held(run).report

    assert report.verdict.lead == "No cause found."
    assert "1 broken connection" in report.verdict.sentence


def test_a_service_that_comes_late_was_unreachable_until_then(trainer: Trainer, tmp_path: Path) -> None:
    run = trainer.run(scenario(), tmp_path, steps=3, first=lambda service: service.go_away(2.0))

    diagnosis = held(run)

    [finding] = diagnosis
    assert finding.evidence.operations == ("create_lora_training_client",)
    assert finding.cost_s is not None and finding.cost_s >= 1.5
    assert diagnosis.partition["call"] <= 0.5 + run.starved_ns(0, 1 << 62) / 1e9  # what it waited for is `send`


def test_a_long_way_is_no_fault(trainer: Trainer, tmp_path: Path) -> None:
    run = trainer.run(Scenario(compute_s=COMPUTE_S, poll_hold_s=2.0, latency_s=0.15), tmp_path, steps=4)

    assert held(run).healthy


@pytest.mark.usefixtures("crowded")
def test_a_crowded_machine_is_no_fault(trainer: Trainer, tmp_path: Path) -> None:
    run = trainer.run(scenario(), tmp_path, steps=8)

    ours = {"unreachable", "flaky-network", "rate-limit-self", "rate-limit-pause"}
    assert not {finding.cause for finding in diagnose(run.tape)} & ours


@pytest.mark.parametrize(("reason", "confidence"), [("rate_limit", 0.9), ("unknown", 0.5)])
def test_a_pause_for_a_rate_limit_or_without_a_reason_is_the_services(
    trainer: Trainer, tmp_path: Path, reason: Literal["rate_limit", "unknown"], confidence: float
) -> None:
    run = trainer.run(
        scenario(pauses=(Pause(nth=5, length_s=1.5, reason=reason, text="slow down"),)), tmp_path, steps=7
    )

    [finding] = held(run)

    figures = finding.evidence.figures
    late_s = 0.05 + run.starved_ns(finding.evidence.began_ns, finding.evidence.ended_ns or 0) / 1e9
    assert (finding.owner, finding.confidence, finding.evidence.steps) == ("service", confidence, (5,))
    assert figures["min_s"] - late_s <= 1.5 <= figures["max_s"] + late_s
    assert finding.cost_s == pytest.approx(1.5, abs=late_s + 0.1)


def test_a_burst_of_samples_is_answered_429_and_is_yours(trainer: Trainer, tmp_path: Path) -> None:
    run = trainer.run(Scenario(compute_s={"Sample": 0.4}, samples_at_once=4), tmp_path, samples=10)

    [finding] = held(run)

    answered = run.said("fault", status=429)
    assert (finding.owner, finding.evidence.figures["answers"]) == ("you", len(answered))
    assert (finding.evidence.figures["in_flight"], finding.evidence.figures["taken"]) == (10, 4)
    assert finding.cost_s is not None and finding.cost_s >= 0.9  # the SDK waits 1 s after each


def test_training_calls_answered_429_with_few_in_flight_are_nobodys(trainer: Trainer, tmp_path: Path) -> None:
    fault = SubmitFault(nth=3, status=429, times=3, request_type="OptimStep")
    run = trainer.run(scenario(submit_faults=(fault,)), tmp_path, steps=5)

    [finding] = held(run)

    assert (finding.owner, finding.evidence.figures["answers"], finding.evidence.steps) == ("none", 3, (3,))
    assert finding.cost_s is not None and finding.cost_s >= 0.75 * (0.5 + 1 + 2)
