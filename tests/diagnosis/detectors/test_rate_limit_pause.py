from __future__ import annotations

import pytest
from tests.diagnosis.builder import MS, Script

from tinkertape.diagnosis import diagnose

HELD = {"request_id": "r1", "operation": "sample"}


def resumed(reason: str, at: float = 50_000, length: float = 4000, **more: str) -> Script:
    script = Script()
    script.event("tinker.queue.resume", at, {"duration": round(length * MS)}, {**HELD, "reason": reason, **more})
    return script


def test_a_pause_for_a_rate_limit_is_the_services() -> None:
    [finding] = diagnose(resumed("rate_limit", reason_text="slow down").events())

    assert (finding.cause, finding.owner, finding.cost_s) == ("rate-limit-pause", "service", 4.0)
    assert finding.summary == "The service held `sample` back for a rate limit. It says: “slow down”."
    assert finding.evidence.part == "queue:rate_limit"


def test_a_pause_without_a_known_reason_is_told_as_such_and_with_little_confidence() -> None:
    [finding] = diagnose(resumed("unknown").events())

    assert (finding.cause, finding.owner, finding.confidence) == ("rate-limit-pause", "service", 0.5)
    assert finding.summary == "The service held `sample` in its queue, and gave no reason that is known here."
    assert finding.evidence.part == "queue:unknown"


def test_a_pause_for_capacity_is_another_cause() -> None:
    assert {finding.cause for finding in diagnose(resumed("capacity").events())} == {"capacity-pause"}


@pytest.mark.parametrize("reason", ["rate_limit", "unknown"])
def test_a_pause_of_less_than_a_second_is_not_worth_a_word(reason: str) -> None:
    assert not diagnose(resumed(reason, length=900).events()).findings


@pytest.mark.parametrize(("before", "owner"), [(3000, "you"), (20_000, "you"), (40_000, "service")])
def test_after_an_answer_of_429_to_this_run_a_rate_limit_is_yours(before: float, owner: str) -> None:
    script = resumed("rate_limit")
    script.event("tinker.submit.exception", 46_000 - before, {}, {"operation_id": 3, "status_code": 429})

    [finding] = diagnose(script.events(), only="rate-limit-pause")

    assert finding.owner == owner
    assert ("429" in finding.summary) == (owner == "you")


def test_a_pause_without_a_reason_is_never_yours() -> None:
    script = resumed("unknown")
    script.event("tinker.submit.exception", 45_000, {}, {"operation_id": 3, "status_code": 429})

    [finding] = diagnose(script.events(), only="rate-limit-pause")

    assert finding.owner == "service"


def test_it_is_told_while_it_lasts() -> None:
    script = Script()
    script.start(0)
    call = script.call(
        "forward_backward", 10, compute=100, hold=400, paused=(0, 600_000), reason="rate_limit", open_at=9000
    )
    script.claim(call, 12, None)
    for second in range(1, 10):
        script.tick(second * 1000)

    [finding] = diagnose(script.events())

    assert finding.evidence.ended_ns is None
    assert finding.cost_s == pytest.approx(9, abs=0.1)
    assert finding.summary.startswith("The service holds `forward_backward` back")


def test_the_answer_says_for_what_the_run_was_held_back() -> None:
    def said(reason: str) -> str:
        script = Script()
        script.start(0)
        calls = [script.call("forward_backward", 10, compute=100)]
        calls.append(script.call("forward_backward", 300, compute=100, hold=400, paused=(0, 3000), reason=reason))
        for call in calls:
            script.claim(call, call.ended - 50, call.ended)
        script.claim(calls[1], 301, calls[1].ended)
        script.stop(4000)
        verdict = diagnose(script.events()).report.verdict
        return f"{verdict.lead} {verdict.sentence}"

    assert said("rate_limit").startswith("It is Tinker. It paused this run for ≈\u202f3.0\u202fs (rate limit).")
    assert said("unknown").startswith("It is Tinker. It paused this run for ≈\u202f3.0\u202fs (no reason given).")
