"""What is counted in a call's arguments, and named of its client. Counts and names only: no prompt, no token, no copy.

Arguments are read by position or keyword, as the method's own signature has them in all versions (facts/sdk.md §3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinkertape.instrument.tinker.base_models import base_model_of
from tinkertape.instrument.tinker.futures import instance_dict

NAMED = {
    "forward": {"loss_fn": 1},
    "forward_backward": {"loss_fn": 1},
    "forward_backward_custom": {"loss_fn": 1},
    "create_lora_training_client": {"base_model": 0},
    "create_training_client_from_state": {"base_model": 1},
    "create_training_client_from_state_with_optimizer": {"base_model": 1},
    "create_sampling_client": {"base_model": 1},
}
WITH_DATA = frozenset({"forward", "forward_backward", "forward_backward_custom"})
WITH_PROMPT = frozenset({"sample", "compute_logprobs"})


def client_metadata(client: object) -> dict[str, Any]:
    """Which client is called, and the ids it holds. A class stands for one where there is none yet."""
    if isinstance(client, type):
        return {"client": client.__name__}
    held = instance_dict(client)
    told: dict[str, Any] = {"client": type(client).__name__}
    if (model_id := held.get("model_id")) is not None:
        told["model_id"] = model_id
    if (sampling_session_id := held.get("_sampling_session_id")) is not None:
        told["sampling_session_id"] = sampling_session_id
    base_model = held.get("_base_model") or getattr(getattr(held.get("_info"), "model_data", None), "model_name", None)
    if base_model is None:
        base_model = base_model_of(told)
    if base_model is not None:
        told["base_model"] = base_model
    return told


def argument_names(operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, str]:
    """The arguments that are names, of an operation that has any: of a loss function, of a base model."""
    named = {name: argument(args, kwargs, position, name) for name, position in NAMED[operation].items()}
    if operation == "forward_backward_custom":
        loss_fn = named["loss_fn"]
        named["loss_fn"] = getattr(loss_fn, "__name__", None) or instance_dict(loss_fn).get("name")
    return {name: value for name, value in named.items() if isinstance(value, str)}


def argument_counts(operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, int]:
    """How much is handed over: datums and tokens of a batch, tokens of a prompt, samples asked for."""
    if operation in WITH_DATA:
        data = argument(args, kwargs, 0, "data")
        if isinstance(data, Sequence):  # an iterator would be used up
            tokens = sum(_token_count(getattr(datum, "model_input", None)) for datum in data)
            return {"datum_count": len(data), "token_count": tokens}
    elif operation in WITH_PROMPT:
        counts = {"prompt_tokens": _token_count(argument(args, kwargs, 0, "prompt"))}
        samples = argument(args, kwargs, 1, "num_samples") if operation == "sample" else None
        if isinstance(samples, int):
            counts["sample_count"] = samples
        return counts
    return {}


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _token_count(model_input: Any) -> int:
    """Tokens of the text chunks; an image's length may be unknown here. What is no model input has none: the SDK will
    say so itself, and a user's mistake must not count as ours.
    """
    count = 0
    for chunk in getattr(model_input, "chunks", ()):
        tokens = getattr(chunk, "tokens", None)
        if tokens is not None:
            count += len(tokens)
    return count
