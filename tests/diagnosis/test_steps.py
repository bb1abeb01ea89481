"""Which stretch of a run is which step."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.diagnosis.builder import Script, training_run

from tinkertape.diagnosis import Report, diagnose

SKIPPED = {"error_type": "RequestFailedError", "fault_owner": "user", "reason": "too long"}


def report_of(script: Script) -> Report:
    return diagnose(script.events()).report


def test_steps_follow_the_rhythm_of_optim_step_and_touch_each_other() -> None:
    steps = report_of(training_run([100] * 4)).steps

    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert all(step.inferred and not step.open and not step.failed for step in steps)
    assert all(one.ended_s == two.began_s for one, two in pairwise(steps))
    assert [step.loss for step in steps] == [pytest.approx(1 / n) for n in (1, 2, 3, 4)]


def test_a_step_ends_with_the_claim_of_its_optim_step() -> None:
    script = Script()
    first = script.call("forward_backward", 0, compute=100)
    second = script.call("optim_step", 1, compute=50, behind=106.5)
    script.claim(first, 2, first.ended)
    script.claim(second, 300, 301)  # done long before
    script.tick(600)

    [step] = report_of(script).steps

    assert step.ended_s == pytest.approx(0.301)


def test_an_optim_step_that_nobody_claims_ends_with_its_result() -> None:
    script = Script()
    for at in (0, 400):
        first = script.call("forward_backward", at, compute=100)
        script.call("optim_step", at + 1, compute=50, behind=at + 106.5)
        script.claim(first, at + 2, first.ended)
    script.stop(1000)

    assert [round(step.ended_s, 4) for step in report_of(script).steps] == [0.1585, 0.5585]


def test_accumulated_gradients_are_one_step() -> None:
    script = Script()
    at = 0.0
    for _ in range(2):
        for _ in range(3):
            call = script.call("forward_backward", at, compute=30)
            script.claim(call, at + 1, call.ended)
            at = call.ended + 1
        call = script.call("optim_step", at, compute=30)
        script.claim(call, at + 1, call.ended)
        at = call.ended + 1
    script.stop(at)

    assert len(report_of(script).steps) == 2


def test_a_batch_that_failed_and_was_skipped_is_a_step_of_its_own() -> None:
    script = Script()
    at = 0.0
    for number in range(1, 4):
        failure = SKIPPED if number == 2 else None
        call = script.call("forward_backward", at, compute=30, tokens=1000 + number, failure=failure)
        script.claim(call, at + 1, call.ended)
        at = call.ended + 1
        if failure is None:
            call = script.call("optim_step", at, compute=30)
            script.claim(call, at + 1, call.ended)
            at = call.ended + 1
    script.stop(at)

    assert [(step.step, step.failed) for step in report_of(script).steps] == [(1, False), (2, True), (3, False)]


def test_the_same_batch_again_is_a_retry_inside_the_step() -> None:
    script = Script()
    first = script.call("forward_backward", 0, compute=30, failure=SKIPPED)
    script.claim(first, 1, first.ended)
    second = script.call("forward_backward", 50, compute=30)
    script.claim(second, 51, second.ended)
    third = script.call("optim_step", 100, compute=30)
    script.claim(third, 101, third.ended)
    script.stop(300)

    assert [(step.step, step.failed) for step in report_of(script).steps] == [(1, True)]


def test_what_the_program_says_goes_before_what_is_inferred() -> None:
    script = Script()
    at = 0.0
    for number in (7, 8, 9):
        call = script.call("forward_backward", at, compute=30, step=number)
        script.claim(call, at + 1, call.ended)
        at = call.ended + 20
    script.stop(at)

    steps = report_of(script).steps

    assert [(step.step, step.inferred) for step in steps] == [(7, False), (8, False), (9, False)]
    assert steps[1].began_s - steps[0].ended_s == pytest.approx(0.02)


def test_what_goes_on_is_an_open_step() -> None:
    script = training_run([100] * 3)
    events = [event for event in script.events() if event.monotonic_ns <= script.ns(450)]

    report = diagnose(events).report

    assert [step.open for step in report.steps] == [False, False, True]


def test_before_and_after_the_steps_counts_too() -> None:
    script = training_run([100] * 3)

    report = report_of(script)

    assert report.steps[0].began_s == pytest.approx(0.01)
    assert report.wall_s > report.steps[-1].ended_s
    assert sum(part.seconds for part in report.parts) == pytest.approx(report.wall_s, abs=1e-9)
