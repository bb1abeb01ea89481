"""Small programs by name, each what one row of docs/facts/partition.md §6, or one trap of its §7, was measured with."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import tinker
from tinker import types
from tinker.lib import internal_client_holder

BASE = "simulated/bytes-bigram"
PARAMS = types.SamplingParams(max_tokens=2)
BEAT_S = 0.1  # instead of 10
LOSS_S = 0.2  # how long the custom loss takes
ADAM = types.AdamParams(learning_rate=1e-3)


def batch(datums: int = 4, tokens: int = 63) -> list[types.Datum]:
    given = [32 + at % 96 for at in range(tokens)]
    inputs: Any = {"target_tokens": given, "weights": [1.0] * tokens}
    return [types.Datum(model_input=types.ModelInput.from_ints(given), loss_fn_inputs=inputs)] * datums


class QuickBeats:
    """asyncio, but for the period of the SDK's heartbeats.

    With so many of them, `close` cancels one under way now and then. The SDK's transport answers it all the same, the
    loop of heartbeats goes on, and `close` waits for ever: seen with 0.36.0, also without us. So they end before.
    """

    period_s = 10
    ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(BEAT_S if seconds == self.period_s else seconds)
        if seconds == self.period_s and self.ended:
            raise asyncio.CancelledError


@contextlib.contextmanager
def service_client(url: str, *, quick_beats: bool = False) -> Iterator[tinker.ServiceClient]:
    """Closed at the end, by SDKs that can."""
    beats = QuickBeats()
    internal_client_holder.asyncio = beats if quick_beats else asyncio  # type: ignore[attr-defined]
    service = tinker.ServiceClient(base_url=url, api_key="tml-made-up")
    yield service
    beats.ended = True
    if hasattr(service, "close"):
        service.close("success").result()


def made(client: Any) -> Any:
    """The client itself: since 0.38 a future of it is returned."""
    return client.result() if hasattr(type(client), "result") else client


def trainer(service: tinker.ServiceClient) -> tinker.TrainingClient:
    client: tinker.TrainingClient = made(service.create_lora_training_client(base_model=BASE, rank=8))
    return client


def sampler(service: tinker.ServiceClient) -> tinker.SamplingClient:
    client: tinker.SamplingClient = made(service.create_sampling_client(base_model=BASE))
    return client


def prompt() -> types.ModelInput:
    return types.ModelInput.from_ints([97, 98])


def one_by_one(service: tinker.ServiceClient) -> None:
    """Each call whose truth is one request's."""
    training = trainer(service)
    for _ in range(2):
        training.forward_backward(batch(), "cross_entropy").result()
        training.optim_step(ADAM).result()
    training.forward(batch(), "cross_entropy").result()
    training.save_weights_for_sampler("kept").result()
    sampling = sampler(service)
    for _ in range(2):
        sampling.sample(prompt(), 1, PARAMS).result()
        sampling.compute_logprobs(prompt()).result()


def large(megabytes: int) -> Callable[[tinker.ServiceClient], None]:
    """A call whose body is about so large, after a small one: it opens the connection."""
    datums = 2 * megabytes
    tokens = 1_000_000 * megabytes // datums // 16  # 16 bytes each: itself, its target, its weight

    def run(service: tinker.ServiceClient) -> None:
        training = trainer(service)
        training.forward_backward(batch(), "cross_entropy").result()
        training.forward_backward(batch(datums, tokens), "cross_entropy").result()

    return run


def custom_loss(service: tinker.ServiceClient) -> None:
    """Your code runs the loss between the halves of a call; and once more with a call behind it."""

    def loss(_data: list[types.Datum], logprobs: list[Any]) -> tuple[Any, dict[str, float]]:
        time.sleep(LOSS_S)
        return -sum((each.sum() for each in logprobs[1:]), logprobs[0].sum()), {}

    training = trainer(service)
    training.forward_backward_custom(batch(), loss).result()
    training.optim_step(ADAM).result()
    first = training.forward_backward_custom(batch(), loss)
    second = training.optim_step(ADAM)
    first.result()
    second.result()


def chunks(service: tinker.ServiceClient) -> None:
    """Four requests of one call, computed in order."""
    training = trainer(service)
    for _ in range(2):
        training.forward_backward(batch(4096, tokens=2), "cross_entropy").result()


def samples(count: int) -> Callable[[tinker.ServiceClient], None]:
    def run(service: tinker.ServiceClient) -> None:
        sampling = sampler(service)
        for future in [sampling.sample(prompt(), 1, PARAMS) for _ in range(count)]:
            future.result()

    return run


def one_call(service: tinker.ServiceClient) -> None:
    """One, with no other like it before."""
    trainer(service).forward_backward(batch(), "cross_entropy").result()


def gil_held(service: tinker.ServiceClient) -> None:
    """Nobody can run from 100 to 600 ms after the call: its result is there in the midst."""
    future = trainer(service).forward_backward(batch(), "cross_entropy")
    time.sleep(0.1)
    ctypes.PyDLL(None).usleep(500_000)
    future.result()


def spinning(service: tinker.ServiceClient) -> None:
    """Two threads that compute in Python all the while."""
    training, over = trainer(service), threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(1_000))

    threads = [threading.Thread(target=spin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        training.forward_backward(batch(), "cross_entropy").result()
    over.set()
    for thread in threads:
        thread.join()


def callback(service: tinker.ServiceClient) -> None:
    """A done callback sleeps on the SDK's loop while a sample is computed."""
    training, sampling = trainer(service), sampler(service)
    first = training.optim_step(ADAM)
    first.future().add_done_callback(lambda _: time.sleep(0.4))
    sampling.sample(prompt(), 1, PARAMS).result()
    first.result()


def heartbeats(service: tinker.ServiceClient) -> None:
    """A session that lives for some heartbeats, whatever becomes of its calls."""
    training = trainer(service)
    for _ in range(8):
        with contextlib.suppress(tinker.TinkerError):
            training.optim_step(ADAM).result()
        time.sleep(BEAT_S)


async def awaited(future: Any) -> Any:
    return await future


def blocked_loop(service: tinker.ServiceClient) -> None:
    """An await, and the loop that it is on is blocked from 100 to 600 ms."""
    training = trainer(service)

    async def run() -> None:
        pending = asyncio.ensure_future(awaited(training.forward_backward(batch(), "cross_entropy")))
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # the fault itself
        await pending

    asyncio.run(run())


def given_up(service: tinker.ServiceClient) -> None:
    """A call that is cancelled, and one behind it: the service computes both."""
    training = trainer(service)
    first = training.forward_backward(batch(), "cross_entropy")
    time.sleep(0.1)
    first.future().cancel()
    training.forward_backward(batch(), "cross_entropy").result()
    training.optim_step(ADAM).result()


PROGRAMS: dict[str, Callable[[tinker.ServiceClient], None]] = {
    "one by one": one_by_one,
    "four chunks": chunks,
    "a custom loss": custom_loss,
    "200 samples at once": samples(200),
    "five samples": samples(5),
    "1 MB": large(1),
    "8 MB": large(8),
    "20 MB": large(20),
    "40 MB": large(40),
    "one call": one_call,
    "the GIL held across ready": gil_held,
    "threads that spin": spinning,
    "a callback on the SDK's loop": callback,
    "heartbeats": heartbeats,
    "a blocked loop": blocked_loop,
    "a call given up": given_up,
}
