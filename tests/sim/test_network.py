"""Connections that break, outages, and too much at once: what a client sees, and what the truth says of it."""

from __future__ import annotations

import httpx
import pytest
from tests.sim.client import INSTANT, of_kind, train, trainer
from tests.waiting import wait_until
from tinker import types

from tinkertape.sim import ConnectionFault, Outage, Scenario


@pytest.mark.parametrize("how", ["reset", "half"])
@pytest.mark.parametrize("on", ["submit", "poll"])
def test_a_broken_connection_is_written_down_and_the_sdk_asks_again(service_of, how, on):
    fault = ConnectionFault(nth=2, how=how, on=on, request_type="OptimStep")
    sim, service = service_of(Scenario(compute_s=INSTANT, connection_faults=(fault,)))

    assert len(train(trainer(service), 3)) == 3

    [line] = of_kind(sim, "broken")
    assert (line["how"], line["on"], line["nth"], line["attempt"]) == (how, on, 2, 1)
    assert [line["nth"] for line in of_kind(sim, "accepted", request_type="OptimStep")] == [1, 2, 3]


def test_a_submit_that_is_reset_is_not_taken_and_one_half_answered_is(wire_of):
    faults = tuple(ConnectionFault(nth=nth, how=how) for nth, how in ((1, "reset"), (2, "half")))
    wire = wire_of(Scenario(compute_s=INSTANT, connection_faults=faults))
    model_id = wire.model()

    with pytest.raises(httpx.ReadError):
        wire.forward_backward(model_id, seq=1)
    assert not of_kind(wire.sim, "accepted", request_type="ForwardBackward")
    wire.result(wire.forward_backward(model_id, seq=1))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        wire.forward_backward(model_id, seq=2)

    assert [line["nth"] for line in of_kind(wire.sim, "accepted", request_type="ForwardBackward")] == [1, 2]


def test_an_outage_resets_what_is_open_refuses_what_is_new_and_ends(wire_of):
    outage = Outage(nth=1, length_s=0.3)
    wire = wire_of(Scenario(compute_s=INSTANT | {"ForwardBackward": 5.0}, poll_hold_s=5.0, outages=(outage,)))
    model_id = wire.model()
    request_id = wire.forward_backward(model_id, seq=1)

    with pytest.raises(httpx.TransportError):  # reset, or refused when the outage was first
        wire.poll(request_id)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{wire.sim.url}/api/v1/healthz")
    wait_until(lambda: of_kind(wire.sim, "restored"))

    assert httpx.get(f"{wire.sim.url}/api/v1/healthz").json() == {"status": "ok"}
    [line] = of_kind(wire.sim, "restored")
    assert line["duration_ns"] >= 0.3e9 and (line["how"], line["nth"]) == ("refused", 1)


def test_a_silent_outage_answers_nothing_and_resets_in_the_end(wire_of):
    wire = wire_of(Scenario(compute_s=INSTANT, outages=(Outage(nth=1, length_s=0.4, how="silent"),)))
    model_id = wire.model()
    request_id = wire.forward_backward(model_id, seq=1)
    wait_until(lambda: of_kind(wire.sim, "outage"))

    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{wire.sim.url}/api/v1/healthz", timeout=0.1)
    with pytest.raises(httpx.ReadError):
        wire.poll(request_id)

    wire.result(request_id)


def test_a_service_can_be_closed_in_an_outage(sim_of):
    sim = sim_of(Scenario())
    sim.go_away(60)
    wait_until(lambda: of_kind(sim, "outage"))

    sim.close()

    assert of_kind(sim, "ended")


def test_more_samples_at_once_than_it_takes_are_answered_429(service_of):
    sim, service = service_of(Scenario(compute_s=INSTANT | {"Sample": 0.2}, samples_at_once=2))
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()

    prompt = types.ModelInput.from_ints([97])
    samples = [sampler.sample(prompt, 1, types.SamplingParams(max_tokens=2)) for _ in range(3)]

    assert [len(sample.result(20).sequences) for sample in samples] == [1, 1, 1]
    assert {(line["status"], line["request_type"]) for line in of_kind(sim, "fault")} == {(429, "Sample")}
