"""What findings say in a sentence."""

from __future__ import annotations

from typing import Any

from tinkertape.diagnosis.report import FindingRow
from tinkertape.diagnosis.sentences import phrases, sentences
from tinkertape.diagnosis.words import THIN


def pause(cause: str, cost_s: float, steps: list[int], **figures: Any) -> FindingRow:
    evidence = {"began_s": 1.0, "ended_s": 9.0, "steps": steps, "operations": [], "figures": figures}
    return FindingRow(cause, "service", "warning", 1.0, "", cost_s, 0.1, evidence, "")


def test_pauses_of_several_reasons_are_one_phrase() -> None:
    rows = [
        pause("capacity-pause", 3.0, [5]),
        pause("rate-limit-pause", 2.0, [9], reason="rate_limit"),
        pause("rate-limit-pause", 1.0, [12], reason="unknown"),
    ]

    said = "paused this run for 3.0 s at step 5, for 2.0 s at step 9 (rate limit) and for 1.0 s at step 12"
    assert [each.replace(THIN, " ") for each in phrases(rows)] == [f"{said} (no reason given)"]
    assert [each.replace(THIN, " ") for each in sentences(rows)] == [f"Tinker {said} (no reason given)."]


def test_pauses_whose_steps_are_listed_are_joined_with_a_comma() -> None:
    rows = [pause("capacity-pause", 3.0, [5, 9]), pause("rate-limit-pause", 2.0, [12], reason="rate_limit")]

    [said] = phrases(rows)

    assert said.replace(THIN, " ") == (
        "paused this run for 3.0 s at steps 5 and 9, and for 2.0 s at step 12 (rate limit)"
    )


def test_a_call_whose_attempts_were_answered_with_errors_is_not_said_to_have_failed() -> None:
    row = pause("service-errors", 0.6, [2, 5], failed=1, attempts=3, statuses={"503": 1, "502": 2})
    row.evidence["operations"] = ["optim_step", "forward_backward"]

    assert [each.replace(THIN, " ") for each in phrases([row])] == [
        "failed 1 call and answered 3 attempts with 502 and 503 at steps 2 and 5"
    ]
