"""Every public operation of the SDK's clients, from 0.6 on: what it is called with.

In order: what one keeps, a later one uses. Each is called once, and once more as a coroutine where there is such a
form. What a release lacks is passed over.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tinker
from tinker import types

NOT_CALLED = {
    "get_telemetry": "the SDK's own object; the SDK calls it for every exception",
    "on_queue_state_change": "the SDK calls it, for every poll",
    "get_console_url": "a piece of text",
    "get_tokenizer": "loads a tokenizer from a hub of models",
    "create": "the SDK's own way to make a SamplingClient, inside `create_sampling_client`",
}
"""Public methods that the program leaves out, and why."""


WRONG_LOOP = "the coroutine of 0.20 to 0.36 asks for the SDK's client in the caller's loop, where it must not be"


def _nothing(_world: World, _value: Any) -> None:
    return None


@dataclass(frozen=True)
class Call:
    """One operation. `arguments` is told whether it is the coroutine's turn: what is used up must be another."""

    family: str
    name: str
    arguments: Callable[[World, bool], tuple[Any, ...]] = lambda _world, _again: ()
    keep: Callable[[World, Any], None] = _nothing
    may_fail: str | None = None  # why it ends by an exception in some or all releases


@dataclass
class World:
    """What the program has at hand. The clients are plain ones, of the installed release."""

    base_model: str = "simulated/bytes-bigram"
    service: Any = None
    training: Any = None
    sampling: Any = None
    timed_out: str = ""
    kept: dict[str, Any] = field(default_factory=dict)
    names: Any = field(default_factory=lambda: itertools.count(1))

    def client(self, family: str) -> Any:
        if family == "admin" and family not in self.kept and hasattr(tinker, "AdminClient"):
            address, key = os.environ["TINKER_BASE_URL"], os.environ["TINKER_API_KEY"]
            self.kept[family] = tinker.AdminClient(base_url=address, api_key=key)
        return self.kept.get(family) or getattr(self, family, None)

    def many(self) -> list[types.Datum]:
        """More than goes into one request, in every release."""
        inputs: Any = {"target_tokens": [1], "weights": [1.0]}
        return [types.Datum(model_input=types.ModelInput.from_ints([1]), loss_fn_inputs=inputs)] * 1100

    def batch(self) -> list[types.Datum]:
        tokens = list(b"the cat sat on the mat")
        inputs: Any = {"target_tokens": tokens[1:], "weights": [1.0] * (len(tokens) - 1)}
        return [types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs)] * 2

    def prompt(self) -> types.ModelInput:
        return types.ModelInput.from_ints(list(b"the "))

    def name(self) -> str:
        return f"made-{next(self.names)}"

    def run_id(self) -> str:
        return str(self.kept["paths"][0]).split("/")[2]

    def session_id(self) -> str:
        return self.run_id().split(":")[0]


def _saved(world: World, value: Any) -> None:
    world.kept.setdefault("paths", []).append(value.path)


def _sampler_saved(world: World, value: Any) -> None:
    world.kept["sampler"] = value.path


def _loss(_data: Any, logprobs: list[Any]) -> tuple[Any, dict[str, float]]:
    total = logprobs[0].sum()
    for each in logprobs[1:]:
        total = total + each.sum()
    return -total, {"mine:sum": 2.0}


def _path(number: int, *more: Any) -> Callable[[World, bool], tuple[Any, ...]]:
    return lambda world, _again: (world.kept["paths"][number], *more)


def _to_delete(plain: int, coroutine: int) -> Callable[[World, bool], tuple[str]]:
    return lambda world, again: (world.kept["paths"][coroutine if again else plain],)


def _apart(path: Callable[[World, bool], tuple[Any, ...]]) -> Callable[[World, bool], tuple[str, str]]:
    """A run and a checkpoint of it, in place of one path."""
    return lambda world, again: (world.run_id(), path(world, again)[0].split("/", 3)[3])


