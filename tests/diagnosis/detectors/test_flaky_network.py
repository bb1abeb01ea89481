from __future__ import annotations

import pytest
from tests.diagnosis.broken import REFUSED, RESET, TIMEOUT, Asked, exchange, polled
from tests.diagnosis.builder import Script

from tinkertape.diagnosis import diagnose

HALF = {"error_type": "RemoteProtocolError", "reason": "end of file before message length reached"}


def steps(broken: dict[int, dict[str, str]], *, count: int = 8) -> Script:
    """Calls of 100 ms, each polled once; at those named the connection breaks under the first poll."""
    script = Script()
    script.start(0)
    at = 10.0
    for number in range(1, count + 1):
        polls = [Asked(at + 6, at + 105, "ready")]
        if number in broken:
            polls = [Asked(at + 6, at + 30, "broken", broken[number]), Asked(at + 1030, at + 1032, "ready")]
        call = polled(script, at, polls)
        script.claim(call, at + 1, call.ended)
        at = call.ended + 10
    script.stop(at + 500)
    return script


def test_three_broken_connections_within_a_minute_are_the_networks_with_their_cost() -> None:
    [finding] = diagnose(steps({3: RESET, 5: HALF, 8: RESET}).events())

    assert (finding.cause, finding.owner, finding.severity) == ("flaky-network", "network", "warning")
    assert finding.summary == ("3 connections to Tinker broke (3 broken off), while others were answered.")
    assert finding.cost_s == pytest.approx(3 * (1.032 - 0.105), abs=0.01)  # 100 ms of each were compute
    assert finding.evidence.figures["times"] == 3
    assert finding.evidence.figures["errors"] == {"WriteError": 2, "RemoteProtocolError": 1}


@pytest.mark.parametrize("broken", [{}, {3: RESET}, {3: RESET, 6: HALF}], ids=["none", "one", "two"])
def test_one_or_two_broken_connections_are_no_finding(broken: dict[int, dict[str, str]]) -> None:
    diagnosis = diagnose(steps(broken).events())

    assert not diagnosis.findings
    assert (diagnosis.report.verdict.well) == (not broken)  # but they are not passed over in silence


def test_one_timeout_that_cost_a_minute_is_a_finding() -> None:
    script = Script()
    script.start(0)
    calls = [script.call("forward_backward", at, compute=100) for at in (10, 200)]
    call = polled(script, 1000, [Asked(1006, 46_006, "broken", TIMEOUT), Asked(47_006, 47_008, "ready")])
    for each in (*calls, call):
        script.claim(each, each.ended - 90, each.ended)
    script.claim(call, 1001, call.ended)
    for at in range(10_000, 50_000, 10_000):
        exchange(script, at, at + 5)  # heartbeats get through
    script.stop(49_000)

    [finding] = diagnose(script.events())

    assert (finding.cause, finding.evidence.figures["times"]) == ("flaky-network", 1)
    assert finding.cost_s == pytest.approx(47.008 - 1.105, abs=0.01)


def test_what_breaks_at_once_is_one_time() -> None:
    script = Script()
    for number in range(60):  # one lost connection carried them all
        exchange(script, 1000, 1001 + number / 10, "/api/v1/retrieve_future", error=RESET, request_id=f"r{number}")
        exchange(script, 990, 1001 + number / 10 + 0.05)
    script.stop(5000)

    assert not diagnose(script.events(), only="flaky-network").findings


def test_breaks_an_hour_apart_are_as_usual() -> None:
    script = Script()
    for hour in range(6):
        exchange(script, hour * 3_600_000, hour * 3_600_000 + 1, error=RESET)
        exchange(script, hour * 3_600_000 + 1000, hour * 3_600_000 + 1005)
    script.stop(6 * 3_600_000)

    assert not diagnose(script.events(), only="flaky-network").findings


def test_an_outage_is_not_told_twice() -> None:
    script = Script()
    for at in (1000, 11_000, 21_000):
        exchange(script, at, at + 1, error=RESET)
        exchange(script, at + 1000, at + 1001, error=REFUSED)
        exchange(script, at + 3000, at + 3005)
    script.stop(30_000)

    assert {finding.cause for finding in diagnose(script.events())} == {"unreachable"}


def test_two_bad_minutes_are_two_findings() -> None:
    script = Script()
    for minute in (0, 5):
        for number in range(3):
            at = minute * 60_000 + number * 5000
            exchange(script, at, at + 1, error=RESET)
            exchange(script, at + 600, at + 605)
    script.stop(400_000)

    assert [f.evidence.figures["broken"] for f in diagnose(script.events(), only="flaky-network")] == [3, 3]


def test_the_answer_says_that_connections_broke() -> None:
    verdict = diagnose(steps({3: RESET, 5: HALF, 8: RESET}).events()).report.verdict

    assert (verdict.lead, verdict.owner) == ("It is the network.", "network")
    assert verdict.sentence.startswith("It broke 3 connections")
