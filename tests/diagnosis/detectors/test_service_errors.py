from __future__ import annotations

import pytest
from tests.diagnosis.builder import MS, Script, training_run

from tinkertape.diagnosis import diagnose

SERVER = {"error_type": "RequestFailedError", "reason": "the worker was lost", "error_category": "server"}


def attempt(script: Script, number: int, at: float, status: int, path: str = "/api/v1/optim_step") -> None:
    metadata = {"operation_id": 1, "operation": "optim_step", "http_id": number, "path": path, "status_code": status}
    script.span("tinker.http.request", at, at + 10, metadata, headers_duration=9 * MS)


def test_attempts_answered_503_cost_their_time_and_the_backoff() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "optim_step"}
    attempt(script, 1, 0, 503)
    script.event("tinker.retry", 510, {"delay": 500 * MS}, {**call, "status_code": 503, "layer": "http"})
    attempt(script, 2, 510, 503)
    script.event("tinker.retry", 1520, {"delay": 1000 * MS}, {**call, "status_code": 503, "layer": "http"})
    attempt(script, 3, 1520, 200)

    [finding] = diagnose(script.events())

    assert (finding.cause, finding.owner, finding.severity) == ("service-errors", "service", "warning")
    assert finding.cost_s == pytest.approx(1.52)
    assert finding.evidence.figures["attempts"] == 2
    assert finding.summary == "2 attempts answered 503, and the SDK tried again."


def test_a_future_that_failed_in_the_service_is_an_error_of_the_service() -> None:
    diagnosis = diagnose(training_run([100] * 8, failures={5: {**SERVER, "fault_owner": "service"}}).events())

    [finding] = diagnosis
    assert (finding.cause, finding.severity, finding.evidence.steps) == ("service-errors", "error", (5,))
    assert "the worker was lost" in finding.summary
    assert finding.cost_s == pytest.approx(0.108, abs=0.01)
    assert diagnosis.report.steps[4].failed
    assert diagnosis.report.errors[0].owner == "service"


def test_a_poll_that_nobody_answers_in_time_is_no_error() -> None:
    assert not diagnose(training_run([1000] * 6, hold=100).events()).findings  # 408 after 408


def test_a_poll_answered_502_costs_nothing() -> None:
    script = Script()
    attempt(script, 1, 0, 502, path="/api/v1/retrieve_future")

    [finding] = diagnose(script.events())

    assert finding.cost_s == 0


def test_what_the_user_did_wrong_is_not_the_services() -> None:
    failure = {
        "error_type": "RequestFailedError",
        "error_category": "user",
        "fault_owner": "user",
        "reason": "too long",
    }

    assert not diagnose(training_run([100] * 6, failures={3: failure}).events(), only="service-errors").findings


def test_errors_close_to_each_other_are_one_finding() -> None:
    script = Script()
    for number, at in enumerate((0, 1000, 20_000, 80_000), 1):
        attempt(script, number, at, 500)

    assert [finding.evidence.figures["attempts"] for finding in diagnose(script.events())] == [3, 1]


def test_two_failures_are_one_finding_though_the_second_to_end_began_first() -> None:
    script = Script()
    for number, (began, ended) in enumerate(((5, 700), (0, 710)), 1):
        metadata = {"operation_id": number, "operation": "optim_step", "fault_owner": "service", "request_ids": ["r"]}
        measured = {"duration": (ended - began) * MS, "monotonic_time": ended * MS}
        script.event("tinker.training.optim_step.exception", ended, measured, metadata)

    assert [finding.evidence.figures["failed"] for finding in diagnose(script.events())] == [2]
