"""What SDKs up to 0.36 do differently (facts/partition.md §2), on a client made the way theirs was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from tests.instrument.watching import Events

from tinkertape.instrument.patches import Patches
from tinkertape.instrument.tinker import claims, in_flight, operations


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

    def __init__(self, futures: list[OwnFuture]) -> None:
        self.futures = futures

    def result(self, timeout: float | None = None) -> list[Any]:
        return asyncio.run(self.result_async(timeout))

    async def result_async(self, timeout: float | None = None) -> list[Any]:
        return [await future.result_async(timeout) for future in self.futures]


class OldClient:
    def __init__(self) -> None:
        self.parts = [OwnFuture(), OwnFuture()]
        self.bare: Future[str] = Future()

    def forward_backward(self) -> CombinedFuture:
        return CombinedFuture(self.parts)

    def sample(self) -> Future[str]:
        return self.bare

    async def sample_async(self) -> str:
        return await asyncio.wrap_future(self.sample())

    async def create_sampling_client_async(self) -> str:
        await asyncio.sleep(0)
        return "a client"


@pytest.fixture
def client(events: Events) -> Iterator[OldClient]:
    patches = Patches()
    operations.put_on(OldClient, "training", patches)
    claims.put_on(OwnFuture, patches)
    claims.put_on(CombinedFuture, patches)
    yield OldClient()
    patches.restore()


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
