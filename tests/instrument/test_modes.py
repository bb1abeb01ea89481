"""Ways of working that a service switches on, and clients that were not made here: recorded like the others."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import tinker
from tests.instrument.watching import MODEL, SECRET, Events, adam, batch, prompt, service_client
from tests.waiting import wait_until
from tinker import types

from tinkertape.instrument.tinker import in_flight
from tinkertape.sim import Sim

StartService = Callable[..., Sim]
PARAMS = types.SamplingParams(max_tokens=3)
TOGETHER = {"sample_use_retrieve_futures": True, "sample_join_sampling_session": True}


def sampled(events: Events) -> list[str]:
    """The requests of all samples that ended well, an operation each."""
    stops = events.named("tinker.sampling.sample.stop", status="success")
    assert all(len(stop.metadata["request_ids"]) == 1 for stop in stops)
    return sorted(stop.metadata["request_ids"][0] for stop in stops)


def accepted(sim: Sim) -> list[str]:
    lines = [line for line in sim.truth_lines() if line["what"] == "accepted" and line["request_type"] == "Sample"]
    return sorted(line["request_id"] for line in lines)


def test_samples_that_are_polled_for_together_are_told_each_by_itself(
    start_service: StartService, events: Events
) -> None:
    sim = start_service(client_config=TOGETHER)
    service = service_client(sim)
    client = service.create_sampling_client(base_model=MODEL).result()

    for future in [client.sample(prompt(), 1, PARAMS) for _ in range(5)]:
        future.result(20)

    wait_until(lambda: in_flight() == 0, within_s=10)
    assert sampled(events) == accepted(sim) and len(accepted(sim)) == 5
    polls = events.named("tinker.future.poll.stop", operation="sample")
    assert sorted(poll.metadata["request_id"] for poll in polls) == accepted(sim)  # one each, when it was ready
    together = events.named("tinker.http.request.stop", path="/api/v1/retrieve_futures")
    assert together and all(exchange.metadata["operation_id"] is None for exchange in together)
    service.close("success").result(20)


def test_clients_that_came_by_pickle_or_by_handle_are_recorded_with_their_sampler(
    start_service: StartService, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", "0")  # theirs would be sent for a minute after the service is gone
    sim = start_service()
    service = service_client(sim)
    client = service.create_sampling_client(base_model=MODEL).result()
    clients = [pickle.loads(pickle.dumps(client))]
    clients += [tinker.SamplingClient.from_sampler_handle(client.get_sampler_handle(), api_key=SECRET)]

    for each in clients:
        each.sample(prompt(), 1, PARAMS).result(20)

    assert sampled(events) == accepted(sim) and len(accepted(sim)) == 2
    samplers = {stop.metadata["sampling_session_id"] for stop in events.named("tinker.sampling.sample.stop")}
    assert samplers == {client._sampling_session_id}
    assert events.one("tinker.sampling.from_sampler_handle.stop").metadata["client"] == "SamplingClient"
    service.close("success").result(20)


def test_where_keys_are_exchanged_for_tokens_neither_is_in_an_event(
    start_service: StartService, events: Events
) -> None:
    service = service_client(start_service(client_config={"pjwt_auth_enabled": True}))
    training = service.create_lora_training_client(base_model=MODEL).result()

    training.forward_backward(batch(), "cross_entropy").result(20)
    training.optim_step(adam()).result(20)

    exchange = events.named("tinker.http.request.stop", path="/api/v1/auth/token")
    assert len(exchange) == 1 and exchange[0].metadata["operation_id"] is None
    assert len(events.named("tinker.training.optim_step.stop")) == 1
    assert not any(secret in text(event) for event in events for secret in (SECRET, "eyJ"))
    service.close("success").result(20)


def text(event: Any) -> str:
    return f"{event.measurements} {event.metadata}"
