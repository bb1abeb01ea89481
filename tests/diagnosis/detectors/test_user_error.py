from __future__ import annotations

import pytest
from tests.diagnosis.builder import Script, training_run

from tinkertape.diagnosis import diagnose

TRACEBACK = """Traceback (most recent call last):
  File "/home/me/train.py", line 41, in <module>
    client.forward_backward(batch, "cross_entropy").result()
  File "/venv/lib/python3.11/site-packages/tinker/lib/api_future_impl.py", line 240, in result
    raise error
"""
USER = {
    "error_type": "RequestFailedError",
    "reason": "Datum 3 is too long: 33012 tokens, limit 32768",
    "error_category": "user",
    "fault_owner": "user",
    "stacktrace": TRACEBACK,
}


def test_a_request_that_failed_by_category_user_is_yours() -> None:
    diagnosis = diagnose(training_run([100] * 10, failures={7: USER}).events())

    [finding] = diagnosis
    assert (finding.cause, finding.owner, finding.severity) == ("user-error", "you", "error")
    assert finding.summary == "`forward_backward` failed: Datum 3 is too long: 33012 tokens, limit 32768."
    assert finding.advice == "Look at `train.py:41`."
    assert finding.evidence.steps == (7,)
    assert finding.cost_s == pytest.approx(0.108, abs=0.01)


def test_the_same_error_again_is_one_finding_with_a_count() -> None:
    failures = {step: {**USER, "reason": f"Datum {step} is too long: 40000 tokens"} for step in (3, 5, 8)}

    [finding] = diagnose(training_run([100] * 10, failures=failures).events())

    assert finding.evidence.figures["count"] == 3
    assert finding.evidence.steps == (3, 5, 8)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422])
def test_a_status_of_4xx_is_yours(status: int) -> None:
    failure = {"error_type": "BadRequestError", "reason": "no", "status_code": status}

    [finding] = diagnose(training_run([100] * 6, failures={3: failure}).events())

    assert finding.cause == "user-error"


@pytest.mark.parametrize(
    "failure",
    [
        {"error_type": "APIStatusError", "status_code": 408},
        {"error_type": "RateLimitError", "status_code": 429},
        {"error_type": "CancelledError", "fault_owner": "user"},
        {"error_type": "TimeoutError", "fault_owner": "user"},
        {"error_type": "APIConnectionError", "fault_owner": "network"},
    ],
    ids=str,
)
def test_what_is_not_yours_is_not_found(failure: dict[str, object]) -> None:
    assert not diagnose(training_run([100] * 6, failures={3: failure}).events(), only="user-error").findings


RAISED = {
    "exception_type": "ValueError",
    "exception_message": "no `rows` left",
    "fault_owner": "user",
    "traceback": 'Traceback (most recent call last):\n  File "/home/me/train.py", line 12, in <module>\nValueError: no',
}


def raised_run(raised: dict[str, str], status: str = "errored", failure: dict[str, object] | None = None) -> Script:
    script = training_run([100] * 3, failures={3: failure} if failure else None)
    script.event("telemetry.exception", 990, {}, raised)
    script.stop(1000, status)
    return script


def test_an_exception_that_ended_the_program_is_one_finding_and_nothing_says_that_none_was_seen() -> None:
    diagnosis = diagnose(raised_run(RAISED).events())

    [finding] = diagnosis
    assert (finding.cause, finding.owner, finding.severity, finding.cost_s) == ("user-error", "you", "error", None)
    assert (finding.summary, finding.advice) == (
        "The program raised ValueError: “no `rows` left”.",
        "Look at `train.py:12`.",
    )
    report = diagnosis.report
    assert report.verdict.lead == "Failed by your code." and report.verdict.sentence.count("ValueError") == 1
    assert "ValueError" not in report.verdict.under and "user-error" not in report.checked
    assert {owner.owner: owner.say for owner in report.owners}["you"] == "The cause: the program raised ValueError"


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (RAISED, "success"),
        ({**RAISED, "exception_type": "KeyboardInterrupt"}, "errored"),
        ({**RAISED, "fault_owner": "service"}, "errored"),
    ],
    ids=["swallowed", "an interruption", "not yours"],
)
def test_an_exception_that_did_not_end_the_program_or_is_not_yours_is_not_found(
    raised: dict[str, str], status: str
) -> None:
    assert diagnose(raised_run(raised, status).events()).findings == []


def test_an_exception_that_a_call_raised_is_told_by_the_call_alone() -> None:
    raised = {**RAISED, "exception_type": USER["error_type"], "exception_message": USER["reason"]}

    [finding] = diagnose(raised_run(raised, failure=USER).events())

    assert finding.evidence.operations == ("forward_backward",)


def test_a_small_error_of_yours_is_told_and_tinker_is_not_blamed() -> None:
    report = diagnose(training_run([100] * 10, failures={7: USER}).events()).report

    assert report.verdict.lead == "It is your code."
    assert "at step 7" in report.verdict.sentence
    roles = {owner.owner: owner.role for owner in report.owners}
    assert roles == {"you": "cause", "network": "not", "service": "usual", "idle": "none"}
