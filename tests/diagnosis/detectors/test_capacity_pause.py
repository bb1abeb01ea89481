from __future__ import annotations

import pytest
from tests.diagnosis.builder import MS, Script, training_run

from tinkertape.diagnosis import diagnose


def test_a_capacity_pause_is_the_services() -> None:
    script = Script()
    pause = {"request_id": "r1", "reason": "capacity", "operation": "forward_backward"}
    script.event("tinker.queue.resume", 50_000, {"duration": 47_000 * MS}, pause)

    [finding] = diagnose(script.events(), only="capacity-pause")

    assert (finding.owner, finding.cost_s, finding.evidence.request_ids) == ("service", 47.0, ("r1",))


def test_its_cost_is_what_the_run_waited_in_the_queue() -> None:
    diagnosis = diagnose(training_run([100] * 6, pauses={4: (0, 3000)}).events())

    [finding] = diagnosis
    assert finding.cost_s == pytest.approx(diagnosis.partition["queue:capacity"])
    assert finding.cost_s == pytest.approx(3.0, abs=0.01)
    assert finding.evidence.steps == (4,)
    assert finding.evidence.figures["min_s"] <= 3.0 <= finding.evidence.figures["max_s"]


def test_a_short_pause_is_not_worth_a_word() -> None:
    assert not diagnose(training_run([100] * 6, hold=50, pauses={4: (0, 700)}).events()).findings


def test_a_rate_limit_is_another_cause() -> None:
    script = Script()
    pause = {"request_id": "r1", "reason": "rate_limit", "operation": "sample"}
    script.event("tinker.queue.resume", 50_000, {"duration": 47_000 * MS}, pause)

    assert not diagnose(script.events(), only="capacity-pause").findings


def test_pauses_of_several_requests_at_once_are_one() -> None:
    script = Script()
    for number in (1, 2, 3):
        pause = {"request_id": f"r{number}", "reason": "capacity", "operation": "sample"}
        script.event("tinker.queue.pause", 1000 + number, {"since": script.ns(900)}, pause)
    for number in (1, 2, 3):
        pause = {"request_id": f"r{number}", "reason": "capacity", "operation": "sample"}
        script.event("tinker.queue.resume", 6000 + number, {"duration": 5000 * MS}, pause)

    [finding] = diagnose(script.events(), only="capacity-pause")

    assert finding.cost_s == pytest.approx(5.0, abs=0.01)
    assert finding.evidence.figures["requests"] == 3


def test_the_bounds_of_pauses_that_overlap_hold_the_truth() -> None:
    script = Script()
    first = script.call("forward_backward", 0, compute=100, hold=400, paused=(0, 3000))
    script.call("optim_step", 250, compute=50, hold=400, behind=3106.5, paused=(0, 2750))
    script.claim(first, 1, first.ended)
    script.stop(4000)

    [finding] = diagnose(script.events(), only="capacity-pause")

    assert finding.evidence.figures["min_s"] <= 3.0 <= finding.evidence.figures["max_s"]


def test_two_pauses_apart_are_two_findings() -> None:
    diagnosis = diagnose(training_run([100] * 8, pauses={3: (0, 2000), 7: (0, 4000)}).events())

    assert [finding.evidence.steps for finding in diagnosis] == [(7,), (3,)]  # the costliest first


def test_a_pause_that_never_ends_is_found_while_it_grows() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 10, compute=100, hold=400, paused=(0, 600_000), open_at=9000)
    script.claim(call, 12, None)
    costs = []
    for second in range(1, 10):
        script.tick(second * 1000)
        [*findings] = diagnose([event for event in script.events() if event.monotonic_ns <= script.ns(second * 1000)])
        costs.append(findings[0].cost_s if findings else 0)

    report = diagnose(script.events()).report

    assert costs == sorted(costs)
    assert costs[-1] == pytest.approx(9, abs=0.1)
    assert report.state == "paused"
    assert report.verdict.lead == "Waiting for Tinker"
    assert report.pauses[0].ended_s is None
