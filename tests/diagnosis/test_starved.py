"""A stamp is as late as the threads that took it waited for a processor: the bounds say so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.diagnosis.builder import MS, USER, Script
from tests.diagnosis.test_operations import cut_of

from tinkertape.diagnosis import Diagnosis, diagnose
from tinkertape.diagnosis.report import Part

STARVED = "the SDK's loop waited for a processor"


def one_call(**how: Any) -> Diagnosis:
    """A call that is waited for to its end; by default 100 ms of compute, 20 of sending, 15 of retrieving."""
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 0, **{"send": 20, "retrieve": 15, "compute": 100, **how})
    script.claim(call, 0.5, call.ended)
    script.stop(call.ended)
    return diagnose(script.events())


def part(diagnosis: Diagnosis, name: str) -> Part:
    [found] = [part for part in diagnosis.report.parts if part.part == name]
    return found


def bounds_ms(diagnosis: Diagnosis, name: str) -> tuple[float, float]:
    found = part(diagnosis, name)
    return round(found.min_s * 1e3, 3), round(found.max_s * 1e3, 3)


def test_accepted_late_computed_longer_and_sent_shorter() -> None:
    diagnosis = one_call(starved=(12, 0))

    assert bounds_ms(diagnosis, "send") == (8, 20)
    assert bounds_ms(diagnosis, "compute") == (100, 112)
    assert part(diagnosis, "compute").quality == "bounded"
    assert part(diagnosis, "compute").method == part(diagnosis, "send").method == STARVED


def test_ready_late_computed_shorter_and_delivered_longer() -> None:
    diagnosis = one_call(starved=(0, 10))

    assert bounds_ms(diagnosis, "compute") == (90, 100)
    assert bounds_ms(diagnosis, "retrieve") == (5, 25)
    assert bounds_ms(diagnosis, "deliver") == (1, 11)
    assert part(diagnosis, "retrieve").method == STARVED


def test_no_stamp_is_earlier_than_what_came_before_it() -> None:
    diagnosis = one_call(starved=(500, 500))

    assert bounds_ms(diagnosis, "send") == (0, 20)
    assert bounds_ms(diagnosis, "compute") == (0, 120)


@pytest.mark.parametrize(("compute", "most"), [(100, 1.9), (1000, 9.9)])
def test_what_is_below_a_hundredth_and_two_milliseconds_leaves_it_measured(compute: float, most: float) -> None:
    below, above = one_call(compute=compute, starved=(most, 0)), one_call(compute=compute, starved=(most + 0.2, 0))

    assert (part(below, "compute").quality, part(below, "compute").method) == ("measured", "")
    assert part(above, "compute").quality == "bounded"
    assert bounds_ms(below, "compute") == (compute, compute + most)


def test_where_it_is_not_counted_nothing_is_added() -> None:
    diagnosis = one_call()

    assert {(part.min_s, part.max_s) for part in diagnosis.report.parts} == {
        (part.seconds, part.seconds) for part in diagnosis.report.parts
    }


def test_the_bounds_of_a_run_are_the_sums_of_its_calls() -> None:
    script = Script()
    script.start(0)
    at = 0.0
    for _ in range(4):
        call = script.call("forward_backward", at, send=20, compute=100, starved=(12, 10))
        script.claim(call, at + 0.5, call.ended)
        at = call.ended
    script.stop(at)

    diagnosis = diagnose(script.events())

    assert bounds_ms(diagnosis, "compute") == (4 * 90, 4 * 112)
    assert bounds_ms(diagnosis, "send") == (4 * 8, 4 * 20)
    assert sum(part.seconds for part in diagnosis.report.parts) == pytest.approx(diagnosis.report.wall_s, rel=1e-12)


def test_a_pause_may_have_begun_and_ended_before_its_answers_were_stamped() -> None:
    """Polls held for 400 ms: paused at 400, 800 and 1200, going on at 1600. Each answer may be 30 ms old."""
    sure, unsure = (one_call(hold=400, compute=300, paused=(0, 1500), starved=late) for late in (None, (0, 30)))

    low, high = bounds_ms(sure, "queue:capacity")
    assert low == 800
    assert bounds_ms(unsure, "queue:capacity") == (low - 30, high)


def test_a_request_that_finds_its_queue_held_was_held_from_acceptance() -> None:
    sure, unsure = (one_call(hold=400, compute=300, paused=(0, 700), starved=starved) for starved in (None, (12, 0)))

    assert bounds_ms(unsure, "queue:capacity")[1] == bounds_ms(sure, "queue:capacity")[1] + 12
    assert bounds_ms(unsure, "send") == (8, 20)


@pytest.mark.parametrize(("late", "method"), [(0, ""), (25, "the service answers at its timeout")])
def test_two_polls_held_alike_are_alike_through_late_stamps(late: float, method: str) -> None:
    """ "Not yet" after 425 ms, then the result after 400: one timeout, if the first was stamped 25 ms late."""
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 0, send=3, hold=425, compute=825, starved=(0, late))
    script.claim(call, 0.5, call.ended)
    script.stop(call.ended)

    compute = part(diagnose(script.events()), "compute")
    assert compute.method == method
    assert compute.min_s * 1e3 == pytest.approx(425 - late if late else 825)


def test_an_answer_at_once_is_one_however_late_it_was_stamped() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 0, send=3, compute=50, starved=(0, 48))
    script.claim(call, 0.5, call.ended)
    script.stop(call.ended)

    compute = part(diagnose(script.events()), "compute")
    assert (compute.min_s, compute.method) == (0, "the last poll was answered at once")


def test_an_answer_sooner_than_nobody_asked_may_be_as_old_as_the_gap() -> None:
    """The loop could not run for 200 ms after acceptance; then it asked, and was answered after 20."""
    script = Script()
    call = {"operation_id": 1, "operation": "optim_step"}
    submission = {**call, "submission_id": 1}
    request = {**call, "request_id": "req-1"}
    script.event("tinker.training.optim_step.start", 0, {}, {**call, "thread": USER})
    script.span("tinker.submit", 1, 3, {**submission, "request_id": "req-1"})
    script.span("tinker.http.request", 1, 3, {**submission, "path": "/api/v1/optim_step", "status_code": 200})
    script.poll(request, 203, 223, 224, "ready", "active", 0)
    script.event("tinker.request.stop", 225, {"duration": 222 * MS}, request)
    script.event("tinker.training.optim_step.stop", 225, {"duration": 225 * MS}, {**call, "thread": USER})

    cut = cut_of(script.events())

    assert cut.nanoseconds("compute") == 220 * MS
    assert cut.doubt_ns("compute") == (220 * MS, 0)


def test_what_stands_behind_a_call_that_was_told_late_may_have_begun_earlier() -> None:
    """The first call is told at 106.5, up to 10 ms late; the second was answered "not yet" at 97 and asked anew."""
    script = Script()
    script.call("forward_backward", 0, compute=100, starved=(0, 10))
    second = script.call("optim_step", 5, compute=50, behind=106.5, hold=85.5)

    cut = cut_of(script.events(), second.operation_id)

    assert cut.nanoseconds("compute") == 50 * MS
    assert cut.doubt_ns("compute") == (0, 10 * MS)
