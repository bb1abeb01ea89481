"""A hook of ours that fails costs its events, and nothing else; after five times it stays off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tinker
from tests.instrument.watching import MODEL, Events, adam, installed, service_client

from tinkertape import bus
from tinkertape.guard import disabled, failures, forget_failures
from tinkertape.instrument import tinker as source
from tinkertape.instrument.tinker import (
    attempts,
    claims,
    endings,
    operations,
    polls,
    requests,
    retries,
    sdk_events,
    submissions,
)
from tinkertape.sim import Sim, SubmitFault


def broken(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("a hook of ours is broken")


@pytest.fixture
def watched() -> Iterator[Events]:
    with installed(source) as heard:
        yield heard
    forget_failures()


@pytest.mark.parametrize(
    ("module", "name", "place"),
    [
        (operations, "Operation", "instrument.tinker.call"),
        (endings, "_measured", "instrument.tinker.done"),
        (operations, "client_metadata", "instrument.tinker.arguments"),
        (endings, "names_and_counts", "instrument.tinker.results"),
        (submissions, "_begin", "instrument.tinker.submit"),
        (attempts, "route_of", "instrument.tinker.send"),
        (polls, "_measured", "instrument.tinker.poll"),
        (requests, "request_of", "instrument.tinker.request"),
        (claims, "Claim", "instrument.tinker.claim"),
        (retries, "call_of", "instrument.tinker.retry"),
        (sdk_events, "_data", "instrument.tinker.sdk_event"),
    ],
)
def test_a_broken_hook_never_reaches_the_program(
    module: Any,
    name: str,
    place: str,
    start_service: Callable[..., Sim],
    watched: Events,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, name, broken)
    refused = (SubmitFault(nth=1, status=503, request_type="OptimStep"),) if module is retries else ()

    service = service_client(start_service(submit_faults=refused))
    training = service.create_lora_training_client(base_model=MODEL).result()
    for _ in range(6):
        assert type(training.optim_step(adam()).result()) is tinker.types.OptimStepResponse
    service.close("success").result()

    assert {seen for seen, _ in failures()} == {place} and source.in_flight() == 0
    if place not in ("instrument.tinker.retry", "instrument.tinker.sdk_event"):  # they come once in this program
        assert disabled(place) and failures()[place, "RuntimeError"] == 5


def test_install_gives_a_hook_that_was_off_another_chance(
    start_service: Callable[..., Sim], watched: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(claims, "Claim", broken)
        service = service_client(start_service())
        training = service.create_lora_training_client(base_model=MODEL).result()
        for _ in range(6):
            training.optim_step(adam()).result()
    assert not watched.named("tinker.claim.stop")

    source.uninstall()
    source.install()
    training.optim_step(adam()).result()

    assert len(watched.named("tinker.claim.stop")) == 1
    service.close("success").result()


def test_a_handler_that_fails_is_the_bus_business_and_not_the_programs(
    start_service: Callable[..., Sim], watched: Events
) -> None:
    bus.attach("broken", "tinker.http.request.stop", broken)

    service = service_client(start_service())
    service.create_lora_training_client(base_model=MODEL).result()
    service.close("success").result()

    assert watched.named("telemetry.handler.failure") and failures() == {}
