"""What SDKs up to 0.36 do differently (facts/partition.md §2), on a client made the way theirs was."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from tests.instrument.watching import Events

from tinkertape import bus
from tinkertape.guard import failures, forget_failures
from tinkertape.instrument.patches import Patches
from tinkertape.instrument.tinker import base_models, claims, importlib_bootstrap, in_flight, submissions


class OwnFuture:
    """A future of one request."""

    def __init__(self) -> None:
        self._future: Future[Any] = Future()

    def result(self, timeout: float | None = None) -> Any:
        return self._future.result(timeout)

    async def result_async(self, timeout: float | None = None) -> Any:
        return await asyncio.wrap_future(self._future)


class CombinedFuture:
    """A future of several: it has no state, and does nothing before it is claimed."""

    def __init__(self, futures: list[OwnFuture], transform: Callable[[list[Any]], Any] | None = None) -> None:
        self.futures = futures
        self.transform = transform

    def result(self, timeout: float | None = None) -> list[Any]:
        return asyncio.run(self.result_async(timeout))

    async def result_async(self, timeout: float | None = None) -> list[Any]:
        return [await future.result_async(timeout) for future in self.futures]


class Holder:
    async def execute_with_retries(self, func: Callable[[], Awaitable[Any]]) -> Any:
        return await func()


class OldClient:
    def __init__(self) -> None:
        self.parts = [OwnFuture(), OwnFuture()]
        self.bare: Future[str] = Future()
        self.half = OwnFuture()
        self.model_id = "a-session:train:0"

    def forward_backward(self) -> CombinedFuture:
        return CombinedFuture(self.parts)

    def sample(self) -> Future[str]:
        return self.bare

    async def sample_async(self) -> str:
        return await asyncio.wrap_future(self.sample())

    async def create_sampling_client_async(self) -> str:
        await asyncio.sleep(0)
        return "a client"

    async def forward_backward_custom_async(self) -> OwnFuture:
        await asyncio.wrap_future(self.sample())  # its forward, which is another call
        return self.half

    def forward_backward_custom(self, transform: Callable[[list[Any]], Any]) -> CombinedFuture:
        return CombinedFuture([self.half], transform)

    async def get_audit_log_async(self, holder: Holder) -> None:
        async def send() -> None:
            raise ValueError("asked in the wrong loop")

        await holder.execute_with_retries(send)

    def create_lora_training_client(self, base_model: str) -> OldClient:
        return self

    def save_weights_and_get_sampling_client(self) -> OldClient:
        warnings.warn("takes no name", DeprecationWarning, stacklevel=2)
        return self

    async def save_weights_and_get_sampling_client_async(self) -> OldClient:
        warnings.warn("takes no name", DeprecationWarning, stacklevel=2)
        return self


@pytest.fixture
def client(events: Events) -> Iterator[OldClient]:
    patches = Patches()
    importlib_bootstrap.put_on(OldClient, "training", patches)
    claims.put_on(OwnFuture, patches)
    claims.put_on(CombinedFuture, patches)
    submissions.put_on(Holder, patches)
    yield OldClient()
    base_models.forget()
    patches.restore()


def test_what_a_method_warns_of_is_told_at_the_line_that_called_it(client: OldClient) -> None:
    async def sample() -> None:
        await client.save_weights_and_get_sampling_client_async()

    with pytest.warns(DeprecationWarning) as told:
        client.save_weights_and_get_sampling_client()
        asyncio.run(sample())

    assert [each.filename for each in told] == [__file__, __file__]


def test_a_future_without_a_state_is_done_with_its_last_part(client: OldClient, events: Events) -> None:
    future = client.forward_backward()

    client.parts[1]._future.set_result(2)
    assert in_flight() == 1
    client.parts[0]._future.set_result(1)

    assert in_flight() == 0 and events.one("tinker.training.forward_backward.stop")
    assert future.result() == [1, 2]
    assert len(events.named("tinker.claim.stop")) == 1


def test_a_future_without_a_state_fails_with_its_first_part_that_does(client: OldClient, events: Events) -> None:
    client.forward_backward()

    client.parts[0]._future.set_exception(ValueError("bad"))

    assert events.one("tinker.training.forward_backward.exception").metadata["reason"] == "bad"
    assert in_flight() == 0


def test_a_bare_future_is_claimed_by_its_result(client: OldClient, events: Events) -> None:
    future = client.sample()
    client.bare.set_result("tokens")

    assert type(future) is Future and future.result() == "tokens"
    assert events.one("tinker.claim.stop").metadata["operation"] == "sample"


async def test_a_coroutine_that_awaits_a_bare_future_is_a_claim(client: OldClient, events: Events) -> None:
    waiting = asyncio.create_task(client.sample_async())
    await asyncio.sleep(0)
    client.bare.set_result("tokens")

    assert await waiting == "tokens"
    claim = events.one("tinker.claim.stop")
    assert claim.metadata["loop"] == id(asyncio.get_running_loop())
    assert events.one("tinker.training.sample.stop").metadata["status"] == "success"


async def test_a_coroutine_that_returns_a_value_ends_when_it_returns(client: OldClient, events: Events) -> None:
    assert await client.create_sampling_client_async() == "a client"

    stop = events.one("tinker.training.create_sampling_client.stop")
    assert stop.measurements["call_duration"] == stop.measurements["duration"]


async def test_a_coroutine_goes_on_after_another_call_that_it_makes(client: OldClient, events: Events) -> None:
    """A custom loss up to 0.36: its forward is a part of it, and not its end."""
    calling = asyncio.create_task(client.forward_backward_custom_async())
    await asyncio.sleep(0)
    client.bare.set_result("logprobs")
    await calling

    assert in_flight() == 1 and not events.named("tinker.training.sample.start")
    client.half._future.set_result("done")
    assert len(events.named("tinker.training.forward_backward_custom.stop")) == 1


async def test_a_call_after_one_that_failed_in_the_same_task_is_no_retry_of_it(
    client: OldClient, events: Events
) -> None:
    """`get_audit_log_async` from 0.20 to 0.36 sends from the user's own task."""
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong loop"):
            await client.get_audit_log_async(Holder())

    assert len(events.named("tinker.submit.exception")) == 2 and not events.named("tinker.retry")


