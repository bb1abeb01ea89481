from __future__ import annotations

import pytest
from tests.diagnosis.broken import exchange
from tests.diagnosis.builder import MS, Script

from tinkertape.diagnosis import diagnose

SAYS = {"status_code": 402, "reason": "Error code: 402 - {'detail': 'your balance is used up'}"}


def refused(*, taken: bool) -> Script:
    """A step; then a forward_backward that is answered 402 at 1 s and at 6 s, and taken at 11 s, or waits until 14."""
    script = Script()
    script.start(0)
    for name, at in (("forward_backward", 10), ("optim_step", 200)):
        call = script.call(name, at, compute=100)
        script.claim(call, at + 1, call.ended)
    number = script.next_id()
    made = {"operation_id": number, "operation": "forward_backward"}
    script.event("tinker.training.forward_backward.start", 998, {}, {**made, "thread": 11, "model_id": "model-1"})
    script.event("tinker.claim.start", 999, {}, {"claim_id": 99, "thread": 11, "loop": None, **made})
    submission = {**made, "submission_id": 99}
    for attempt, at in enumerate((1000, 6000)):
        if attempt:
            waited = {"delay": 4995 * MS, "attempt": attempt}
            script.event("tinker.retry", at, waited, {**submission, "status_code": 402, "layer": "submit"})
        script.event("tinker.submit.start", at, {}, submission)
        exchange(script, at, at + 5, "/api/v1/forward_backward", status=402, **submission)
        script.event("tinker.submit.exception", at + 5, {"duration": 5 * MS}, {**submission, **SAYS})
    if taken:
        script.event("tinker.retry", 11000, {"delay": 4995 * MS, "attempt": 2}, {**submission, **SAYS})
        script.event("tinker.submit.start", 11000, {}, submission)
        exchange(script, 11000, 11005, "/api/v1/forward_backward", status=200, **submission)
        script.event("tinker.submit.stop", 11005, {"duration": 5 * MS}, {**submission, "request_id": "r9"})
        script.poll({**made, "request_id": "r9"}, 11005, 11100, 11100, "ready", "active")
        script.event("tinker.request.stop", 11101, {}, {**made, "request_id": "r9"})
        done = {"duration": 10103 * MS, "call_duration": MS}
        script.event("tinker.training.forward_backward.stop", 11101, done, {**made, "thread": 11})
        script.event("tinker.claim.stop", 11101, done, {"claim_id": 99, "thread": 11, **made})
    script.stop(14000, "success" if taken else "interrupted")
    return script


@pytest.mark.parametrize(("taken", "cost_s", "answers"), [(True, 10.0, 2), (False, 13.0, 2)])
def test_a_run_that_is_held_for_its_account_is_not_healthy_and_its_code_is_not_blamed(
    taken: bool, cost_s: float, answers: int
) -> None:
    diagnosis = diagnose(refused(taken=taken).events())

    [finding] = diagnosis
    assert (finding.cause, finding.owner, finding.severity) == ("billing-hold", "you", "error")
    summary = "Tinker answered 402 to 2 attempts, for the billing of this account; it says: your balance is used up."
    assert finding.summary == summary
    assert finding.cost_s == pytest.approx(cost_s, abs=0.03)
    assert (finding.evidence.ended_ns is None, finding.evidence.figures["attempts"]) == (not taken, answers)
    verdict = diagnosis.report.verdict
    assert f"{verdict.lead} {verdict.sentence}" == f"It is your account. {summary}"
    network = {owner.owner: owner.say for owner in diagnosis.report.owners}["network"]
    assert network.startswith("Not the cause") and network.endswith("of it waiting after Tinker's 402")


def test_another_refusal_is_no_matter_of_the_account() -> None:
    script = refused(taken=True)
    for _, _, _, _, metadata, _ in script._events:
        if metadata.get("status_code") == 402:
            metadata["status_code"] = 503

    assert diagnose(script.events(), only="billing-hold").findings == []


def test_a_call_that_an_old_sdk_fails_of_it_is_told_once_and_is_no_error_in_the_code() -> None:
    """Before 0.20 the SDK does not wait."""
    script = Script()
    script.start(0)
    call = {"operation_id": 1, "operation": "forward_backward"}
    script.event("tinker.training.forward_backward.start", 100, {}, {**call, "thread": 11, "model_id": "model-1"})
    script.event("tinker.submit.exception", 105, {"duration": 5 * MS}, {**call, **SAYS, "submission_id": 1})
    failed = {"error_type": "APIStatusError", "fault_owner": "user", "thread": 11, "status": "error"}
    script.event("tinker.training.forward_backward.exception", 110, {"duration": 10 * MS}, {**call, **SAYS, **failed})
    script.stop(1000)

    [finding] = diagnose(script.events())

    assert finding.cause == "billing-hold"
    assert finding.summary.endswith("it says: your balance is used up. 1 call failed of it.")
    assert finding.advice == "Settle the billing of your Tinker account, and call again."
