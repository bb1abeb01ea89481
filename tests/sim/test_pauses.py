from __future__ import annotations

import pytest
from tests.sim.client import INSTANT, of_kind, train, trainer
from tests.waiting import wait_until

from tinkertape.sim import Pause, Scenario

HOLDS = (0.4, 2.0, 30.0)


@pytest.mark.parametrize("hold_s", HOLDS)
def test_a_pause_is_told_at_once_and_the_result_too_whatever_the_hold(service_of, hold_s):
    pauses = (Pause(nth=2, length_s=0.9, text="all full"),)
    sim, service = service_of(Scenario(compute_s=INSTANT, poll_hold_s=hold_s, pauses=pauses))

    train(trainer(service), 3)

    [paused], [resumed] = of_kind(sim, "paused"), of_kind(sim, "resumed")
    told = [line for line in of_kind(sim, "exchange", status=408) if line["request_id"] == paused["request_id"]]
    [answered] = of_kind(sim, "answered", request_id=paused["request_id"])
    assert (paused["nth"], paused["reason"], paused["text"]) == (2, "capacity", "all full")
    assert resumed["duration_ns"] >= 900_000_000
    assert told[0]["at_ns"] < resumed["at_ns"]  # long before a hold of 2 or 30 s is over
    assert len(told) == (1 if hold_s > 1 else len(told))
    assert answered["held_ns"] < max(hold_s, 2.0) * 0.45e9  # not at the end of the hold
    assert paused["request_id"] in resumed["request_ids"]


@pytest.mark.parametrize("hold_s", HOLDS)
def test_a_poll_that_is_held_when_a_pause_begins_is_answered_at_once(wire_of, hold_s):
    compute_s = INSTANT | {"ForwardBackward": 0.5}
    pauses = (Pause(nth=1, length_s=0.4, reason="rate_limit", text="too fast", after_s=0.25),)
    wire = wire_of(Scenario(compute_s=compute_s, poll_hold_s=hold_s, pauses=pauses))
    request_id = wire.forward_backward(wire.model(), seq=1)

    first = wire.poll(request_id)

    assert first.status_code == 408
    assert first.json() == {
        "type": "try_again",
        "request_id": request_id,
        "queue_state": "paused_rate_limit",
        "queue_state_reason": "too fast",
    }
    wire.result(request_id)
    [exchange, *_], [resumed] = (
        of_kind(wire.sim, "exchange", request_id=request_id, status=408),
        of_kind(wire.sim, "resumed"),
    )
    assert exchange["handled_ns"] < resumed["at_ns"]
    [ready] = of_kind(wire.sim, "ready", request_id=request_id)
    assert ready["queue_ns"] >= 400_000_000
    assert ready["compute_ns"] >= 480_000_000


def test_a_poll_with_nothing_to_say_is_answered_active_after_the_hold(wire_of):
    wire = wire_of(Scenario(compute_s=INSTANT | {"ForwardBackward": 1.5}, poll_hold_s=0.1))
    request_id = wire.forward_backward(wire.model(), seq=1)

    answer = wire.poll(request_id)

    assert (answer.status_code, answer.json()["queue_state"]) == (408, "active")
    wait_until(lambda: of_kind(wire.sim, "exchange", request_id=request_id, status=408))  # written when it is sent
    [exchange] = of_kind(wire.sim, "exchange", request_id=request_id, status=408)
    assert exchange["handled_ns"] - exchange["body_ns"] >= 100_000_000


@pytest.mark.parametrize(("tell_resume", "state"), [(True, 408), (False, 200)])
def test_a_poll_held_at_a_resume_waits_for_the_result_unless_it_shall_be_told(wire_of, tell_resume, state):
    pauses = (Pause(nth=1, length_s=0.6),)
    compute_s = INSTANT | {"ForwardBackward": 0.3}
    wire = wire_of(Scenario(compute_s=compute_s, poll_hold_s=30, tell_resume=tell_resume, pauses=pauses))
    request_id = wire.forward_backward(wire.model(), seq=1)

    first, second = wire.poll(request_id), wire.poll(request_id)

    assert first.json()["queue_state"] == "paused_capacity"
    assert second.status_code == state
    if state == 408:
        assert second.json()["queue_state"] == "active"


def test_requests_behind_a_paused_one_are_paused_too_and_other_models_are_not(wire_of):
    wire = wire_of(Scenario(compute_s=INSTANT, poll_hold_s=30, pauses=(Pause(nth=1, length_s=0.8),)))
    model_id, other = wire.model(), wire.model()
    held, behind = wire.forward_backward(model_id, seq=1), wire.forward_backward(model_id, seq=2)
    free = wire.forward_backward(other, seq=1)

    assert wire.poll(free).status_code == 200
    states = [wire.poll(request_id).json()["queue_state"] for request_id in (held, behind)]

    assert states == ["paused_capacity", "paused_capacity"]
    wire.result(behind)
    [resumed] = of_kind(wire.sim, "resumed")
    assert resumed["request_ids"] == [held, behind]
