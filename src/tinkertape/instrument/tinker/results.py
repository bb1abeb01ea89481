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

_NAMES = {"model_id": "model_id", "sampling_session_id": "_sampling_session_id"}


def names_and_counts(held: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float | int]]:
    """Metadata and measurements of the end of a call, from what its result holds: why each sequence ended, which model
    or sampler came out; metrics and tokens.
    """
    sequences = held.get("sequences")
    if sequences is not None:
        return _of_sequences(sequences, held.get("prompt_cache_hit_tokens"))
    names = {key: value for key, attribute in _NAMES.items() if isinstance(value := held.get(attribute), str)}
    metrics = held.get("metrics")
    if not isinstance(metrics, Mapping):
        return names, {}
    counted = {
        name: value for name, value in metrics.items() if isinstance(value, float | int) and name not in _DECLARED
    }
    return names, counted


def _of_sequences(sequences: Any, cached: Any) -> tuple[dict[str, Any], dict[str, float | int]]:
    tokens, reasons = 0, []
    for sequence in sequences:
        held = instance_dict(sequence)
        reasons.append(str(held.get("stop_reason")))
        found = _tokens_in(held)
        tokens += 0 if found is None else len(found)
    counts: dict[str, float | int] = {"sampled_tokens": tokens}
    if isinstance(cached, int):
        counts["cache_hit_tokens"] = cached
    return {"stop_reasons": reasons}, counts


def tokens_of(sequence: Any) -> Any:
    """The sequence's own array or list of tokens; None where it has none."""
    return _tokens_in(instance_dict(sequence))


def _tokens_in(held: Mapping[str, Any]) -> Any:
    for attribute in ("tokens_np", "_tokens_list", "tokens"):
        if (tokens := held.get(attribute)) is not None:
            return tokens
    return None
