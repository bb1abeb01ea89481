"""A run of which only the SDK's own events were received: it tells failures, never durations, and is never healthy."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from tests.diagnosis.builder import WALL, training_run
from tests.diagnosis.test_forgetting import size_of

from tinkertape.context import Event
from tinkertape.diagnosis import Diagnoser, Report, diagnose, sdk_faults, tallies
from tinkertape.diagnosis.report import State
from tinkertape.diagnosis.run_state import ProcessView, run_state
from tinkertape.diagnosis.sdk_faults import POLL

SUBMIT = "InternalClientHolder.execute_with_retries.exception"
REFUSED = {
    "func": "TrainingClient._run_fwd_bwd.<locals>._run_async.<locals>._send_request",
    "exception": "Error code: 422 - {'detail': 'too long'}",
    "exception_type": "UnprocessableEntityError",
    "exception_stack": 'File "/home/me/train.py", line 41',
    "status_code": 422,
    "is_retryable": False,
    "is_user_error": True,
}
AGAIN = {
    "error_type": "UnprocessableEntityError",
    "message": "Error code: 422 - {'detail': 'too long'}",
    "status_code": 422,
}
BROKEN = {
    **REFUSED,
    "exception": "Internal Server Error",
    "exception_type": "InternalServerError",
    "status_code": 500,
    "is_retryable": True,
    "is_user_error": False,
}
DIED = {"error_type": "InternalServerError", "error_message": "Internal Server Error", "traceback": "Traceback …"}


class Heard:
    """Events as a plain SDK sends them: wall time alone, and an id of its own."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.add(0, "session_start", kind="SESSION_START")

    def add(self, at_s: float, name: str, data: dict[str, Any] | None = None, kind: str = "GENERIC_EVENT") -> None:
        index = len(self.events)
        self.events.append(
            Event(
                name=name,
                measurements={},
                metadata=data or {},
                time_ns=WALL + round(at_s * 1e9),
                monotonic_ns=0,
                kind=kind,
                run="session_1",
                process="7d9d53d9-0107-419c-89d6-c883fd7a65d2",
                index=index,
                event_id=f"event-{index}",
                session_id="session_1",
            )
        )

    def report(self, state: State | None = "ended") -> Report:
        return reported(self.events, state)


def reported(events: list[Event], state: State | None = None) -> Report:
    diagnoser = Diagnoser()
    for event in events:
        diagnoser.feed(event)
    return diagnoser.report(state=state)


def refused() -> Heard:
    heard = Heard()
    heard.add(3, SUBMIT, REFUSED)
    heard.add(3.01, "user_error", AGAIN)
    heard.add(8, "session_end", kind="SESSION_END")
    return heard


def test_it_cannot_say_and_never_says_healthy() -> None:
    report = refused().report()

    assert (report.verdict.owner, report.verdict.lead) == ("none", "Cannot say.")
    assert report.verdict.sentence == "Only the SDK's own events were received; they tell failures, not durations."
    assert "ealthy" not in f"{report.verdict}"
    assert {(owner.role, owner.seconds, owner.say) for owner in report.owners} == {("none", None, "not recorded")}
    assert report.parts == []


def test_it_cannot_say_when_nothing_failed_either_and_is_not_healthy_in_json() -> None:
    heard = Heard()
    heard.add(5, "session_end", kind="SESSION_END")

    assert heard.report().verdict.lead == "Cannot say."
    assert heard.report().checked == ["service-errors", "user-error"]  # a pause would not be seen
    assert diagnose(heard.events).to_json()["healthy"] is False
    assert diagnose(refused().events).to_json()["healthy"] is False


def test_its_errors_are_shown_once_with_their_owner() -> None:
    report = refused().report()

    (error,) = report.errors
    assert (error.owner, error.type, error.status_code, error.count) == ("you", "UnprocessableEntityError", 422, 1)
    assert (error.operation, error.first_s) == ("forward_backward", 3.0)


def test_it_lasts_from_the_first_event_to_the_last() -> None:
    report = refused().report()

    assert report.wall_s == 8.0
    assert (report.began or "") < (report.ended or "")


def test_events_that_come_out_of_order_begin_with_the_earliest() -> None:
    heard = refused()
    report = reported([*heard.events[1:], heard.events[0]], "ended")

    assert report.wall_s == 8.0
    assert report.errors[0].first_s == 3.0


def test_an_exception_that_nobody_caught_failed_the_run() -> None:
    heard = Heard()
    for attempt in range(5):
        heard.add(60 * attempt, SUBMIT, BROKEN)
    heard.add(240.01, "unhandled_exception", DIED, kind="UNHANDLED_EXCEPTION")
    heard.add(240.02, "session_end", kind="SESSION_END")

    for state in ("ended", None):
        report = heard.report(state)
        assert report.state == "failed"
        assert (report.verdict.owner, report.verdict.lead) == ("service", "Failed at Tinker.")
        assert [(error.count, error.owner) for error in report.errors] == [(5, "service")]
        assert [finding.summary for finding in report.findings] == ["5 attempts answered 500, and the SDK tried again."]


