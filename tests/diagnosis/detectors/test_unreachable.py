from __future__ import annotations

import pytest
from tests.diagnosis.broken import REFUSED, RESET, TIMEOUT, Asked, exchange, polled
from tests.diagnosis.builder import MS, Script

from tinkertape.diagnosis import Diagnosis, diagnose
from tinkertape.diagnosis.findings import Finding


def restarted(length: float = 3000, *, waited: bool = True) -> Script:
    """A run whose service is gone for a while, while a call of 100 ms is computed."""
    script = Script()
    script.start(0)
    before = script.call("forward_backward", 10, compute=100)
    script.claim(before, 11, before.ended)
    polls = [
        Asked(506, 530, "broken"),
        Asked(1530, 1531, "broken", REFUSED),
        Asked(500 + length, 502 + length, "ready"),
    ]
    call = polled(script, 500, polls)
    if waited:
        script.claim(call, 501, call.ended)
    script.stop(call.ended + 500)
    return script


def only(diagnosis: Diagnosis) -> Finding:
    [finding] = diagnosis
    return finding


def test_a_service_that_was_gone_for_three_seconds_is_told_with_when_how_and_what_it_cost() -> None:
    finding = only(diagnose(restarted().events()))

    assert (finding.cause, finding.owner, finding.severity) == ("unreachable", "network", "warning")
    assert (
        finding.summary
        == "Nothing got through to Tinker for 3.0\u202fs: 2 attempts broke (1 broken off and 1 refused)."
    )
    assert finding.cost_s == pytest.approx(3.5 - 0.505 - 0.1, abs=0.001)  # 100 ms of it were compute
    figures = finding.evidence.figures
    assert figures["length_min_s"] <= 2.97 <= figures["length_max_s"]
    assert (figures["errors"], figures["paths"]) == (
        {"WriteError": 1, "ConnectError": 1},
        {"/api/v1/retrieve_future": 2},
    )
    assert finding.evidence.operations == ("forward_backward",)


def test_what_the_run_did_not_wait_for_costs_it_nothing() -> None:
    finding = only(diagnose(restarted(waited=False).events()))

    assert (finding.cost_s, finding.severity) == (0, "info")


def test_a_service_that_answers_5xx_is_not_the_network() -> None:
    script = Script()
    for at in range(0, 60_000, 1000):
        exchange(script, at, at + 5, status=503)
    script.stop(61_000)

    assert diagnose(script.events(), only="unreachable").findings == []


@pytest.mark.parametrize("times", [1, 2])
def test_one_refused_connection_or_two_within_a_second_are_no_outage(times: int) -> None:
    script = Script()
    for number in range(times):
        exchange(script, 100 + 400 * number, 101 + 400 * number, error=REFUSED)
    exchange(script, 900, 905)
    script.stop(2000)

    assert diagnose(script.events(), only="unreachable").findings == []


def test_connections_that_only_break_off_are_an_outage_when_nothing_else_comes_for_ten_seconds() -> None:
    def broken_off(length: int) -> Script:
        script = Script()
        for at in range(1000, 1000 + length, 1000):
            exchange(script, at, at + 1, error=RESET)
        exchange(script, 1000 + length, 1005 + length)
        script.stop(30_000)
        return script

    assert diagnose(broken_off(9000).events(), only="unreachable").findings == []
    assert len(diagnose(broken_off(11_000).events(), only="unreachable")) == 1


def test_while_it_lasts_it_grows_and_has_no_end() -> None:
    script = Script()
    script.start(0)
    call = polled(
        script, 500, [Asked(506, 530, "broken"), *(Asked(at, at + 1, "broken", REFUSED) for at in (1530, 3531, 7532))]
    )
    script.claim(call, 501, None)
    seen = []
    for second in range(1, 13):
        script.tick(second * 1000)
        [*findings] = diagnose([event for event in script.events() if event.monotonic_ns <= script.ns(second * 1000)])
        seen.append(round(findings[0].cost_s or 0) if findings else None)

    finding = only(diagnose(script.events()))
    report = diagnose(script.events()).report

    assert seen == [None, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert (finding.evidence.ended_ns, finding.severity) == (None, "error")
    assert finding.summary.startswith("Nothing gets through to Tinker for 11.5")
    assert report.verdict.lead == "It is the network."
    assert report.verdict.sentence == "It lets nothing through, for 11.5\u202fs now."


def test_a_call_that_gave_up_failed_on_the_network() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "get_server_capabilities"}
    script.event("tinker.service.get_server_capabilities.start", 0, {}, {**call, "thread": 1})
    for at in (1, 501, 1501, 3501):
        exchange(script, at, at + 1, "/api/v1/get_server_capabilities", error=REFUSED, submission_id=1, **call)
    failure = {"error_type": "APIConnectionError", "fault_owner": "network", "reason": "Connection error."}
    ended = {"duration": 3503 * MS, "call_duration": 3503 * MS}
    script.event("tinker.service.get_server_capabilities.exception", 3503, ended, {**call, "thread": 1, **failure})
    script.event("telemetry.exception", 3504, {}, {"exception_type": "APIConnectionError", "fault_owner": "network"})
    script.stop(3600, "errored")

    finding = only(diagnose(script.events()))

    assert (finding.cause, finding.owner) == ("unreachable", "network")
    assert finding.cost_s == pytest.approx(3.502, abs=0.01)
    assert diagnose(script.events()).report.verdict.lead == "Failed on the network."


def test_a_client_that_cannot_be_made_is_told_before_there_is_any_call() -> None:
    script = Script()
    script.start(0)
    for at in (10, 511, 1412, 3013):
        exchange(script, at, at + 1, "/api/v1/client/config", error=REFUSED)
    script.stop(6000, "interrupted")

    finding = only(diagnose(script.events()))

    assert finding.cost_s == pytest.approx(6.0 - 0.01, abs=0.01)


def test_the_sdks_own_busy_loop_is_not_the_network() -> None:
    script = Script()
    for at in (1000, 8000):
        exchange(script, at, at + 5000, "/api/v1/optim_step", error=TIMEOUT)
        script.busy(at + 1, at + 4999)
    script.stop(20_000)

    assert diagnose(script.events(), only=("unreachable", "flaky-network")).findings == []


def test_two_outages_are_two_findings() -> None:
    script = Script()
    for at in (1000, 20_000):
        exchange(script, at - 500, at - 495)
        exchange(script, at, at + 1, error=REFUSED)
        exchange(script, at + 1000, at + 1001, error=REFUSED)
        exchange(script, at + 3000, at + 3005)
    script.stop(30_000)

    assert [finding.evidence.figures["length_s"] for finding in diagnose(script.events(), only="unreachable")] == [
        pytest.approx(3.003, abs=0.002)
    ] * 2


def test_of_a_service_that_never_answered_nothing_is_said_to_be_usual() -> None:
    def said(*, answered: bool) -> str:
        script = Script()
        script.start(0)
        call = {"operation_id": 1, "operation": "get_server_capabilities"}
        script.event("tinker.service.get_server_capabilities.start", 0, {}, {**call, "thread": 1})
        path = "/api/v1/get_server_capabilities"
        if answered:
            exchange(script, 1, 2, path, **call)
        for at in (101, 501, 1501, 3501):
            exchange(script, at, at + 1, path, error=REFUSED, submission_id=1, **call)
        script.stop(4000, "interrupted")
        return next(row.say for row in diagnose(script.events()).report.owners if row.owner == "service")

    assert said(answered=False) == "Not known: no answer of it came through"
    assert said(answered=True).startswith("Steady")
