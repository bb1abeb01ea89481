"""Connections that break, outages, and too much at once: what a client sees, and what the truth says of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.sim.client import INSTANT, of_kind, train, trainer
from tests.waiting import wait_until
from tinker import types

from tinkertape.sim import ConnectionFault, Outage, Scenario

NARROW = 1_000_000  # bytes a second
LATE_NS = 10_000_000  # what a pipe that rested may carry at once


def test_what_is_sent_at_once_shares_a_narrow_network(wire_of):
    wire = wire_of(Scenario(upload_bytes_per_s=NARROW))
    body = b'{"events": [], "filler": "' + b"x" * 150_000 + b'"}'

    with ThreadPoolExecutor(2) as pool:
        sent = [pool.submit(wire.http.post, "/telemetry", content=body) for _ in range(2)]
        assert [each.result().json() for each in sent] == [{"status": "accepted"}] * 2

    wait_until(lambda: len(of_kind(wire.sim, "exchange", request_bytes=len(body))) == 2)
    lines = of_kind(wire.sim, "exchange", request_bytes=len(body))
    took_ns = max(line["body_ns"] for line in lines) - min(line["headers_ns"] for line in lines)
    assert took_ns >= 2 * len(body) / NARROW * 1e9 - LATE_NS


def test_an_answer_over_a_narrow_network_is_whole_and_takes_as_long_as_its_size_says(wire_of):
    text = b"ab" * 8_000
    wire = wire_of(Scenario(compute_s=INSTANT, download_bytes_per_s=NARROW))
    model_id = wire.model()

    result = wire.result(wire.forward_backward(model_id, seq=1, text=text))

    assert result["loss_fn_outputs"][0]["logprobs"]["shape"] == [len(text) - 1]
    wait_until(
        lambda: of_kind(wire.sim, "exchange", path="/api/v1/retrieve_future", status=200)[-1]["response_bytes"] > 65_536
    )
    line = of_kind(wire.sim, "exchange", path="/api/v1/retrieve_future", status=200)[-1]
    assert line["at_ns"] - line["handled_ns"] >= line["response_bytes"] / NARROW * 1e9 - LATE_NS


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
    wire = wire_of(Scenario(compute_s=INSTANT, outages=(Outage(nth=1, length_s=1.5, how="silent"),)))
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
