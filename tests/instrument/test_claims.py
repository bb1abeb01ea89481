"""Your code waits: blocked threads, awaits, many at once; and event loops that are kept busy."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import threading
import time
import weakref
from collections.abc import Callable

import pytest
import tinker
from tests.instrument.watching import MODEL, QUICK, Events, adam, batch, prompt
from tests.waiting import wait_until
from tinker import types
from tinker.lib.public_interfaces.api_future import AwaitableConcurrentFuture

THREAD_SWITCH_NS = 5_000_000  # the loop's callback and the woken thread stamp at the same time; either may be put aside

Connect = Callable[..., tinker.ServiceClient]


async def test_an_await_is_a_claim_of_its_loop(connect: Connect, events: Events) -> None:
    training = await connect().create_lora_training_client(base_model=MODEL)

    forward_backward = training.forward_backward(batch(), "cross_entropy")
    optim_step = training.optim_step(adam())
    await asyncio.gather(forward_backward, optim_step)

    for operation in ("create_lora_training_client", "forward_backward", "optim_step"):
        claim = events.one("tinker.claim.stop", operation=operation)
        assert claim.metadata["loop"] == id(asyncio.get_running_loop())
        assert claim.metadata["thread"] == threading.get_ident()
    start = events.one("tinker.training.optim_step.start")
    assert start.metadata["loop"] == id(asyncio.get_running_loop())


@pytest.mark.filterwarnings("ignore:DEPRECATED:FutureWarning")
async def test_a_deprecated_async_call_is_one_operation_with_one_claim(connect: Connect, events: Events) -> None:
    sampling = await connect().create_sampling_client(base_model=MODEL)

    response = await sampling.sample_async(prompt(), 1, types.SamplingParams(max_tokens=2))

    stop = events.one("tinker.sampling.sample.stop")
    claim = events.one("tinker.claim.stop", operation="sample")
    assert stop.measurements["sampled_tokens"] == len(response.sequences[0].tokens)
    assert stop.measurements["monotonic_time"] <= claim.measurements["monotonic_time"]
    assert stop.measurements["call_duration"] < stop.measurements["duration"]


@pytest.mark.filterwarnings("ignore:DEPRECATED:FutureWarning")
async def test_a_deprecated_async_call_that_returns_a_future_is_done_when_that_is(
    connect: Connect, events: Events
) -> None:
    training = await connect().create_lora_training_client(base_model=MODEL)

    future = await training.optim_step_async(adam())
    assert not events.named("tinker.training.optim_step.stop")
    await future

    assert events.one("tinker.training.optim_step.stop").metadata["status"] == "success"
    assert len(events.named("tinker.claim.stop", operation="optim_step")) == 1


def test_a_wait_on_the_raw_future_is_a_claim(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()

    training.optim_step(adam()).future().result()

    assert len(events.named("tinker.claim.stop", operation="optim_step")) == 1


def test_a_raw_future_that_was_let_go_has_left_its_result(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()
    raw = training.optim_step(adam()).future()
    result = raw.result()
    kept, copied, gone = raw.result, copy.copy(raw), weakref.ref(raw)

    del raw
    wait_until(lambda: gone() is None, within_s=5)  # the SDK's loop may be about to let go

    assert kept() is result
    assert copied.result(timeout=5) is result


@pytest.mark.filterwarnings("ignore:DEPRECATED:FutureWarning")
def test_a_raw_future_that_was_let_go_has_left_its_exception(connect: Connect, events: Events) -> None:
    raw = connect().create_rest_client().get_training_run("nothing:train:0").future()
    concurrent.futures.wait([raw])
    kept, gone = raw.result, weakref.ref(raw)

    del raw
    wait_until(lambda: gone() is None, within_s=5)

    with pytest.raises(tinker.APIStatusError):
        kept()


class OfItsOwnMind(AwaitableConcurrentFuture[int]):
    """Looks a name up that it does not have by waiting for its result, or fails."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"no {name} before the result is there")


