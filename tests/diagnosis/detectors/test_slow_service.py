from __future__ import annotations

import random

import pytest
from tests.diagnosis.builder import Script, training_run

from tinkertape.diagnosis import diagnose

SLOW = [150.0] * 12 + [400.0] * 6 + [150.0] * 12


def test_a_slow_stretch_is_the_services_and_costs_what_is_above_usual() -> None:
    diagnosis = diagnose(training_run(SLOW, hold=500).events())

    [finding] = diagnosis
    assert (finding.cause, finding.owner) == ("slow-service", "service")
    assert finding.evidence.steps == (13, 14, 15, 16, 17, 18)
    assert finding.cost_s == pytest.approx(6 * 0.25, abs=0.01)
    assert finding.evidence.figures["factor"] == pytest.approx(400 / 150, abs=0.01)
    assert diagnosis.report.over_s == pytest.approx(finding.cost_s)
    assert [step.over_s > 0 for step in diagnosis.report.steps] == [compute != 150 for compute in SLOW]


@pytest.mark.parametrize("seed", range(10))
def test_it_is_found_among_noise(seed: int) -> None:
    rng = random.Random(seed)
    computes = [compute * rng.uniform(0.8, 1.2) for compute in SLOW]

    [finding] = diagnose(training_run(computes, hold=500).events())

    assert finding.cause == "slow-service"
    assert set(finding.evidence.steps) >= {14, 15, 16, 17}
    assert set(finding.evidence.steps) <= {13, 14, 15, 16, 17, 18}


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_healthy(seed: int) -> None:
    rng = random.Random(seed)
    computes = [20 * rng.uniform(0.8, 1.2) + rng.expovariate(1 / 8) for _ in range(40)]

    assert not diagnose(training_run(computes).events(), only="slow-service").findings


def test_one_or_two_slow_calls_are_no_stretch() -> None:
    assert not diagnose(training_run([100] * 8 + [500] * 2 + [100] * 8, hold=1000).events()).findings


def test_larger_batches_are_not_slower() -> None:
    script = Script()
    at = 0.0
    for tokens, compute in [(1000, 100)] * 8 + [(4000, 400)] * 8:
        call = script.call("forward_backward", at, tokens=tokens, compute=compute)
        script.claim(call, at + 1, call.ended)
        at = call.ended + 5
    script.tick(at + 500)

    assert not diagnose(script.events()).findings


def test_a_stalled_client_is_not_the_services_doing() -> None:
    script = Script()
    at = 0.0
    for number in range(16):
        slow = number >= 10
        call = script.call("forward_backward", at, send=150 if slow else 3, compute=250 if slow else 100)
        script.claim(call, at + 1, call.ended)
        at = call.ended + 5
    script.tick(at + 500)

    assert not diagnose(script.events()).findings


def test_what_stands_behind_another_is_not_slow() -> None:
    script = Script()
    at = 0.0
    for number in range(20):
        compute = 100 if number < 10 else 130
        first = script.call("forward_backward", at, compute=compute)
        second = script.call("optim_step", at + 4, compute=20, behind=at + 6.5 + compute)
        script.claim(first, at + 5, first.ended)
        script.claim(second, first.ended, second.ended)
        at = second.ended + 5
    script.tick(at + 500)

    assert not diagnose(script.events()).findings


def test_a_stretch_that_goes_on_says_since_when() -> None:
    report = diagnose(training_run([100] * 10 + [300] * 6, hold=500).events()).report

    assert report.verdict.lead == "It is Tinker."
    assert report.verdict.sentence == "It computes 3.0× slower since step 11."
    assert report.findings[0].evidence["ended_s"] is None


def test_a_single_stall_after_the_stretch_is_no_part_of_it() -> None:
    computes = [100.0] * 8 + [300.0] * 5 + [100.0, 300.0] + [100.0] * 6

    [finding] = diagnose(training_run(computes, hold=500).events())

    assert finding.evidence.steps == (9, 10, 11, 12, 13)


def test_one_usual_call_inside_does_not_end_the_stretch() -> None:
    computes = [100.0] * 8 + [300.0] * 4 + [100.0] + [300.0] * 3 + [100.0] * 6

    [finding] = diagnose(training_run(computes, hold=500).events())

    assert finding.evidence.steps == (9, 10, 11, 12, 14, 15, 16)
