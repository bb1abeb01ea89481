"""Prompts and tokens themselves, for who asked for them: `install(content=True)`. Else none is ever looked at.

One event `tinker.content` a prompt, a datum or a sampled sequence, beside the operation whose `operation_id` it has.
Threads  those of the operations: the caller's for what is handed over, the SDK's loop for what comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinkertape.events import CONTENT
from tinkertape.guard import guard
from tinkertape.instrument.tinker.arguments import WITH_DATA, WITH_PROMPT, argument
from tinkertape.instrument.tinker.flight import Operation, call_of
from tinkertape.instrument.tinker.futures import instance_dict
from tinkertape.instrument.tinker.results import tokens_of

is_wanted = False  # set by `install`


@guard("instrument.tinker.content")
def tell_arguments(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The tokens of each datum, or of the prompt."""
    if operation.name in WITH_PROMPT:
        _tell(operation, "prompt", 0, _input_tokens(argument(args, kwargs, 0, "prompt")))
    elif operation.name in WITH_DATA:
        data = argument(args, kwargs, 0, "data")
        for number, datum in enumerate(data if isinstance(data, Sequence) else ()):
            _tell(operation, "datum", number, _input_tokens(getattr(datum, "model_input", None)))


@guard("instrument.tinker.content")
def tell_result(operation: Operation, result: Any) -> None:
    """The tokens of each sequence that was sampled."""
    for number, sequence in enumerate(instance_dict(result).get("sequences") or ()):
        if (tokens := tokens_of(sequence)) is not None:
            _tell(operation, "sequence", number, [int(token) for token in tokens])


def _tell(operation: Operation, role: str, number: int, tokens: list[int]) -> None:
    if CONTENT.handlers:
        told = {**call_of(operation), "role": role, "number": number, "tokens": tokens}
        CONTENT.execute({"count": len(tokens)}, told)


def _input_tokens(model_input: Any) -> list[int]:
    """Of the text; an image has none here."""
    chunks = getattr(model_input, "chunks", ())
    return [int(token) for chunk in chunks for token in getattr(chunk, "tokens", None) or ()]
