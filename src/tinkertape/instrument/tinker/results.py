"""What is counted in a result. Known by its attributes, as versions differ in the classes (facts/sdk.md §4).

Metrics that a training call returns become measurements under their own names ("loss:sum"); tokens are counted, and
neither kept nor copied: `tokens_np` is looked at where there is one, as `tokens` would convert the whole array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinkertape.events import operation_events
from tinkertape.instrument.tinker.futures import instance_dict

_DECLARED = frozenset(operation_events("training", "forward_backward").stop.measurements) | frozenset(
    operation_events("training", "forward_backward").stop.metadata
)


def result_counts(held: Mapping[str, Any]) -> dict[str, float | int]:
    """Measurements of the end of a call, from what its result holds."""
    counts: dict[str, float | int] = {}
    metrics = held.get("metrics")
    if metrics is not None and isinstance(metrics, Mapping):
        for name, value in metrics.items():
            if isinstance(value, float | int) and name not in _DECLARED:
                counts[name] = value
    sequences = held.get("sequences")
    if sequences is not None:
        counts["sampled_tokens"] = sum(len(tokens) for s in sequences if (tokens := tokens_of(s)) is not None)
        cached = held.get("prompt_cache_hit_tokens")
        if isinstance(cached, int):
            counts["cache_hit_tokens"] = cached
    return counts


def result_names(held: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the end of a call: why each sequence ended, which model or sampler came out."""
    names: dict[str, Any] = {}
    sequences = held.get("sequences")
    if sequences is not None:
        names["stop_reasons"] = [str(instance_dict(sequence).get("stop_reason")) for sequence in sequences]
    for key, attribute in (("model_id", "model_id"), ("sampling_session_id", "_sampling_session_id")):
        if isinstance(value := held.get(attribute), str):
            names[key] = value
    return names


def tokens_of(sequence: Any) -> Any:
    """The sequence's own array or list of tokens; None where it has none."""
    held = instance_dict(sequence)
    for attribute in ("tokens_np", "_tokens_list", "tokens"):
        if (tokens := held.get(attribute)) is not None:
            return tokens
    return None