def test_what_only_the_good_bye_failed_of_is_nobodys() -> None:
    heard = Heard()
    gone = {**REFUSED, "func": "ServiceClient._close_submit.<locals>._finish_session_async", "status_code": 404}
    heard.add(3, SUBMIT, gone)
    report = heard.report()

    assert [error.owner for error in report.errors] == ["none"]
    assert report.findings == []


def test_a_poll_that_is_not_answered_yet_is_no_error() -> None:
    heard = Heard()
    heard.add(3, "APIFuture.result_async.api_status_error", {"status_code": 408, "exception_type": "APIStatusError"})

    assert heard.report().errors == []


def test_its_errors_are_findings_by_status() -> None:
    heard = refused()
    heard.add(9, SUBMIT, BROKEN)
    causes = {finding.cause: finding for finding in heard.report().findings}

    assert set(causes) == {"user-error", "service-errors"}
    assert causes["user-error"].summary.startswith("`forward_backward` failed: Error code: 422")
    assert causes["service-errors"].evidence["figures"]["statuses"] == {"500": 1}
    assert causes["user-error"].cost_s is None


def test_beside_records_of_ours_only_ours_count() -> None:
    user = {"error_type": "RequestFailedError", "reason": "datum 3 is too long", "fault_owner": "user"}
    ours = training_run([150] * 8, failures={3: user}).events()
    for events in ([*ours, *refused().events], [*refused().events, *ours]):
        report = reported(events)

        assert [(error.type, error.count) for error in report.errors] == [("RequestFailedError", 1)]
        assert [finding.summary for finding in report.findings] == ["`forward_backward` failed: datum 3 is too long."]
        assert report.verdict.lead != "Cannot say."


def test_its_state_is_failed_once_nothing_comes_after_the_exception() -> None:
    plain = ProcessView(process="p", header={}, closed="", last_sign_ns=0)

    states = [run_state([plain], {"state": told}, now_ns=10**12)[0] for told in ("failed", "ended")]

    assert states == ["failed", "ended"]


def test_a_failure_of_no_stated_cause_is_nobodys_and_an_interruption_is_no_error() -> None:
    heard = Heard()
    failed = {"error_type": "RequestFailedError", "error_message": "broke", "error_category": "Unknown"}
    heard.add(3, f"{POLL}.application_error", {**failed, "request_id": "r1", "is_user_error": False})
    heard.add(4, "user_error", {"error_type": "KeyboardInterrupt", "message": "", "is_user_error": True})
    heard.add(8, "session_end", kind="SESSION_END")

    report = heard.report()

    assert [(error.type, error.owner) for error in report.errors] == [("RequestFailedError", "none")]
    assert [(finding.cause, finding.owner) for finding in report.findings] == [("service-errors", "none")]


def failing_run(faults: int) -> Heard:
    """Hours of failures of both sides, some of them told twice; each names a request."""
    heard, random = Heard(), Random(faults)
    for number in range(faults):
        data = random.choice((REFUSED, BROKEN, {**REFUSED, "exception": f"datum {number} is too long"}))
        named = {**data, "request_id": f"request-{random.randrange(2 * faults)}"}
        heard.add(3 + number + random.random(), SUBMIT, named)
        if data is REFUSED and number % 3 == 0:
            heard.add(5 + number, "user_error", AGAIN)
    return heard


def test_what_cannot_be_told_again_is_counted_and_the_report_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = failing_run(200).report()
    monkeypatch.setattr(sdk_faults, "TOLD_TOGETHER", 1000)

    kept = failing_run(200).report()

    assert counted == kept
    assert sum(error.count for error in counted.errors) == 200
    assert sum(len(error.request_ids) for error in counted.errors) > 150


def test_twice_as_many_faults_leave_no_more_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_faults, "IDS_MAX", 50)
    monkeypatch.setattr(tallies, "IDS_KNOWN", 50)
    sizes = []
    for faults in (300, 600):
        diagnoser = Diagnoser()
        for event in failing_run(faults).events:
            diagnoser.feed(event)
        sizes.append(size_of(diagnoser))

    assert sizes[1] <= sizes[0] + 10


def test_faults_of_a_thousand_kinds_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_faults, "KINDS_MAX", 5)
    heard = Heard()
    for number in range(100):
        heard.add(3 + 3 * number, SUBMIT, {**REFUSED, "exception": "too long: " + "x" * number})

    errors = heard.report().errors

    assert len(errors) == 6
    assert sum(error.count for error in errors) == 100
