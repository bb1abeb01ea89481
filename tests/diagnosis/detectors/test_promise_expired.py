from __future__ import annotations

from typing import Any

import pytest
from tests.diagnosis.builder import MS, Script

from tinkertape.diagnosis import diagnose

GONE = {"status_code": 410, "error_type": "RetryableException", "fault_owner": "service"}


def expired(script: Script, number: int, at: float, operation: str, family: str) -> dict[str, Any]:
    """A request that is accepted at `at`, and whose poll is answered 410 100 ms later."""
    call = {"operation_id": number, "operation": operation}
    script.event(f"tinker.{family}.{operation}.start", at - 10, {}, {**call, "thread": 11})
    measured = {"duration": 100 * MS}
    script.event("tinker.request.exception", at + 100, measured, {**call, **GONE, "request_id": f"r{number}"})
    return call


def test_a_training_call_whose_promise_expired_failed_of_the_service_and_cost_all_of_it() -> None:
    script = Script()
    call = expired(script, 1, 10, "forward_backward", "training")
    script.event("tinker.training.forward_backward.exception", 112, {"duration": 112 * MS}, {**call, **GONE})

    [finding] = diagnose(script.events())

    assert (finding.cause, finding.owner, finding.severity) == ("promise-expired", "service", "error")
    assert finding.summary == "The service forgot 1 request that it had accepted: `forward_backward` failed."
    assert finding.cost_s == pytest.approx(0.112)
    assert finding.evidence.request_ids == ("r1",)


def test_a_sample_that_is_sent_again_cost_the_time_until_then() -> None:
    script = Script()
    for number in (1, 2):
        call = expired(script, number, 10 * number, "sample", "sampling")
        script.event("tinker.retry", 400, {"delay": 250 * MS}, {**call, "status_code": 410, "layer": "sampling"})

    [finding] = diagnose(script.events())

    assert (finding.cause, finding.severity, finding.advice) == ("promise-expired", "warning", "")
    assert finding.summary == "The service forgot 2 requests that it had accepted: the SDK sent 2 again."
    assert finding.evidence.figures == {"requests": 2, "failed": 0, "sent_again": 2}


def test_promises_a_minute_apart_are_two_findings() -> None:
    script = Script()
    for number, at in enumerate((10, 20_000, 80_000), 1):
        expired(script, number, at, "sample", "sampling")

    assert [finding.evidence.figures["requests"] for finding in diagnose(script.events())] == [2, 1]


def test_a_call_outside_a_session_that_is_answered_410_is_an_error_of_the_services() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "get_training_run"}
    script.event("tinker.rest.get_training_run.start", 0, {}, {**call, "thread": 11})
    script.event("tinker.rest.get_training_run.exception", 20, {"duration": 20 * MS}, {**call, **GONE})

    assert [finding.cause for finding in diagnose(script.events())] == ["service-errors"]
