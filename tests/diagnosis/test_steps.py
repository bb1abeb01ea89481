"""Which stretch of a run is which step."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.diagnosis.builder import USER, Script, training_run

from tinkertape.cli.tapes import row_of as tape_row
from tinkertape.collector.run_row import row_of as collector_row
from tinkertape.diagnosis import Report, diagnose
from tinkertape.diagnosis.report import as_dict
from tinkertape.diagnosis.words import THIN

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


def test_evaluation_calls_without_an_optim_step_are_calls_and_no_steps() -> None:
    script = Script()
    script.start(0)
    at = 10.0
    for _ in range(12):
        call = script.call("forward_backward", at, compute=30)
        script.claim(call, at + 1, call.ended)
        at = call.ended + 1
    script.stop(at)

    report = report_of(script)

    assert (report.steps, report.models, report.usual_step_s) == ([], [], None)
    assert report.verdict.sentence.replace(THIN, " ").startswith("12 calls in ")
    assert "step" not in report.verdict.sentence + report.verdict.under


def test_evaluation_after_the_last_step_is_no_step_but_one_that_was_cut_short_is() -> None:
    def report_when(status: str) -> Report:
        script = training_run([100] * 3)
        call = script.call("forward_backward", 560, compute=30)
        script.claim(call, 561, call.ended)
        script.stop(700, status)
        return report_of(script)

    evaluated, interrupted = report_when("success"), report_when("interrupted")

    assert [step.open for step in evaluated.steps] == [False] * 3
    assert [step.open for step in interrupted.steps] == [False, False, False, True]


@pytest.mark.parametrize("is_said", [True, False])
@pytest.mark.parametrize("ended_in", ["forward_backward", "optim_step", ""])
def test_a_step_that_is_open_is_in_no_count_of_steps(ended_in: str, is_said: bool) -> None:
    script = Script()
    script.start(0)
    for number in range(1, 7):
        call = script.call("optim_step", 200 * number, step=number if is_said else None)
        script.claim(call, 200 * number + 1, call.ended)
    if ended_in:
        script.call(ended_in, 1_400, step=7 if is_said else None, open_at=1_450)
    script.stop(1_500, "interrupted")

    report = report_of(script)

    assert [step.open for step in report.steps] == [False] * 6 + [True] * bool(ended_in)
    assert report.verdict.sentence.startswith("6 steps, usually ")
    assert [model.steps for model in report.models] == [6]
    assert report.steps_completed == tape_row(report).steps == collector_row(as_dict(report), 0)["steps"] == 6


@pytest.mark.parametrize(("status", "more"), [("success", []), ("errored", [True])])
def test_errors_that_the_program_swallowed_after_the_last_step_are_no_steps(status: str, more: list[bool]) -> None:
    script = training_run([100] * 3)
    for number in range(3):
        at = 560.0 + 40 * number
        call = script.call("forward_backward", at, compute=20, tokens=1000 + number, failure=SKIPPED)
        script.claim(call, at + 1, call.ended)
    script.stop(800, status)

    report = report_of(script)

    assert [step.failed for step in report.steps] == [False, False, False, *more]
    assert [(error.count, error.step) for error in report.errors] == [(3, 4 if more else None)]


def trains(script: Script, model: str, at: float, steps: int, *, thread: int = USER, every: float = 200) -> float:
    """Sequential steps of one model, `every` ms; when the last is over."""
    for number in range(steps):
        for operation, place in (("forward_backward", 0.0), ("optim_step", 80.0)):
            call = script.call(operation, at + number * every + place, compute=50, model=model, thread=thread)
            script.claim(call, at + number * every + place + 1, call.ended, thread=thread)
    return at + steps * every


def test_two_models_in_two_threads_have_each_their_own_rhythm() -> None:
    script = Script()
    script.start(0)
    trains(script, "actor", 10, 10)
    trains(script, "critic", 60, 6, thread=USER + 1, every=330)
    script.stop(2500)

    report = report_of(script)

    assert len(report.steps) == 10
    assert {round(step.wall_s, 3) for step in report.steps[1:]} == {0.2}
    assert [(model.model_id, model.steps, model.is_main) for model in report.models] == [
        ("actor", 10, True),
        ("critic", 6, False),
    ]
    assert {row.operation: row.count for row in report.operations} == {"forward_backward": 16, "optim_step": 16}
    assert all(len(span.segments) > 3 and span.step is not None for span in report.spans)


def test_two_models_in_turns_make_one_step_of_each_turn() -> None:
    script = Script()
    script.start(0)
    trains(script, "actor", 10, 8, every=400)
    trains(script, "critic", 210, 8, every=400)
    script.stop(3500)

    report = report_of(script)

    assert len(report.steps) == 8
    assert [round(step.wall_s, 3) for step in report.steps[1:]] == [0.4] * 7
    assert [model.steps for model in report.models] == [8, 8]
    assert sum(part.seconds for part in report.parts) == pytest.approx(report.wall_s, abs=1e-9)


def test_models_that_are_trained_one_after_the_other_are_one_loop() -> None:
    script = Script()
    script.start(0)
    over = trains(script, "first", 10, 4)
    trains(script, "second", over + 1000, 3)
    script.stop(3500)

    report = report_of(script)

    assert [step.step for step in report.steps] == [1, 2, 3, 4, 5, 6, 7]
    assert report.steps[4].began_s - report.steps[3].ended_s > 1  # what lies between them is no step
    assert [(model.model_id, model.steps, model.is_main) for model in report.models] == [
        ("first", 4, True),
        ("second", 3, True),
    ]


def test_steps_that_two_loops_say_are_those_of_the_main_one() -> None:
    script = Script()
    script.start(0)
    for thread, model, steps, every in ((USER, "actor", 5, 300), (USER + 1, "critic", 3, 410)):
        for number in range(steps):
            at = 10 + number * every
            first = script.call("forward_backward", at, compute=50, model=model, thread=thread, step=number)
            second = script.call("optim_step", at + 70, compute=50, model=model, thread=thread, step=number)
            script.claim(second, at + 71, second.ended, thread=thread)
            assert first.ended < second.ended
    script.stop(2000)

    report = report_of(script)

    assert [step.step for step in report.steps] == [0, 1, 2, 3, 4]
    assert all(step.wall_s < 0.15 for step in report.steps)
    assert [model.steps for model in report.models] == [5, 3]


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
