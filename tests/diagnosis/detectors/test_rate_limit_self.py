from __future__ import annotations

import pytest
from tests.diagnosis.broken import exchange
from tests.diagnosis.builder import MS, Script, training_run

from tinkertape.diagnosis import diagnose


def sample(
    script: Script, number: int, at: float, *, again: tuple[float, ...] = (), ended: float | None = None
) -> None:
    """A sample that is sent at `at` and, each time after a 429, at those in `again`; then it is taken for 100 ms."""
    call = {"operation_id": number, "operation": "sample"}
    script.event("tinker.sampling.sample.start", at - 2, {}, {**call, "thread": 11, "loop": None})
    script.event("tinker.claim.start", at - 1, {}, {"claim_id": number, "thread": 11, "loop": None, **call})
    submission = {**call, "submission_id": number}
    sends = (at, *again)
    for index, sent in enumerate(sends):
        if index:
            waited = {"delay": round((sent - sends[index - 1] - 5) * MS), "attempt": index}
            script.event("tinker.retry", sent, waited, {**submission, "status_code": 429, "layer": "sampling"})
        script.event("tinker.submit.start", sent, {}, submission)
        is_last = index == len(again) and ended != 0
        exchange(script, sent, sent + 5, "/api/v1/asample", status=200 if is_last else 429, **submission)
        if not is_last:
            script.event("tinker.submit.exception", sent + 5, {"duration": 5 * MS}, {**submission, "status_code": 429})
    if ended == 0:
        return
    accepted = sends[-1] + 5
    request = {**call, "request_id": f"r{number}"}
    script.event("tinker.submit.stop", accepted, {"duration": 5 * MS}, {**submission, "request_id": f"r{number}"})
    script.poll(request, accepted, accepted + 100, accepted + 100, "ready", "active")
    script.event("tinker.request.stop", accepted + 101, {}, request)
    duration = {"duration": round((accepted + 101 - at + 2) * MS), "call_duration": MS}
    script.event("tinker.sampling.sample.stop", accepted + 101, duration, {**call, "thread": 11})
    script.event("tinker.claim.stop", accepted + 101, duration, {"claim_id": number, "thread": 11, **call})


def burst(count: int, taken: int) -> Script:
    """So many samples at once, of which the service takes a few; the others are taken a second later."""
    script = Script()
    script.start(0)
    for number in range(1, count + 1):
        sample(script, number, 100 + number, again=() if number <= taken else (1110.0 + number,))
    script.stop(2000)
    return script


def test_samples_answered_429_are_yours_with_how_many_were_in_flight_and_taken() -> None:
    [finding] = diagnose(burst(12, 4).events())

    assert (finding.cause, finding.owner, finding.severity) == ("rate-limit-self", "you", "warning")
    assert finding.summary == "Tinker answered 429 to 8 attempts while 12 calls were in flight; it took 4 at once."
    assert finding.advice == "Keep fewer in flight at once: about 4."
    assert finding.evidence.figures == {"answers": 8, "in_flight": 12, "taken": 4, "waits": 8}
    assert finding.cost_s == pytest.approx(1.005, abs=0.02)  # they waited side by side


def test_a_sample_beside_the_steps_names_all_that_it_waited_through() -> None:
    script = training_run([100] * 12)
    sample(script, 900, 300, again=(1310.0,))

    [finding] = diagnose(script.events(), only="rate-limit-self")

    assert finding.evidence.steps == (2, 3, 4, 5, 6, 7, 8, 9)


def test_what_waits_still_is_counted_until_now() -> None:
    script = Script()
    script.start(0)
    sample(script, 1, 100, ended=0)
    sample(script, 2, 101)
    for second in range(1, 6):
        script.tick(second * 1000)

    [finding] = diagnose(script.events())

    assert finding.evidence.ended_ns is None
    assert finding.cost_s == pytest.approx(4.9, abs=0.05)


def test_with_few_in_flight_it_may_be_another_run_and_is_told_with_less_confidence() -> None:
    script = Script()
    script.start(0)
    sample(script, 1, 100, again=(1105.0, 2110.0))
    script.stop(3000)

    diagnosis = diagnose(script.events())

    [finding] = diagnosis
    assert (finding.confidence, finding.owner) == (0.5, "none")
    assert diagnosis.report.verdict.lead == "Not clear whose:"
    assert finding.summary == (
        "Tinker answered 429 to 2 attempts while 1 call was in flight; another run may have used the limit up."
    )


def test_an_answer_of_429_that_cost_next_to_nothing_is_no_finding() -> None:
    script = Script()
    script.start(0)
    sample(script, 1, 100, again=(305.0,))
    script.stop(1000)

    assert not diagnose(script.events()).findings


def test_a_training_call_answered_429_waits_in_send() -> None:
    script = Script()
    script.start(0)
    call = {"operation_id": 1, "operation": "optim_step", "model_id": "model-1"}
    script.event("tinker.training.optim_step.start", 0, {}, {**call, "thread": 11, "loop": None})
    script.event("tinker.claim.start", 1, {}, {"claim_id": 1, "thread": 11, "loop": None, **call})
    submission = {**call, "submission_id": 1}
    script.event("tinker.submit.start", 2, {}, submission)
    for at, status in ((3, 429), (508, 429), (1513, 200)):
        exchange(script, at, at + 5, "/api/v1/optim_step", status=status, **submission)
    for at, delay in ((508, 500), (1513, 1000)):
        limited = {**submission, "status_code": 429, "layer": "http"}
        script.event("tinker.retry", at, {"delay": delay * MS}, limited)
    script.event("tinker.submit.stop", 1518, {}, {**submission, "request_id": "r"})
    script.poll({**call, "request_id": "r"}, 1519, 1560, 1560, "ready", "active")
    script.event("tinker.request.stop", 1561, {}, {**call, "request_id": "r"})
    ended = {"duration": 1561 * MS, "call_duration": MS}
    script.event("tinker.training.optim_step.stop", 1561, ended, {**call, "thread": 11})
    script.event("tinker.claim.stop", 1561, {"duration": 1560 * MS}, {"claim_id": 1, "thread": 11, **call})
    script.stop(2000)

    [finding] = diagnose(script.events())

    assert (finding.cause, finding.evidence.figures["answers"]) == ("rate-limit-self", 2)
    assert finding.cost_s == pytest.approx(1.5, abs=0.01)


def test_a_poll_answered_429_is_none_of_it() -> None:
    script = Script()
    limited = {"operation_id": 1, "operation": "sample", "status_code": 429, "layer": "poll"}
    script.event("tinker.retry", 5000, {"delay": 4000 * MS}, limited)
    script.stop(6000)

    assert not diagnose(script.events(), only="rate-limit-self").findings


def test_two_bursts_are_two_findings() -> None:
    script = Script()
    script.start(0)
    for number, at in ((1, 100), (2, 60_000)):
        sample(script, number, at, again=(at + 1005.0,))
    script.tick(62_000)
    script.stop(63_000)

    assert len(diagnose(script.events()).findings) == 2
