"""Requests as they come over the wire, read into values. Unknown keys are welcome: each SDK version sends its own.

Raises `RequestRefused` for a body that cannot be read, or wants samples that nobody could make, and `RequestFailed`
(category user) for one that asks for something wrong; the real service, too, finds the latter only when it computes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np

from tinkertape.sim.errors import RequestFailed, RequestRefused
from tinkertape.sim.model import Example, Integers
from tinkertape.sim.payloads import PROTOBUF, decode_error, schema
from tinkertape.sim.sampling import DEFAULT_MAX_TOKENS, Sampling

SAMPLED_MAX = 1_000_000  # tokens of one request


class CreateSession(msgspec.Struct, frozen=True):
    sdk_version: str = ""


class Lora(msgspec.Struct, frozen=True):
    rank: int = 32


class CreateModel(msgspec.Struct, frozen=True):
    session_id: str
    model_seq_id: int
    base_model: str
    lora_config: Lora | None = None


class OfModel(msgspec.Struct, frozen=True):
    """get_info, and the head of the other training requests."""

    model_id: str
    seq_id: int | None = None


class OptimStep(OfModel, frozen=True):
    adam_params: dict[str, Any] | None = None
    optimizer_params: dict[str, Any] | None = None


class SaveWeights(OfModel, frozen=True):
    path: str | None = None
    sampling_session_seq_id: int | None = None


class LoadWeights(msgspec.Struct, frozen=True):
    path: str
    optimizer: bool = False
    model_id: str | None = None
    seq_id: int | None = None
    session_id: str | None = None
    model_seq_id: int | None = None


class CreateSamplingSession(msgspec.Struct, frozen=True):
    session_id: str
    sampling_session_seq_id: int
    base_model: str | None = None
    model_path: str | None = None


class SamplingParams(msgspec.Struct, frozen=True):
    max_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str | int] | None = None
    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0


class ModelInput(msgspec.Struct, frozen=True):
    chunks: list[dict[str, Any]]


class Sample(msgspec.Struct, frozen=True):
    prompt: ModelInput
    sampling_session_id: str
    sampling_params: SamplingParams = SamplingParams()
    seq_id: int | None = None
    num_samples: int = 1
    prompt_logprobs: bool | None = None
    prompt_logprobs_last_n: int | None = None
    topk_prompt_logprobs: int = 0
    topk_sample_logprobs: int = 0
    target_prompt_logprobs: Any = None
    prompt_alt_tokens_k: int = 0

    def tokens(self) -> int:
        """Of the prompt, and as many as may be sampled."""
        each = sampling(self.sampling_params).max_tokens
        return _length({"chunks": self.prompt.chunks}) + self.num_samples * each

    def check(self) -> None:
        """Raises `RequestRefused` for what no service samples, or this one not in a lifetime."""
        how = sampling(self.sampling_params)
        for name, value, least, most in (
            ("num_samples", self.num_samples, 1, SAMPLED_MAX),
            ("max_tokens", how.max_tokens, 0, SAMPLED_MAX // self.num_samples if self.num_samples > 0 else 0),
            ("temperature", how.temperature, 0, math.inf),
        ):
            if not least <= value <= most:
                raise RequestRefused(422, f"{name} is {value}; allowed is {least} to {most}")


class RetrieveFuture(msgspec.Struct, frozen=True):
    request_id: str
    allow_metadata_only: bool = False


class SamplingSessionTarget(msgspec.Struct, frozen=True):
    sampling_session_id: str
    cloned_sampler_id: int = 0


class RetrieveFutures(msgspec.Struct, frozen=True):
    target: SamplingSessionTarget
    prev_cursor: int = 0
    timeout: float | None = None


class JoinSamplingSession(msgspec.Struct, frozen=True):
    sampling_session_id: str


class OfSession(msgspec.Struct, frozen=True):
    session_id: str


class OfPath(msgspec.Struct, frozen=True):
    tinker_path: str


class OfProject(msgspec.Struct, frozen=True):
    project_id: str


class TimeToLive(msgspec.Struct, frozen=True):
    ttl_seconds: int | None = None


class CopyWeights(msgspec.Struct, frozen=True):
    source_path: str


class CreateCustomLoss(msgspec.Struct, frozen=True):
    session_id: str
    custom_loss_seq_id: int


class SearchSessions(msgspec.Struct, frozen=True):
    session_id: str | None = None
    limit: int = 50


Wanted = TypeVar("Wanted")


def read_json(body: bytes, kind: type[Wanted]) -> Wanted:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(422, f"cannot read this body: {error}") from error


@dataclass(frozen=True)
class Datum:
    tokens: Integers
    inputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class ForwardBackward:
    model_id: str
    seq_id: int | None
    forward_only: bool
    loss_fn: str
    config: dict[str, float]
    raw: Any  # the datums, still as the wire has them: they are read when the request is computed

    def tokens(self) -> int:
        """How many there are to read."""
        if isinstance(self.raw, list):
            return sum(_length(datum.get("model_input")) for datum in self.raw if isinstance(datum, dict))
        return sum(len(chunk.encoded_text.tokens) // 4 for datum in self.raw for chunk in datum.model_input)

    def datums(self) -> list[Datum]:
        read = _json_datum if isinstance(self.raw, list) else _protobuf_datum
        return [read(datum) for datum in self.raw]


def read_forward_backward(body: bytes, content_type: str, *, forward_only: bool) -> ForwardBackward:
    """Protobuf (SDK 0.25 and later), or JSON with `forward_backward_input` or `forward_input` (earlier)."""
    if PROTOBUF in content_type:
        message = schema().ForwardBackwardRequest()
        try:
            message.ParseFromString(body)
        except decode_error() as error:
            raise RequestRefused(422, f"cannot read this protobuf body: {error}") from error
        only = forward_only or message.forward_only
        config = {key: float(value) for key, value in message.loss_fn_config.items()}
        return ForwardBackward(message.model_id, message.seq_id, only, message.loss_fn, config, message.data)
    fields = read_json(body, dict[str, Any])
    given = fields.get("forward_backward_input") or fields.get("forward_input")
    model_id, seq_id = fields.get("model_id"), fields.get("seq_id")
    if not (isinstance(given, dict) and isinstance(model_id, str) and isinstance(seq_id, int | None)):
        raise RequestRefused(422, "cannot read this body: it needs model_id and forward_backward_input")
    options, raw = _dict(given.get("loss_fn_config")), given.get("data")
    numbers = {key: value for key, value in options.items() if isinstance(value, (int, float))}
    loss_fn, datums = str(given.get("loss_fn")), raw if isinstance(raw, list) else []
    return ForwardBackward(model_id, seq_id, forward_only, loss_fn, numbers, datums)


def _dict(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def _length(model_input: Any) -> int:
    """Tokens of what may be no model input: that is found when it is computed."""
    chunks = _dict(model_input).get("chunks")
    tokens = [_dict(chunk).get("tokens") for chunk in chunks] if isinstance(chunks, list) else []
    return sum(len(each) for each in tokens if isinstance(each, list))


def _protobuf_datum(message: Any) -> Datum:
    pieces = []
    for chunk in message.model_input:
        if chunk.WhichOneof("chunk") != "encoded_text":
            raise RequestFailed("the simulated service reads text only")
        pieces.append(np.frombuffer(chunk.encoded_text.tokens, np.int32))
    kinds = {schema().DTYPE_FLOAT32: np.float32, schema().DTYPE_INT64: np.int64}
    inputs = {}
    for name, tensor in message.loss_fn_inputs.items():
        if tensor.HasField("sparse_csr") or tensor.dtype not in kinds:
            raise RequestFailed(f"the simulated service reads dense float32 and int64 inputs only; {name!r} is another")
        inputs[name] = np.frombuffer(tensor.dense, kinds[tensor.dtype])
    return Datum(np.concatenate(pieces).astype(np.int64) if pieces else np.zeros(0, np.int64), inputs)


def _json_datum(fields: dict[str, Any]) -> Datum:
    try:
        inputs = {name: np.asarray(given["data"]) for name, given in (fields.get("loss_fn_inputs") or {}).items()}
        return Datum(prompt_tokens(fields["model_input"]["chunks"]), inputs)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RequestFailed(f"cannot read this datum: {type(error).__name__}: {error}") from error


def prompt_tokens(chunks: list[dict[str, Any]]) -> Integers:
    if any("tokens" not in chunk for chunk in chunks):
        raise RequestFailed("the simulated service reads text only")
    try:
        return np.array([int(token) for chunk in chunks for token in chunk["tokens"]], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestFailed(f"tokens are whole numbers: {error}") from error


def examples(datums: list[Datum], vocabulary: int, max_tokens: int) -> list[Example]:
    """Datums made ready for the model. Raises `RequestFailed` for what a user gets wrong: lengths, tokens, missing
    targets.
    """
    if not datums:
        raise RequestFailed("there is no datum in this request")
    return [_example(number, datum, vocabulary, max_tokens) for number, datum in enumerate(datums)]


def _example(number: int, datum: Datum, vocabulary: int, max_tokens: int) -> Example:
    length = len(datum.tokens)
    if length > max_tokens:
        raise RequestFailed(f"datum {number} has {length} tokens, more than the {max_tokens} that this model takes")
    if "target_tokens" not in datum.inputs:
        raise RequestFailed(f"datum {number} has no target_tokens")
    wrong = [name for name, values in datum.inputs.items() if np.size(values) != length]
    if wrong:
        size = np.size(datum.inputs[wrong[0]])
        raise RequestFailed(f"datum {number} has {length} tokens but {size} {wrong[0]}")
    targets = datum.inputs["target_tokens"].astype(np.int64).reshape(-1)
    check_tokens(datum.tokens, vocabulary, f"datum {number}")
    check_tokens(targets, vocabulary, f"datum {number}'s target_tokens")
    numbers = {
        name: values.astype(np.float64).reshape(-1) for name, values in datum.inputs.items() if name != "target_tokens"
    }
    return Example(datum.tokens, targets, numbers)


def check_tokens(tokens: Integers, vocabulary: int, where: str) -> None:
    strange = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if len(strange):
        raise RequestFailed(f"{where}: token {strange[0]} is not in this model's vocabulary, 0 to {vocabulary - 1}")


def sampling(params: SamplingParams) -> Sampling:
    stop = [params.stop] if isinstance(params.stop, str) else list(params.stop or ())
    return Sampling(
        max_tokens=DEFAULT_MAX_TOKENS if params.max_tokens is None else params.max_tokens,
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        stop_texts=tuple(text.encode() for text in stop if isinstance(text, str)),
        stop_tokens=tuple(token for token in stop if isinstance(token, int)),
    )
