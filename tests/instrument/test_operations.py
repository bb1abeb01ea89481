"""Public calls: one operation each, with what was counted and what came back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import tinker
from tests.instrument.watching import MODEL, Events, adam, batch, prompt
from tinker import types

from tinkertape.instrument.tinker import in_flight
from tinkertape.sim import Sim

Connect = Callable[..., tinker.ServiceClient]


def test_a_training_call_is_told_with_its_counts_and_the_metrics_that_came_back(
    connect: Connect, events: Events
) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()

    output = training.forward_backward(batch(datums=3, tokens=4), "cross_entropy").result()

    start = events.one("tinker.training.forward_backward.start")
    stop = events.one("tinker.training.forward_backward.stop")
    assert start.measurements["datum_count"] == 3 and start.measurements["token_count"] == 12
    assert start.metadata["client"] == "TrainingClient" and start.metadata["loss_fn"] == "cross_entropy"
    assert start.metadata["model_id"] == training.model_id and start.metadata["base_model"] == MODEL
    assert start.metadata["thread"] == threading.get_ident() and start.metadata["loop"] is None
    assert stop.metadata["operation_id"] == start.metadata["operation_id"]
    assert stop.metadata["status"] == "success" and len(stop.metadata["request_ids"]) == 1
    assert stop.measurements["loss:sum"] == output.metrics["loss:sum"]
    assert stop.measurements["monotonic_time"] - stop.measurements["duration"] == start.measurements["monotonic_time"]
    assert 0 < stop.measurements["call_duration"] < stop.measurements["duration"]
    assert stop.measurements["payload_bytes"] > 0 and stop.measurements["poll_count"] >= 1


def test_a_sample_is_told_with_its_tokens_and_stop_reasons_and_without_any_token(
    connect: Connect, events: Events
) -> None:
    sampling = connect().create_sampling_client(base_model=MODEL).result()

    response = sampling.sample(prompt(3), 2, types.SamplingParams(max_tokens=5)).result()

    stop = events.one("tinker.sampling.sample.stop")
    assert stop.measurements["prompt_tokens"] == 3 and stop.measurements["sample_count"] == 2
    assert stop.measurements["sampled_tokens"] == sum(len(sequence.tokens) for sequence in response.sequences)
    assert stop.metadata["stop_reasons"] == [sequence.stop_reason for sequence in response.sequences]
    assert stop.metadata["sampling_session_id"]
    assert all(response.sequences[0].tokens != value for event in events for value in event.metadata.values())


def test_a_client_that_is_created_is_an_operation_of_the_service_and_its_wait_a_claim(
    connect: Connect, events: Events
) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()

    stop = events.one("tinker.service.create_lora_training_client.stop")
    assert stop.metadata["base_model"] == MODEL and stop.metadata["model_id"] == training.model_id
    assert events.one("tinker.claim.stop").metadata["operation"] == "create_lora_training_client"


def test_a_chunked_call_is_one_operation_with_many_requests(connect: Connect, events: Events) -> None:
    service = connect(client_config={"fwdbwd_max_chunk_len": 2})
    training = service.create_lora_training_client(base_model=MODEL).result()

    training.forward_backward(batch(datums=7), "cross_entropy").result()

    stop = events.one("tinker.training.forward_backward.stop")
    call = {"operation_id": stop.metadata["operation_id"]}
    requests = events.named("tinker.request.stop", **call)
    submits = events.named("tinker.submit.stop", **call)
    assert len(requests) == 4 == len(stop.metadata["request_ids"])
    assert len({submit.metadata["submission_id"] for submit in submits}) == 4
    assert {submit.metadata["request_id"] for submit in submits} == set(stop.metadata["request_ids"])


def test_a_public_method_that_calls_another_is_one_operation(connect: Connect, events: Events) -> None:
    service = connect()

    with pytest.warns(FutureWarning):
        service.get_server_capabilities()

    names = [event.name for event in events if event.name.startswith(("tinker.service.", "tinker.rest."))]
    assert names == ["tinker.service.get_server_capabilities.start", "tinker.service.get_server_capabilities.stop"]


def test_a_rest_call_is_an_operation_without_polls(start_service: Callable[..., Sim], events: Events) -> None:
    rest = tinker.RestClient(base_url=start_service().url, api_key="tml-rest")

    rest.get_server_capabilities().result()

    stop = events.one("tinker.rest.get_server_capabilities.stop")
    exchange = events.one("tinker.http.request.stop", operation="get_server_capabilities")
    assert stop.metadata["request_ids"] == [] and stop.measurements["poll_count"] == 0
    assert exchange.metadata["method"] == "GET" and exchange.metadata["path"] == "/api/v1/get_server_capabilities"
    assert events.one("tinker.claim.stop").metadata["operation"] == "get_server_capabilities"


def test_what_is_called_in_a_done_callback_is_an_operation_of_its_own(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()
    called = threading.Event()
    follower: list[object] = []

    def follow(_: object) -> None:
        follower.append(training.optim_step(adam()))
        called.set()

    training.forward_backward(batch(), "cross_entropy").future().add_done_callback(follow)

    assert called.wait(10)
    follower[0].result()  # type: ignore[attr-defined]
    assert events.one("tinker.training.optim_step.stop").metadata["thread_name"] != "MainThread"


def test_nothing_is_in_flight_when_all_is_done(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()
    pending = training.optim_step(adam())

    assert in_flight() == 1
    pending.result()
    assert in_flight() == 0


def test_a_custom_loss_is_one_operation_of_two_halves(
    connect: Connect, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    numpy = pytest.importorskip("numpy")

    class Tensor:
        """As much of a torch tensor as the SDK's custom loss touches."""

        grad: Tensor | None = None

        def __init__(self, values: object) -> None:
            self.values = numpy.asarray(values, dtype="float32")

        def reshape(self, shape: list[int]) -> Tensor:
            return Tensor(self.values.reshape(shape))

        def clone(self) -> Tensor:
            return self

        detach = sum = clone

        def requires_grad_(self, _: bool) -> Tensor:
            return self

        def item(self) -> float:
            return float(self.values.sum())

        def backward(self) -> None:
            for logprobs in seen:
                logprobs.grad = numpy.ones_like(logprobs.values)  # type: ignore[assignment]

    class Torch:
        tensor = Tensor

    seen: list[Tensor] = []

    def my_loss(data: object, logprobs: list[Tensor]) -> tuple[Tensor, dict[str, float]]:
        seen.extend(logprobs)
        return Tensor([1.0]), {"mine:sum": 2.0}

    monkeypatch.setattr("tinker.lib.public_interfaces.training_client.torch", Torch)
    training = connect().create_lora_training_client(base_model=MODEL).result()

    training.forward_backward_custom(batch(), my_loss).result()

    stop = events.one("tinker.training.forward_backward_custom.stop")
    kinds = [e.metadata["request_type"] for e in events.named("tinker.request.start", **_call(stop))]
    assert kinds == ["Forward", "ForwardBackward"]
    assert stop.metadata["loss_fn"] == "my_loss" and stop.measurements["mine:sum"] == 2.0
    assert len({e.metadata["submission_id"] for e in events.named("tinker.submit.start", **_call(stop))}) == 2


def _call(event: object) -> dict[str, int]:
    return {"operation_id": event.metadata["operation_id"]}  # type: ignore[attr-defined]
