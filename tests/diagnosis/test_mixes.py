"""Any mix of faults, with the real SDK: what the diagnosis says of it is held against what the service says it did."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.diagnosis.truth import MS, Run, Trainer, true_causes, view_of

from tinkertape.diagnosis import diagnose
from tinkertape.diagnosis.view import View
from tinkertape.sim import (
    ConnectionFault,
    Expiry,
    FutureFault,
    Latency,
    Outage,
    Pause,
    Scenario,
    Slow,
    StatusRate,
    SubmitFault,
)

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("machine")]

STEPS = 14

pytest.importorskip("tinker")


def any_scenario(seed: int) -> Scenario:
    """A scenario with no, one or several faults; the first two seeds have none and only a user's."""
    rng = random.Random(seed)
    kinds = {0: [], 1: ["user"]}.get(
        seed, rng.sample(["pause", "slow", "refused", "user", "server", "outage", "breaks", "limit"], rng.randint(1, 4))
    )
    free = [3, 5, 15]
    rng.shuffle(free)
    slow = Slow(first=7, last=11, factor=round(rng.uniform(2.5, 3.0), 2))
    pause = Pause(nth=free[0], length_s=round(rng.uniform(1.1, 1.4), 2))
    refused = SubmitFault(nth=free[1], status=503, times=rng.choice((1, 2)), request_type="OptimStep")
    limit = Pause(nth=13, length_s=round(rng.uniform(1.1, 1.4), 2), reason="rate_limit")
    outage = Outage(nth=rng.choice((2, 4, 6)), length_s=round(rng.uniform(1.5, 2.2), 2), after_s=0.02)
    breaks = (
        ConnectionFault(nth=2, request_type="OptimStep"),
        ConnectionFault(nth=6, request_type="OptimStep", on="poll", how=rng.choice(("reset", "half"))),
        ConnectionFault(nth=12, request_type="OptimStep", how="half"),
    )
    category = "user" if "user" in kinds else "server"
    fault = FutureFault(nth=free[2], category=category, message="datum 3 has 40000 tokens")
    if {"user", "server"} <= set(kinds):
        kinds.remove("server")
    return Scenario(
        name=f"seed {seed}: {', '.join(kinds) or 'healthy'}",
        seed=seed,
        compute_s={"ForwardBackward": 0.07, "OptimStep": 0.02},
        jitter=0.15,
        poll_hold_s=rng.choice((0.3, 0.5, 2.0)),
        slow=(slow,) if "slow" in kinds else (),
        pauses=((pause,) if "pause" in kinds else ()) + ((limit,) if "limit" in kinds else ()),
        submit_faults=(refused,) if "refused" in kinds else (),
        future_faults=(fault,) if {"user", "server"} & set(kinds) else (),
        connection_faults=breaks if "breaks" in kinds else (),
        outages=(outage,) if "outage" in kinds else (),
        expiries=(Expiry(nth=9),) if seed % 4 == 3 else (),
        latency=(Latency(one_way_s=0.01, distribution="uniform"),) if seed % 3 == 2 else (),
        status_rates=(StatusRate(status=502, share=0.05, on="poll"),) if seed % 5 == 4 else (),
    )


@pytest.mark.timeout(300)
def test_any_mix_of_faults_is_told_as_it_was(trainer: Trainer, tmp_path: Path) -> None:
    wrong = []
    for seed in range(0, 20, 3):  # tests/journeys runs twenty; these are the mixes, half of them one by one
        folder = tmp_path / str(seed)
        folder.mkdir(mode=0o700)
        scenario = any_scenario(seed)
        run = trainer.run(scenario, folder, steps=STEPS, pipelined=seed % 2 == 1)
        wrong += [f"{scenario.name}: {each}" for each in told_wrong(run)]

    assert not wrong, wrong


def was_starved(run: Run, view: View, step: int) -> bool:
    """Did this machine hold up a step by 20 ms or more? The service then looks slow in it."""
    [stretch] = [stretch for stretch in view.stretches if stretch.step == step]
    return run.starved_ns(stretch.began_ns, stretch.ended_ns) >= 20 * MS


def _was_busy(run: Run, view: View) -> bool:
    """Was this machine too busy for a client to tell what is slow from what is usual, or to ask often enough?"""
    return any(was_starved(run, view, stretch.step) for stretch in view.stretches if stretch.step is not None)


def told_wrong(run: Run) -> list[str]:
    """What the diagnosis of a run says that is not so, or does not say."""
    diagnosis = diagnose(run.tape)
    view, report = view_of(run)
    found = {finding.cause for finding in diagnosis}
    wrong = []
    missed = true_causes(run) - found
    may_miss = {"slow-service", "unreachable"} if _was_busy(run, view) else set()
    if found - true_causes(run) or missed - may_miss:
        summaries = [finding.summary for finding in diagnosis]
        wrong.append(f"found {sorted(found)} {summaries}, the truth is {sorted(true_causes(run))}")
    for line, pause in zip(run.said("resumed"), report.pauses, strict=False):
        allowed = run.starved_ns(line["at_ns"] - line["duration_ns"], line["at_ns"]) / 1e9 + 0.005
        length = line["duration_ns"] / 1e9
        if not pause.min_s - allowed <= length <= pause.max_s + allowed:
            wrong.append(f"a pause of {length} s lies outside {pause.min_s} to {pause.max_s} s")
    slow = {line["nth"] for line in run.said("slow")}
    failed = {line["nth"] for line in run.said("fault") if line["kind"] == "future"}
    for finding in diagnosis:
        steps = set(finding.evidence.steps)
        untrue = {step for step in steps - slow if not was_starved(run, view, step)}
        if finding.cause == "slow-service" and (len(steps & slow) < 3 or untrue):
            wrong.append(f"slow in steps {sorted(steps)}, truly in {sorted(slow)}")
        if finding.cause == "user-error" and steps != failed:
            wrong.append(f"the user's error is put at steps {sorted(steps)}")
    return wrong
