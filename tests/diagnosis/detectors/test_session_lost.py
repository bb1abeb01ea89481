from __future__ import annotations

import pytest
from tests.diagnosis.builder import MS, Script

from tinkertape.diagnosis import Diagnosis, diagnose

OF = {"session_id": "s1"}
GONE = {"status_code": 410, "error_type": "APIStatusError", "fault_owner": "service"}


def beat(script: Script, at: float, status: int | None) -> None:
    """A heartbeat that is answered with this status, or breaks."""
    end, status_of = ("stop", {"status_code": status}) if status else ("exception", {"error_type": "ConnectError"})
    told = "success" if status == 200 else "error"
    script.event(f"tinker.session.heartbeat.{end}", at, {"duration": 5 * MS}, {**OF, **status_of, "status": told})


def refused(script: Script, number: int, at: float) -> None:
    call = {"operation_id": number, "operation": "optim_step"}
    script.event("tinker.training.optim_step.start", at, {}, {**call, "thread": 11})
    script.event("tinker.submit.exception", at + 5, {"duration": 5 * MS}, {**call, **GONE, "submission_id": number})
    script.event("tinker.training.optim_step.exception", at + 6, {"duration": 6 * MS}, {**call, **GONE})


def lost(*beats: tuple[float, int | None], began: float = 0) -> Diagnosis:
    """A session that is made at `began`, with heartbeats at these seconds; two calls are refused 5 s after the last."""
    script = Script()
    script.start(0)
    script.event("tinker.session.create", began, {"duration": 10 * MS}, {**OF, "status": "success"})
    at = began
    for second, status in beats:
        at = second * 1000
        beat(script, at, status)
    refused(script, 1, at + 5_000)
    refused(script, 2, at + 5_100)
    script.stop(at + 6_000)
    return diagnose(script.events())


def test_a_session_that_the_service_ended_is_the_services_and_says_what_to_do() -> None:
    diagnosis = lost((10, 200), (20, 410))

    [finding] = diagnosis
    assert (finding.cause, finding.owner, finding.severity) == ("session-lost", "service", "error")
    assert finding.summary == "The service ended the session. 2 calls failed of it."
    assert sum(finding.evidence.costs_ns.values()) == 12 * MS
    assert finding.evidence.figures["heartbeats"] == 1
    verdict = diagnosis.report.verdict
    assert (verdict.lead, verdict.sentence) == ("It is Tinker.", "It ended the session at steps 1 and 2.")
    assert "Make a new `ServiceClient`, load your last checkpoint" in verdict.under


def test_a_heartbeat_alone_tells_it_before_any_call_fails() -> None:
    script = Script()
    beat(script, 10_000, 200)
    beat(script, 20_000, 410)

    [finding] = diagnose(script.events())

    assert (finding.summary, finding.cost_s) == ("The service ended the session.", 0)


def test_a_session_whose_heartbeats_broke_for_two_minutes_was_lost_on_the_network() -> None:
    broken = [(10.0 * turn, None) for turn in range(2, 16)]

    diagnosis = lost((10, 200), *broken, (160, 410))

    [finding] = [finding for finding in diagnosis if finding.cause == "session-lost"]
    assert finding.owner == "network"
    assert finding.summary.startswith("The service ended the session: no heartbeat got through to it for 2")
    assert finding.evidence.figures["silent_s"] == pytest.approx(150, abs=0.1)
    assert "and Tinker ended the session" in diagnosis.report.verdict.sentence


def test_a_session_without_heartbeats_for_two_minutes_was_lost_by_the_process() -> None:
    [finding] = lost((10, 200), (140, 410))

    assert finding.owner == "you"
    assert "this process sent no heartbeat" in finding.summary


def test_a_session_that_is_refused_at_its_first_heartbeat_was_alive_when_it_was_made() -> None:
    [finding] = lost((10, 410), began=4)

    assert (finding.owner, finding.evidence.figures["silent_s"]) == ("service", pytest.approx(10, abs=0.1))


def test_heartbeats_that_are_answered_503_are_no_lost_session() -> None:
    script = Script()
    for second in range(10, 60, 10):
        beat(script, second * 1000, 503)

    assert not diagnose(script.events(), only="session-lost").findings
