"""The tour's own judgement: a fault that the report does not have is named, one that it has is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tinkertape.cli.truth_check import check, read_truth
from tinkertape.diagnosis.report import Report

TRUTH = [
    {"what": "began", "at_ns": 0, "scenario": {}},
    {"what": "slow", "at_ns": 1, "request_id": "r1", "request_type": "ForwardBackward", "nth": 9, "factor": 2.5},
    {"what": "paused", "at_ns": 2, "pause": 1, "reason": "capacity", "length_s": 2.0, "text": "no machine"},
    {"what": "resumed", "at_ns": 3, "pause": 1, "reason": "capacity", "duration_ns": 2_000_000_000,
     "request_ids": ["r2"]},
    {"what": "fault", "at_ns": 4, "kind": "submit", "injected": True, "status": 503, "attempt": 1, "request_id": None,
     "request_type": "OptimStep", "nth": 4, "message": "overloaded"},
    {"what": "fault", "at_ns": 5, "kind": "poll", "injected": False, "status": 404, "request_type": None},
]  # fmt: skip


def finding(cause: str, **more: Any) -> dict[str, Any]:
    evidence = {"request_ids": ["r1"]} if cause == "slow-service" else {}
    plain = {"cause": cause, "owner": "service", "severity": "warning", "confidence": 1.0, "summary": "", "advice": ""}
    return {**plain, "cost_s": 1.0, "share": 0.1, "evidence": evidence, **more}


def pause(length_s: float, min_s: float, max_s: float) -> dict[str, Any]:
    where = {"reason": "capacity", "text": "", "operation": "forward_backward", "request_id": "r2", "step": 4}
    return {"began_s": 1.0, "ended_s": 3.0, "length_s": length_s, "min_s": min_s, "max_s": max_s, **where}


def report(**changed: Any) -> Report:
    """A report that has all of the truth, but for what is changed."""
    retry = {"at_s": 1.0, "operation": "optim_step", "layer": "submit", "attempt": 1, "delay_s": 0.5, "error_type": ""}
    nothing: dict[str, Any] = dict.fromkeys(
        ("sessions", "owners", "parts", "steps", "operations", "spans", "errors", "checked", "loss"), ()
    )
    words = dict.fromkeys(("run", "name", "project", "model", "sdk_version", "python"), "")
    whole = {
        **nothing,
        **words,
        **dict.fromkeys(("status", "began", "ended", "usual_step_s")),
        **dict.fromkeys(("wall_s", "lost_s", "over_s", "processes", "events"), 1),
        "state": "ended",
        "verdict": {"owner": "service", "lead": "", "sentence": "", "under": ""},
        "pauses": [pause(2.0, 1.9, 2.1)],
        "retries": [{**retry, "status_code": 503}],
        "findings": [finding("capacity-pause"), finding("slow-service"), finding("service-errors")],
        "ledger": {"recorded": 10, "stored": 9, "pending": 0, "rejected": 0, "dropped": {"exit": 1}},
    }
    return msgspec.convert({**whole, **changed}, Report)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in TRUTH) + '{"what": "half a li')
    return path


def missing(truth: Path, **changed: Any) -> list[str]:
    return [checked.missing for checked in check(read_truth(truth), report(**changed)) if checked.missing]


def test_a_report_that_has_everything_misses_nothing(truth: Path) -> None:
    assert missing(truth) == []
    assert len(check(read_truth(truth), report())) == 5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pauses": []}, "not in the report"),
        ({"pauses": [pause(1.5, 1.4, 1.8)]}, "the report says 1.5 s"),
        ({"retries": []}, "the report has 0 of 1"),
        ({"findings": [finding("slow-service"), finding("service-errors")]}, "no finding capacity-pause"),
        ({"findings": [finding("capacity-pause"), finding("service-errors")]}, "no finding slow-service"),
        ({"findings": [finding("capacity-pause"), finding("slow-service")]}, "no finding service-errors"),
        (
            {"findings": [finding("capacity-pause"), finding("slow-service", owner="you"), finding("service-errors")]},
            "slow-service is laid at you",
        ),
        (
            {"findings": [finding("capacity-pause"), finding("slow-service", evidence={"request_ids": ["r9"]}),
                          finding("service-errors")]},
            "slow-service names other requests",
        ),
        ({"findings": [finding("capacity-pause"), finding("slow-service"), finding("service-errors"),
                       finding("rate-limit-pause"), finding("gil-stall", owner="you")]}, "rate-limit-pause"),
        ({"ledger": {"recorded": 10, "stored": 9}}, "10 recorded, 9 accounted for"),
        ({"ledger": {"recorded": 10, "stored": 9, "pending": 1}}, "1 of 10 events are still pending"),
        ({"ledger": None}, "0 of 0 events are still pending"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(changed: dict[str, Any], said: str, truth: Path) -> None:
    assert missing(truth, **changed) == [said] or said in missing(truth, **changed)[0]


def test_a_length_within_five_per_cent_agrees_without_bounds(truth: Path) -> None:
    assert missing(truth, pauses=[pause(2.09, 2.08, 2.1)]) == []
    assert missing(truth, pauses=[pause(2.2, 2.15, 2.3)]) != []
