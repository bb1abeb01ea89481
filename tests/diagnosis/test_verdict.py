"""The answer in every state."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.diagnosis.builder import USER as CALLER
from tests.diagnosis.builder import Script, training_run

from tinkertape.context import Event
from tinkertape.diagnosis import Diagnoser, Report, diagnose
from tinkertape.diagnosis.done import FailedCall, steps_done
from tinkertape.diagnosis.report import State
from tinkertape.diagnosis.words import THIN, first_line, seconds, share_as_known, steps

USER = {"error_type": "RequestFailedError", "reason": "datum 3 is too long", "fault_owner": "user"}
SERVER = {"error_type": "RequestFailedError", "reason": "the worker was lost", "fault_owner": "service"}


def answer(report: Report) -> str:
    return f"{report.verdict.lead} {report.verdict.sentence}".replace(THIN, " ")


def report_of(script: Script, state: State | None = None, ledger: object = None) -> Report:
    diagnoser = Diagnoser()
    for event in script.events():
        diagnoser.feed(event)
    return diagnoser.report(state=state, ledger=ledger)


def test_healthy() -> None:
    report = report_of(training_run([100] * 12))

    assert answer(report) == "Healthy, as far as this run shows: 12 steps, usually 0.16 s each; nothing waits on you."
    assert report.verdict.under.replace(THIN, " ") == (
        "78 % of the time is Tinker computing. "
        "`forward_backward` takes 0.11 s (p50); one run alone cannot say whether that is slow for this model."
    )
    assert {owner.owner: owner.role for owner in report.owners}["service"] == "usual"


def test_a_run_that_is_slow_from_its_first_call_is_not_called_healthy_beyond_itself() -> None:
    report = report_of(training_run([9_000] * 6, hold=20_000))

    assert report.verdict.lead == "Healthy, as far as this run shows:"
    assert "`forward_backward` takes 9.0 s (p50)" in report.verdict.under.replace(THIN, " ")


@pytest.mark.parametrize("ledger", [{"rejected": 1, "stored": 9}, {"rejected": 0, "stored": 9}])
def test_a_record_that_is_not_whole_is_not_called_healthy(ledger: dict[str, int]) -> None:
    whole = {"recorded": 10, "pending": 0, "dropped": {}}

    report = report_of(training_run([100] * 12), ledger={**whole, **ledger})

    assert report.verdict.lead == "Cannot say:" and not report.healthy
    assert "could not be read" in report.verdict.sentence or "9 are accounted for" in report.verdict.sentence


def test_whatever_the_answer_healthy_in_json_is_what_its_sentence_says() -> None:
    early = report_of(training_run([100] * 2), state="running")

    assert early.verdict.lead == "Too early to say:" and not early.healthy


def test_a_healthy_run_that_is_mostly_idle_says_so() -> None:
    report = report_of(training_run([20] * 12, optim=10, between=100))

    assert "of the time nothing was in flight." in report.verdict.sentence
    assert "Idle: your code ran between the calls" in report.verdict.under


def test_a_run_with_trouble_that_no_detector_names_is_not_called_healthy() -> None:
    script = training_run([100] * 12)
    for number in range(3):
        broken = {"error_type": "ConnectError", "status_code": None, "operation": "optim_step", "layer": "http"}
        script.event("tinker.retry", 500 + number, {"attempt": number, "delay": 1_000_000}, broken)

    report = report_of(script)

    assert answer(report) == "No cause found. No detector names a cause, but there were 3 broken connections."
    [(role, say)] = [(owner.role, owner.say) for owner in report.owners if owner.owner == "network"]
    assert (role, say.startswith("Suspect: "), say.endswith("3 broken connections")) == ("none", True, True)


@pytest.mark.parametrize("state", ["running", "ended"])
def test_a_run_whose_next_call_the_sdk_never_sends_is_not_called_healthy(state: State) -> None:
    script = training_run([100] * 12)
    call = {"operation_id": script.next_id(), "operation": "save_state", "thread": CALLER}
    script.event("tinker.training.save_state.start", 3_000, {}, call)
    script.tick(93_000)

    report = report_of(script, state=state)

    assert answer(report) == (
        "No cause found. No detector names a cause, but there was 1 call not sent after 90.0 s inside the SDK "
        "(`save_state`)."
    )
    assert not report.healthy
    said = {owner.owner: (owner.role, owner.say.replace(THIN, " ")) for owner in report.owners}
    assert said["you"] == ("none", "Suspect: 1 call not sent after 90.0 s inside the SDK (`save_state`)")


def test_a_retry_is_told_at_the_time_of_the_failure_that_it_followed() -> None:
    script = training_run([100] * 12)
    refused = {"error_type": "InternalServerError", "status_code": 503, "operation": "optim_step", "layer": "http"}
    script.event("tinker.retry", 900, {"attempt": 0, "delay": 500_000_000}, refused)

    [retry] = report_of(script).retries

    assert (retry.at_s, retry.delay_s) == (pytest.approx(0.4), 0.5)


def test_a_step_whose_call_failed_is_not_done_and_what_failed_is_told_once() -> None:
    script = training_run([100] * 9, hold=50, pauses={4: (0, 2700)}, failures={6: SERVER})

    report = report_of(script)

    assert "failed `forward_backward` at step 6" in answer(report)
    assert "The pause ended by itself, and 8 of 9 steps are done." in report.verdict.under


def test_what_failed_is_named_beside_the_steps_where_no_finding_tells_it() -> None:
    made = [FailedCall("forward_backward", 6, False), FailedCall("sample", 7, False), FailedCall("sample", None, False)]

    assert steps_done(9, [], "") == "all 9 steps are done"
    assert steps_done(1, [], "") == "the step is done"
    assert steps_done(9, made[:1], "") == "8 of 9 steps are done: `forward_backward` failed in step 6"
    assert steps_done(9, made[:1], "It failed `forward_backward` at step 6.") == "8 of 9 steps are done"
    assert steps_done(9, made[1:2], "") == "all 9 steps are done, but `sample` failed in step 7"
    assert steps_done(9, [made[2]] * 2, "") == "all 9 steps are done, but `sample` failed outside the steps (2 times)"
    assert steps_done(1, made[:1], "") == "no step is done: `forward_backward` failed in step 6"
    again = FailedCall("optim_step", 3, True)
    said = "all 9 steps are done, but `optim_step` failed in step 3 before it was called again"
    assert steps_done(9, [again], "It failed `optim_step`.") == said
    assert steps_done(9, [*made, again], "").endswith(", `sample` failed in step 7 and so did 2 other calls")


@pytest.mark.parametrize(("waited", "where"), [(False, ", step 3."), (True, ".")])
def test_a_program_that_did_not_wait_for_its_last_call_failed_in_that_step(waited: bool, where: str) -> None:
    script = Script()
    at = 0.0
    for number in range(1, 4):
        first = script.call("forward_backward", at, compute=50)
        second = script.call("optim_step", at + 1, compute=20, behind=first.ended)
        script.claim(first, at + 2, first.ended)
        if number < 3 or waited:
            script.claim(second, first.ended + 1, second.ended)
        at = second.ended + 5
    raised = {"exception_type": "ValueError", "exception_message": "no rows", "fault_owner": "user"}
    script.event("telemetry.exception", at + 100, {}, raised)
    script.stop(at + 110, "errored")

    assert answer(report_of(script)) == f"Failed by your code. ValueError: no rows{where}"


def test_the_same_error_with_another_request_is_one_row() -> None:
    wrapped = "Request failed: datum {} is too long for self.request_id='{}' and expected type self.model_cls=<class>"
    failures = {
        2: {**USER, "reason": wrapped.format(3, "cade7b29-f01b")},
        5: {**USER, "reason": wrapped.format(4, "ee7d5702-1020")},
    }

    [error] = report_of(training_run([100] * 8, failures=failures)).errors

    assert error.count == 2


def test_it_is_tinker_with_two_phrases() -> None:
    computes = [150.0] * 19 + [390.0] * 6 + [150.0] * 5
    report = report_of(training_run(computes, pauses={12: (0, 3100)}))

    assert (
        answer(report)
        == "It is Tinker. It paused this run for ≈ 3.1 s at step 12, and computed 2.6× slower in steps 20 to 25."
    )
    assert report.verdict.under.startswith(
        "Nothing to change in your code. The pause ended by itself, and all 30 steps"
    )
    assert {owner.owner: owner.role for owner in report.owners} == {
        "you": "not",
        "network": "not",
        "service": "cause",
        "idle": "none",
    }


def test_a_small_error_of_yours_beside_a_pause_stands_below() -> None:
    report = report_of(training_run([150] * 20, pauses={12: (0, 3100)}, failures={7: USER}))

    assert answer(report) == "It is Tinker. It paused this run for ≈ 3.1 s at step 12."
    assert "datum 3 is too long at step 7" in report.verdict.under


def test_two_causes_name_both_with_their_shares() -> None:
    failures = {step: USER for step in range(5, 12)}
    report = report_of(training_run([400.0] * 15, hold=500, pauses={14: (0, 2600)}, failures=failures))

    assert report.verdict.lead == "Two causes:"
    assert "your code cost 2.9 s" in answer(report)
    assert "Tinker ≈ 2.6 s" in answer(report)


def test_a_request_that_the_service_failed() -> None:
    report = report_of(training_run([150] * 20, failures={7: SERVER}))

    assert answer(report) == "It is Tinker. It failed `forward_backward` at step 7."


@pytest.mark.parametrize("interruption", ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "CancelledError"])
def test_an_interruption_is_nobodys_error(interruption: str) -> None:
    failure = {"error_type": interruption, "reason": "", "fault_owner": "user", "is_user_error": True}  # of old
    script = training_run([100] * 8, failures={8: failure})
    script.stop(2000, "interrupted")

    report = report_of(script)

    assert (report.errors, report.findings, [step for step in report.steps if step.failed]) == ([], [], [])
    assert [row.errors for row in report.operations] == [0, 0]
    said = {owner.owner: owner.say for owner in report.owners}
    assert said["you"] == "Not the cause: no error of yours"
    assert report.verdict.owner == "none"


def test_too_early() -> None:
    script = Script()
    script.start(0)
    for number in range(2):
        call = script.call("forward_backward", 10 + 300 * number, compute=100)
        script.claim(call, 11 + 300 * number, call.ended)
        second = script.call("optim_step", call.ended + 1, compute=40)
        script.claim(second, call.ended + 2, second.ended)
    script.tick(900)

    report = report_of(script)

    assert (report.state, report.verdict.owner) == ("running", "none")
    assert answer(report) == "Too early to say: 2 steps seen."


def killed_run(steps: int) -> Script:
    """Steps, and then a call that never came back."""
    script = Script()
    script.start(0)
    for number in range(steps):
        for operation, at in (("forward_backward", 10), ("optim_step", 160)):
            call = script.call(operation, at + 300 * number, compute=100)
            script.claim(call, at + 300 * number + 1, call.ended)
    call = script.call("forward_backward", 10 + 300 * steps, compute=5000, open_at=3000)
    script.claim(call, 11 + 300 * steps, None)
    script.tick(3000)
    return script


def test_killed() -> None:
    report = report_of(killed_run(2), state="killed")

    assert answer(report).startswith("Killed in step 3, from outside the program or by os._exit.")
    assert report.wall_s == 3


def failed_run(owner: str) -> Script:
    script = training_run([100] * 8)
    traceback = 'Traceback\n  File "/home/me/data.py", line 88, in collate\n    batch["labels"]\n'
    error = {
        "exception_type": "KeyError",
        "exception_message": "'labels'",
        "fault_owner": owner,
        "traceback": traceback,
    }
    script.event("telemetry.exception", 1200, {}, error)
    return script


def test_failed_by_your_code() -> None:
    report = report_of(failed_run("user"), state="failed")

    assert answer(report) == "Failed by your code. KeyError: 'labels' at data.py:88, step 8."
    assert report.verdict.under == "Until then nothing was found wrong with Tinker or the network."


@pytest.mark.parametrize(("status", "state"), [("success", "ended"), ("errored", "failed"), ("interrupted", "ended")])
def test_how_the_recording_ended_is_the_state(status: str, state: str) -> None:
    script = Script()
    script.start(0)
    script.stop(100, status)

    report = report_of(script)

    assert (report.state, report.status) == (state, status)


def test_a_program_that_failed_before_any_call_is_not_told_that_tinker_was_healthy() -> None:
    script = Script()
    script.start(0)
    error = {"exception_type": "ImportError", "exception_message": "no module", "fault_owner": "user"}
    script.event("telemetry.exception", 50, {}, error)
    script.stop(60, "errored")

    report = report_of(script)

    assert answer(report) == "Failed by your code. ImportError: no module."
    assert report.verdict.under == "No Tinker call was recorded."


def test_trouble_before_a_failure_is_not_called_healthy() -> None:
    script = failed_run("user")
    broken = {"error_type": "ConnectError", "status_code": None, "operation": "optim_step", "layer": "http"}
    script.event("tinker.retry", 500, {"attempt": 1, "delay": 1_000_000}, broken)

    report = report_of(script, state="failed")

    assert report.verdict.under == "Before that there was 1 broken connection."


def test_the_exit_status_is_what_failed_where_the_program_went_on_after_an_error() -> None:
    script = training_run([100] * 8, failures={2: USER})
    script.event("telemetry.session.stop", 2100, {}, {"status": "errored", "exit_status": 3})

    report = report_of(script)

    assert (report.state, report.exit_status) == ("failed", 3)
    assert answer(report) == "Failed. The program ended with exit status 3."
    assert "datum 3 is too long at step 2" in report.verdict.under


def test_a_failure_that_the_service_does_not_explain_is_nobodys() -> None:
    failure = {
        "error_type": "RequestFailedError",
        "reason": "something broke",
        "fault_owner": "unknown",
        "error_category": "unknown",
        "is_user_error": False,
    }
    report = report_of(training_run([100] * 8, failures={7: failure}))

    assert (report.verdict.owner, answer(report)) == (
        "none",
        "Not clear whose: `forward_backward` failed at step 7, and the service did not say whose mistake it was.",
    )
    [finding] = report.findings
    assert (finding.cause, finding.owner) == ("service-errors", "none")
    assert [error.owner for error in report.errors] == ["none"]
    said = {owner.owner: (owner.role, owner.say) for owner in report.owners}
    assert said["you"] == ("not", "Not the cause: no error of yours")
    assert said["service"] == ("usual", "Steady: no more than 1 failure that it did not explain")


def test_a_program_that_ended_by_a_failure_that_nobody_explains_says_so() -> None:
    script = training_run([100] * 3)
    error = {"exception_type": "RequestFailedError", "exception_message": "broke", "fault_owner": "unknown"}
    script.event("telemetry.exception", 700, {}, {**error, "error_category": "unknown"})

    report = report_of(script, state="failed")

    assert answer(report).startswith("Failed. RequestFailedError: broke")
    assert report.verdict.under == "The service did not say whose mistake it was."


def test_killed_tells_what_was_found_before() -> None:
    script = training_run([150] * 8, pauses={3: (0, 3100)})
    events = [event for event in script.events() if event.name != "telemetry.session.stop"]

    report = diagnose(events, state="killed").report

    assert answer(report) == (
        "Killed after step 8, from outside the program or by os._exit. "
        "Before that: Tinker paused this run for ≈ 3.1 s at step 3."
    )
    assert report.verdict.under == "Everything recorded until then is here."


def test_what_cost_nothing_is_no_cause() -> None:
    script = training_run([150] * 12)
    script.call("sample", 300, family="sampling", model="", compute=50, paused=(0, 1200), hold=400)  # nobody claims it

    report = report_of(script)

    assert [(finding.cause, finding.severity) for finding in report.findings] == [("capacity-pause", "info")]
    assert (report.verdict.owner, report.verdict.lead) == ("none", "No harm done:")
    assert report.verdict.sentence.endswith("that held nothing up.")  # the steps waited, for their own
    assert {owner.owner: owner.role for owner in report.owners}["service"] == "not"


def test_several_pauses_end_in_the_plural() -> None:
    report = report_of(training_run([150] * 20, pauses={5: (0, 2100), 12: (0, 3100)}))

    assert answer(report) == "It is Tinker. It paused this run 2 times, together for ≈ 5.2 s at steps 5 and 12."
    assert "The pauses ended by themselves, and all 20 steps are done." in report.verdict.under


def test_the_length_of_a_pause_is_its_best_estimate_between_its_bounds() -> None:
    report = report_of(training_run([150] * 20, pauses={12: (0, 3100)}, hold=400))

    [finding], [pause] = report.findings, report.pauses
    figures = finding.evidence["figures"]
    assert figures["length_s"] == pause.length_s
    assert figures["min_s"] < figures["length_s"] < figures["max_s"]
    assert figures["length_s"] == pytest.approx(3.1, abs=0.03)


def paused_run(reason: str, *, until: float) -> list[Event]:
    """A call that has been held since it was accepted, as of `until`."""
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 10, paused=(0, 50_000), hold=400, reason=reason, open_at=until)
    script.claim(call, 11, None)
    script.tick(until)
    return script.events()


@pytest.mark.parametrize(("reason", "said"), [("rate_limit", "rate limit"), ("capacity", "capacity")])
def test_a_live_pause_says_that_it_waits_and_why(reason: str, said: str) -> None:
    report = diagnose(paused_run(reason, until=3000)).report

    assert (report.state, report.verdict.owner) == ("paused", "service")
    assert answer(report).startswith("Waiting for Tinker for ≈ 3.0 s (paused: " + said + ")")


def test_an_open_pause_at_an_interrupt_has_one_length_in_words_and_figures() -> None:
    events = paused_run("capacity", until=3000)
    last = events[-1]
    stop = msgspec.structs.replace(
        last,
        name="telemetry.session.stop",
        measurements={"monotonic_time": last.monotonic_ns + 700_000_000},
        metadata={"status": "interrupted"},
        index=last.index + 1,
    )
    report = diagnose([*events, stop]).report

    [finding], [pause] = report.findings, report.pauses
    assert finding.evidence["figures"]["length_s"] == pytest.approx(pause.length_s) == pytest.approx(3.7, abs=0.1)
    assert finding.cost_s == pytest.approx(pause.length_s, abs=0.1)
    assert answer(
        report
    ) == f"It is Tinker. It paused this run for ≈ {seconds(finding.cost_s)}, until it ended.".replace(THIN, " ")
    assert report.verdict.under == "Nothing to change in your code. It was interrupted."


@pytest.mark.parametrize(
    ("quality", "least", "most", "said"),
    [
        ("measured", 0.39, 0.39, "39 %"),
        ("inferred", 0.2, 0.4, "about 39 %"),
        ("bounded", 0.1, 0.39, "at most 39 %"),
        ("bounded", 0.38, 0.40, "39 %"),
        ("bounded", 0.1, 0.6, "10 % to 60 %"),
        ("bounded", 0.38, 0.6, "at least 38 %"),
    ],
)
def test_a_share_is_said_as_it_is_known(quality: str, least: float, most: float, said: str) -> None:
    assert share_as_known(0.39, quality, least, most).replace(THIN, " ") == said


def test_compute_that_is_only_bounded_is_said_so_in_the_answer() -> None:
    script = Script()
    script.start(0)
    for at in range(0, 6000, 500):  # the threads of each poll waited for a processor
        call = script.call("forward_backward", at + 10, compute=300, starved=(0, 100))
        script.claim(call, at + 11, call.ended)
    script.stop(6000)

    report = report_of(script)

    [compute] = [part for part in report.parts if part.part == "compute"]
    assert compute.quality == "bounded" and compute.min_s < 0.9 * compute.seconds
    assert report.verdict.under.replace(THIN, " ").startswith("At most 60 % of the time is Tinker computing.")


def test_what_is_usual_in_tinkers_row_is_said_as_it_is_known() -> None:
    script = Script()
    script.start(0)
    for number, at in enumerate(range(0, 6000, 500)):
        paused = (0.0, 2000.0) if number == 11 else None
        call = script.call("forward_backward", at + 10, compute=300, starved=(0, 100), paused=paused, hold=400)
        script.claim(call, at + 11, call.ended)
    script.stop(9000)

    said = {owner.owner: owner.say.replace(THIN, " ") for owner in report_of(script).owners}

    assert said["service"].startswith("The cause: about ") and " is usual, ≈ 2." in said["service"]


def test_what_was_lost_of_the_record_is_said() -> None:
    ledger = {"recorded": 2418, "stored": 2211, "pending": 0, "rejected": 0, "dropped": {"memory full": 207}}
    report = report_of(training_run([100] * 8), ledger=ledger)

    assert answer(report) == "Cannot say: 207 events of 2 418 could not be kept (memory full)."


def test_no_call_at_all() -> None:
    script = Script()
    script.start(0)
    script.stop(100)

    diagnosis = diagnose(script.events())
    report = diagnosis.report

    assert (answer(report).strip(), report.verdict.owner) == ("No Tinker call was recorded.", "none")
    assert not diagnosis.healthy and diagnosis.to_json()["healthy"] is False
    said = {owner.owner: (owner.role, owner.say) for owner in report.owners}
    assert said == dict.fromkeys(("you", "network", "service"), ("none", "no call was recorded")) | {
        "idle": ("none", "Nothing in flight")
    }
    assert report.checked == []


def test_no_call_of_a_program_that_asked_for_an_exit_status() -> None:
    script = Script()
    script.start(0)
    script.event("telemetry.session.stop", 60, {}, {"status": "errored", "exit_status": 3})

    report = report_of(script)

    assert answer(report) == "Failed. The program ended with exit status 3."
    assert report.verdict.under == "No Tinker call was recorded."


def test_the_send_of_a_call_that_failed_is_no_waiting_after_an_error() -> None:
    report = report_of(training_run([100] * 8, failures={4: SERVER}))

    assert "waiting after" not in {owner.owner: owner.say for owner in report.owners}["network"]


def test_no_call_yet() -> None:
    script = Script()
    script.start(0)
    script.tick(100)

    assert answer(report_of(script, state="running")).strip() == "No Tinker call was recorded yet."


def test_nothing_at_all() -> None:
    diagnosis = diagnose([])

    assert not diagnosis.findings and not diagnosis.healthy
    assert diagnosis.report.wall_s == 0
    assert json.loads(json.dumps(diagnosis.to_json()))["partition"] == {}


def test_the_shape_that_scripts_read() -> None:
    shape = json.loads(json.dumps(diagnose(training_run([100] * 8, pauses={3: (0, 2000)}).events()).to_json()))

    assert list(shape) == ["run", "healthy", "findings", "partition", "ledger"]
    [finding] = shape["findings"]
    keys = ["cause", "owner", "severity", "confidence", "summary", "cost_s", "share", "evidence", "advice"]
    assert sorted(finding) == sorted(keys)
    assert finding["evidence"]["steps"] == [3]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((12,), "at step 12"), ((3, 7), "at steps 3 and 7"), ((20, 21, 22, 25), "in steps 20 to 25")],
)
def test_steps_are_named_shortly(numbers: tuple[int, ...], words: str) -> None:
    assert steps(numbers) == words


def test_a_message_is_the_services_own_words() -> None:
    wrapped = (
        "Request failed: datum 1 is too long for self.request_id='1aa9' and expected type self.model_cls=<class 'X'>"
    )

    assert first_line(wrapped) == "datum 1 is too long"
    assert first_line("a\nb") == "a"
    assert len(first_line("x" * 500)) == 120


def test_requests_that_are_held_at_once_are_one_pause() -> None:
    script = training_run([150] * 8)
    for operation in ("forward_backward", "optim_step"):
        script.call(operation, 5000 if operation == "optim_step" else 4995, compute=50, paused=(0, 2100), hold=400)
    script.call("forward_backward", 9000, compute=50, paused=(0, 1500), hold=400)

    assert [pause.pause for pause in report_of(script).pauses] == [1, 1, 2]


def test_what_the_service_s_errors_cost_in_send_is_told_beside_the_network() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 50, compute=50, send=1300)
    script.claim(call, 51, call.ended)
    tried = {"operation": "forward_backward", "operation_id": call.operation_id, "status_code": 503}
    script.event("tinker.http.request.stop", 58, {"duration": 3_000_000}, {**tried, "http_id": 9, "submission_id": 1})
    script.event("tinker.retry", 60, {"attempt": 1, "delay": 1_200_000_000}, {**tried, "layer": "http"})
    script.stop(call.ended + 500)
    report = report_of(script)

    (finding,) = report.findings
    assert finding.evidence["figures"]["in_send_s"] == pytest.approx(1.203)
    said = {owner.owner: owner.say.replace(THIN, " ") for owner in report.owners}
    assert said["network"].endswith("; 1.2 s of it waiting after Tinker's 503")


def test_an_open_call_has_returned_when_its_thread_waits_for_another() -> None:
    script = Script()
    script.start(0)
    first = script.call("forward_backward", 10, compute=3000, hold=400)
    waiting = {"operation_id": 99, "operation": "optim_step", "client": "TrainingClient", "thread": CALLER}
    script.event("tinker.training.optim_step.start", 12, {}, waiting)
    script.claim(first, 14, first.ended + 0.2)

    report = report_of(script, state="running")

    parts = {part.part: part.seconds for part in report.parts}
    assert parts.get("call", 0) < 0.05 and parts["compute"] > 2.9
