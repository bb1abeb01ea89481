"""What is told only if asked for: tokens themselves; and where the SDK's own telemetry goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tinker
from tests.instrument.watching import MODEL, Events, batch, prompt
from tinker import types

from tinkertape.instrument import tinker as source

Connect = Callable[..., tinker.ServiceClient]
TOLD = "tinker.content"


def sample(service: tinker.ServiceClient) -> list[list[int]]:
    client = service.create_sampling_client(base_model=MODEL).result()
    response = client.sample(prompt(3), 2, types.SamplingParams(max_tokens=5)).result()
    return [list(sequence.tokens) for sequence in response.sequences]


def test_tokens_are_told_from_when_they_are_asked_for(connect: Connect, events: Events) -> None:
    service = connect()
    sample(service)
    source.install()
    assert events.named(TOLD) == []

    source.install(content=True)
    source.install()
    sequences = sample(service)
    training = service.create_lora_training_client(base_model=MODEL).result()
    training.forward_backward(batch(2, 4), "cross_entropy").result()

    tokens = {
        role: [e.metadata["tokens"] for e in events.named(TOLD, role=role)] for role in ("prompt", "sequence", "datum")
    }
    assert tokens == {"prompt": [[1, 2, 3]], "sequence": sequences, "datum": [[0, 1, 2, 3]] * 2}
    sampled = events.named("tinker.sampling.sample.stop")[-1]
    assert {e.metadata["operation_id"] for e in events.named(TOLD, operation="sample")} == {
        sampled.metadata["operation_id"]
    }
    assert [e.metadata["number"] for e in events.named(TOLD, role="datum")] == [0, 1]


@pytest.mark.parametrize(
    ("destination", "is_told", "is_sent"), [("service", True, True), ("tape", True, False), ("nowhere", False, False)]
)
def test_the_sdks_telemetry_goes_where_it_is_told_to(
    destination: source.Destination,
    is_told: bool,
    is_sent: bool,
    connect: Connect,
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", "1")
    source.install(sdk_telemetry=destination)

    service = connect()
    service.create_sampling_client(base_model=MODEL).result()
    telemetry = service.get_telemetry()
    assert telemetry is not None and telemetry.log("mine", {"a": 1}) is (destination != "nowhere")
    service.close("success").result(20)

    assert bool(events.named("tinker.sdk.event", event_name="mine")) is is_told
    assert bool(events.named("tinker.http.request.stop", path="/api/v1/telemetry")) is is_sent


def test_another_destination_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="use 'service', 'tape' or 'nowhere'"):
        source.install(sdk_telemetry="home")  # type: ignore[arg-type]
