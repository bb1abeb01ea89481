"""The program that every release of the SDK runs, recorded: all that it can be asked, and what goes wrong.

First a run whose faults are the same for each release (`scenario` in `runs.py` says which); then every public operation
of its clients, each in the forms that the release has; what is called with what is in `calls.py`. It prints, as JSON,
what it did and how it ended: the recording is held against that. Run as a program, with the release on its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import sys
import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import tinker
from tests.versions.calls import CALLS, NOT_CALLED, Call, World
from tinker import types

import tinkertape

WITHIN_S = 30.0


def settled(value: Any) -> Any:
    """What a call comes to: it hands out a future, or what it is all about."""
    return value.result(WITHIN_S) if isinstance(value, (tinker.APIFuture, Future)) else value


async def settled_async(value: Any) -> Any:
    """The same for what a coroutine returned; a training call's is a future still."""
    while isinstance(value, (tinker.APIFuture, Future)):
        value = await (value if isinstance(value, tinker.APIFuture) else asyncio.wrap_future(value))
    return value


class Account:
    """What was called, whether it was waited for, and how it ended."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.forms: set[str] = set()

    def add(self, family: str, name: str, outcome: str, value: Any = None, result: Any = None) -> None:
        self.forms.add(f"{family}.{name}")
        call: dict[str, Any] = {"operation": f"{family}.{name.removesuffix('_async')}", "outcome": outcome}
        call["waited"] = isinstance(value, (tinker.APIFuture, Future))
        call["metrics"] = getattr(result, "metrics", None) or {}
        self.calls.append(call)


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    account, world = Account(), World()
    run(account, world)
    for call in CALLS:
        once(account, world, call)
    asyncio.run(again(account, world))
    if hasattr(tinker.ServiceClient, "close"):
        settled(world.service.close("success"))
        account.add("service", "close", "success")
    print(json.dumps({"calls": account.calls, "release": tinker.__version__, "left_out": left_out(account, world)}))


def run(account: Account, world: World) -> None:
    """Six steps, three samples."""
    service = world.service = tinker.ServiceClient()
    training = world.training = settled(service.create_lora_training_client(base_model=world.base_model, rank=8))
    account.add("service", "create_lora_training_client", "success")
    for step in range(1, 7):
        forward_backward = training.forward_backward(world.batch(), "cross_entropy")
        optim_step = training.optim_step(types.AdamParams(learning_rate=1e-3))
        result, outcome = ended(forward_backward)
        account.add("training", "forward_backward", outcome, forward_backward, result)
        if step == 5:
            world.timed_out = ended(optim_step, within_s=0.05)[1]
        result, outcome = ended(optim_step)
        account.add("training", "optim_step", outcome, optim_step, result)
    sampling = world.sampling = settled(service.create_sampling_client(base_model=world.base_model))
    account.add("service", "create_sampling_client", "success")
    for _ in range(3):
        sampled = sampling.sample(world.prompt(), 2, types.SamplingParams(max_tokens=4, seed=1))
        account.add("sampling", "sample", ended(sampled)[1], sampled)


def ended(future: Any, within_s: float = WITHIN_S) -> tuple[Any, str]:
    """What it came to, and how."""
    try:
        return future.result(within_s), "success"
    except Exception as error:  # noqa: BLE001  how it ends is what is asked
        return None, type(error).__name__


def once(account: Account, world: World, call: Call) -> None:
    """The call in its plain form, if this release has it."""
    client = world.client(call.family)
    if client is None or not hasattr(type(client), call.name):
        return
    outcome, value, result = "success", None, None
    try:
        value = getattr(client, call.name)(*call.arguments(world, False))
        result = settled(value)
        call.keep(world, result)
    except Exception as error:
        outcome = type(error).__name__
        if call.may_fail is None:
            raise
    account.add(call.family, call.name, outcome, value, result)


async def again(account: Account, world: World) -> None:
    """Each call's `…_async`, where the release has one, in a loop of the program's own."""
    for call in CALLS:
        client, name = world.client(call.family), f"{call.name}_async"
        if client is None or not hasattr(type(client), name):
            continue
        outcome, value, result = "success", None, None
        try:
            value = await getattr(client, name)(*call.arguments(world, True))
            result = await settled_async(value)
            call.keep(world, result)
        except Exception as error:
            outcome = type(error).__name__
            if call.may_fail is None:
                raise
        account.add(call.family, name, outcome, value, result)


def left_out(account: Account, world: World) -> list[str]:
    """The public methods of this release's clients that nothing here calls, and that no reason excuses."""
    names = []
    for family in ("service", "training", "sampling", "rest", "admin"):
        client = world.client(family)
        for name, member in vars(type(client)).items() if client is not None else ():
            form = f"{family}.{name}"
            is_method = inspect.isfunction(member) or isinstance(member, staticmethod)
            if is_method and not name.startswith("_") and form not in account.forms:
                names += [form] if name.removesuffix("_async") not in NOT_CALLED else []
    return names


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        stack.enter_context(tinkertape.record("versions", directory=Path(sys.argv[1])))
        main()