CALLS = (
    Call("service", "get_server_capabilities"),
    Call("training", "get_info"),
    Call("training", "forward", lambda world, _: (world.batch(), "cross_entropy")),
    Call("training", "forward_backward", lambda world, _: (world.batch(), "cross_entropy")),
    Call("training", "forward_backward", lambda world, _: (world.many(), "cross_entropy")),
    Call("training", "forward_backward_custom", lambda world, _: (world.batch(), _loss)),
    Call("training", "optim_step", lambda _world, _: (types.AdamParams(learning_rate=1e-3),)),
    *(Call("training", "save_state", lambda world, _: (world.name(),), _saved) for _ in range(4)),
    Call("training", "load_state", _path(0)),
    Call("training", "load_state_with_optimizer", _path(0)),
    Call("training", "save_weights_for_sampler", lambda world, _: (world.name(),), _sampler_saved),
    Call("training", "create_sampling_client", lambda world, _: (world.kept["sampler"],)),
    Call("training", "save_weights_and_get_sampling_client", lambda world, _: (world.name(),)),
    Call("training", "save_weights_and_get_sampling_client_submit"),
    Call(
        "training",
        "save_weights_external",
        lambda world, _: (world.name(),),
        lambda world, value: world.kept.update(external=value.path),
    ),
    Call("service", "create_lora_training_client", lambda world, _: (world.base_model, 4)),
    Call("service", "create_training_client_from_state", _path(0)),
    Call("service", "create_training_client_from_state_with_optimizer", _path(0)),
    Call("service", "create_sampling_client", lambda world, _: (world.kept["sampler"],)),
    Call("service", "create_rest_client", keep=lambda world, value: world.kept.update(rest=value)),
    Call("service", "copy_weights", _path(0)),
    Call(
        "service",
        "create_custom_loss",
        lambda _world, _: (lambda logprobs: (-logprobs.sum(), {}), {"logprobs": 1}),
        may_fail="it traces the loss with torch.fx, and torch is not there",
    ),
    Call("sampling", "sample", lambda world, _: (world.prompt(), 1, types.SamplingParams(max_tokens=2))),
    Call("sampling", "compute_logprobs", lambda world, _: (world.prompt(),)),
    Call("sampling", "get_base_model"),
    Call("sampling", "get_sampler_handle", keep=lambda world, value: world.kept.update(handle=value)),
    Call("sampling", "from_sampler_handle", lambda world, _: (world.kept["handle"],)),
    Call("rest", "get_server_capabilities"),
    Call("rest", "get_training_run", lambda world, _: (world.run_id(),)),
    Call("rest", "get_training_run_by_tinker_path", _path(0)),
    Call("rest", "get_weights_info_by_tinker_path", _path(0)),
    Call("rest", "list_training_runs"),
    Call("rest", "list_checkpoints", lambda world, _: (world.run_id(),)),
    Call("rest", "list_user_checkpoints"),
    Call("rest", "get_session", lambda world, _: (world.session_id(),)),
    Call("rest", "list_sessions"),
    Call("rest", "search_sessions", lambda _world, _: (types.SessionSearchRequest(),)),
    Call("rest", "get_sampler", lambda world, _: (f"{world.session_id()}:sample:0",)),
    Call("rest", "get_checkpoint_archive_url", _apart(_path(0))),
    Call("rest", "get_checkpoint_archive_url_from_tinker_path", _path(0)),
    Call("rest", "get_external_weights_urls", lambda world, _: (world.kept["external"],)),
    Call("rest", "publish_checkpoint_from_tinker_path", _path(0)),
    Call("rest", "unpublish_checkpoint_from_tinker_path", _path(0)),
    Call("rest", "set_checkpoint_ttl_from_tinker_path", _path(0, 7200)),
    Call("rest", "copy_weights", _path(0, "a-project")),
    Call("rest", "assign_session_project", lambda world, _: (world.session_id(), "a-project")),
    Call("rest", "export_session_trace", lambda world, _: (world.session_id(),)),
    Call("rest", "whoami", may_fail="it reads a JWT, and the service takes plain keys"),
    Call("rest", "get_audit_log", may_fail=WRONG_LOOP),
    Call("rest", "get_billing_usage", lambda _world, _: ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")),
    Call("rest", "get_current_checkpoint_storage_usage"),
    Call("rest", "delete_checkpoint", _apart(_to_delete(1, 4))),
    Call("rest", "delete_checkpoint_from_tinker_path", _to_delete(2, 5)),
    Call("admin", "get_audit_log", may_fail=WRONG_LOOP),
    Call("admin", "get_billing_usage", lambda _world, _: ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")),
    Call("admin", "get_current_checkpoint_storage_usage"),
)