def test_no_code_of_a_subclass_runs_where_its_future_is_looked_at(events: Events) -> None:
    raw: concurrent.futures.Future[int] = concurrent.futures.Future()
    raw.set_result(3)

    assert asyncio.run(OfItsOwnMind(raw).coroutine()) == 3
    assert OfItsOwnMind(raw).result() == 3


@pytest.mark.parametrize("package", ["tinker_cookbook.rl.train", "tinkerer", "asyncio_tools", "concurrent"])
def test_a_wait_is_a_claim_in_a_package_that_is_only_named_like_the_sdk(
    package: str, connect: Connect, events: Events
) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()
    of_package = {"__name__": package}
    exec("def wait(future): return future.result()", of_package)

    of_package["wait"](training.optim_step(adam()).future())

    assert len(events.named("tinker.claim.stop", operation="optim_step")) == 1


def test_a_wait_never_ends_before_its_operation(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()

    for _ in range(20):
        training.optim_step(adam()).result()

    stops = {stop.metadata["operation_id"]: stop for stop in events.named("tinker.training.optim_step.stop")}
    for claim in events.named("tinker.claim.stop", operation="optim_step"):
        done = stops[claim.metadata["operation_id"]].measurements["monotonic_time"]
        assert done <= claim.measurements["monotonic_time"] + THREAD_SWITCH_NS


def test_as_completed_then_result_is_one_claim_each(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()
    futures = [training.optim_step(adam()).future() for _ in range(3)]

    for future in concurrent.futures.as_completed(futures):
        future.result()

    assert len(events.named("tinker.claim.stop", operation="optim_step")) == 3


def test_fifty_samples_from_a_pool_of_threads_are_told_apart(connect: Connect, events: Events) -> None:
    sampling = connect().create_sampling_client(base_model=MODEL).result()

    def sample(_: int) -> tuple[int, int]:
        response = sampling.sample(prompt(), 1, types.SamplingParams(max_tokens=4)).result()
        return threading.get_ident(), len(response.sequences[0].tokens)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        sampled = list(pool.map(sample, range(50)))

    stops = events.named("tinker.sampling.sample.stop")
    assert len(stops) == 50 and len({stop.metadata["operation_id"] for stop in stops}) == 50
    assert len({stop.metadata["request_ids"][0] for stop in stops}) == 50
    assert sum(stop.measurements["sampled_tokens"] for stop in stops) == sum(tokens for _, tokens in sampled)
    for stop in stops:
        operation_id = stop.metadata["operation_id"]
        claim = events.one("tinker.claim.stop", operation_id=operation_id)
        submit = events.one("tinker.submit.stop", operation_id=operation_id)
        assert claim.metadata["thread"] == stop.metadata["thread"]
        assert submit.metadata["request_id"] == stop.metadata["request_ids"][0]
        assert submit.measurements["serialise_duration"] <= submit.measurements["duration"]


async def test_a_loop_that_the_user_keeps_busy_is_told(connect: Connect, events: Events) -> None:
    service = connect(compute_s={**QUICK["compute_s"], "OptimStep": 0.3})
    training = await service.create_lora_training_client(base_model=MODEL)
    pending = asyncio.ensure_future(training.optim_step(adam()).coroutine())
    await asyncio.sleep(0.01)

    time.sleep(0.05)  # the fault itself: code that blocks its own loop
    await pending

    busy = events.named("process.loop.busy", owner="user")
    assert max(event.measurements["duration"] for event in busy) >= 50_000_000
    assert {event.metadata["loop"] for event in busy} == {id(asyncio.get_running_loop())}


def test_a_done_callback_that_blocks_the_sdks_loop_is_told(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()
    first = training.forward_backward(batch(), "cross_entropy")
    first.future().add_done_callback(lambda _: time.sleep(0.05))  # the fault itself

    training.optim_step(adam()).result()

    busy = events.named("process.loop.busy", owner="sdk")
    assert max(event.measurements["duration"] for event in busy) >= 50_000_000