def test_a_client_that_does_not_hold_its_base_model_is_told_with_the_one_it_was_made_from(
    client: OldClient, events: Events
) -> None:
    client.create_lora_training_client(base_model="a-model")

    client.sample()

    assert events.one("tinker.training.sample.start").metadata["base_model"] == "a-model"


def test_base_models_are_forgotten_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_models, "KEPT_MAX", 2)
    for number in range(3):
        base_models.remember({"model_id": f"m{number}"}, "a-model")

    known = [base_models.base_model_of({"model_id": f"m{number}"}) for number in range(3)]
    base_models.forget()

    assert known == [None, "a-model", "a-model"]


def custom_metrics(results: list[Any]) -> Any:
    """What the SDK's own function does, and no more."""
    results[0].metrics["surrogate_loss:sum"] = results[0].metrics.pop("loss:sum")
    results[0].metrics.update({"loss:sum": 2.0, "mine:sum": 3.0})
    return results[0]


def test_a_result_that_is_put_together_later_is_told_with_the_metrics_that_it_will_have(
    client: OldClient, events: Events
) -> None:
    future = client.forward_backward_custom(custom_metrics)
    output = SimpleNamespace(metrics={"loss:sum": 1.0})

    client.half._future.set_result(output)

    told = events.one("tinker.training.forward_backward_custom.stop").measurements
    assert (told["loss:sum"], told["surrogate_loss:sum"], told["mine:sum"]) == (2.0, 1.0, 3.0)
    assert output.metrics == {"loss:sum": 1.0} and future.transform is custom_metrics  # still the SDK's to do


def test_a_result_that_cannot_be_put_together_early_is_told_as_it_is(client: OldClient) -> None:
    heard: list[Any] = []
    bus.attach("stop", "tinker.training.forward_backward_custom.stop", lambda _, measured, *__: heard.append(measured))
    client.forward_backward_custom(lambda results: results[1])

    client.half._future.set_result(SimpleNamespace(metrics={"loss:sum": 1.0}))

    bus.detach("stop")
    assert [measured["loss:sum"] for measured in heard] == [1.0]
    assert [place for place, _ in failures()] == ["instrument.tinker.transform"]
    forget_failures()  # this one was wanted
