"""What an answered promise looks like on the wire: protobuf for a client that accepts it, JSON for the others.

Source: the protobuf schema that the SDK ships (`tinker.proto.tinker_public_pb2`), and the JSON that SDKs up to 0.16
read.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence as Items
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinkertape.sim.errors import RequestFailed, SimError
from tinkertape.sim.model import Floats, Outcome
from tinkertape.sim.sampling import Sampled

Result = Outcome | Sampled | dict[str, Any]
JSON, PROTOBUF = "application/json", "application/x-protobuf"
SCHEMA = "tinker.proto.tinker_public_pb2"


@cache
def schema() -> Any:
    """The SDK's protobuf module. Loaded by its path: importing it the usual way imports the whole SDK, 0.9 s.

    Raises `SimError` where the SDK is missing or too old to have one.
    """
    if SCHEMA in sys.modules:
        return sys.modules[SCHEMA]
    package = importlib.util.find_spec("tinker")
    folders = package.submodule_search_locations if package is not None else None
    path = Path(folders[0], "proto", "tinker_public_pb2.py") if folders else None
    if path is None or not path.exists():
        raise SimError("the simulated service needs the Tinker SDK's protobuf schema; pip install 'tinker>=0.18'")
    spec = importlib.util.spec_from_file_location("tinkertape.sim._schema", path)
    if spec is None or spec.loader is None:
        raise SimError(f"cannot load the Tinker SDK's protobuf schema from {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise SimError(f"the Tinker SDK's protobuf schema needs the package protobuf: {error}") from error
    return module


@cache
def decode_error() -> type[Exception]:
    """What protobuf raises for a body that is none."""
    error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    return error


class Payload:
    """A result in the encodings that clients ask for, each made once."""

    def __init__(self, result: Result, *, failed: bool = False) -> None:
        self.failed = failed
        self._result = result
        self._encoded: dict[str, bytes] = {}
        self._has_protobuf = not failed and not isinstance(result, dict)
        self.size = len(self.encode(protobuf=True)[0])

    @classmethod
    def of(cls, result: Result) -> Payload:
        return cls(result)

    @classmethod
    def failure(cls, failure: RequestFailed) -> Payload:
        return cls({"error": failure.message, "category": failure.category}, failed=True)

    def encode(self, *, protobuf: bool) -> tuple[bytes, str]:
        """The body and its content type; protobuf where asked for and where this result has such a form."""
        kind = PROTOBUF if protobuf and self._has_protobuf else JSON
        if kind not in self._encoded:
            self._encoded[kind] = encode_protobuf(self._result) if kind == PROTOBUF else encode_json(self._result)
        return self._encoded[kind], kind


def encode_protobuf(result: Result) -> bytes:
    if isinstance(result, Outcome):
        return _forward_backward_message(result)
    if isinstance(result, Sampled):
        return _sample_message(result)
    raise TypeError(f"{type(result).__name__} has no protobuf form")


def encode_json(result: Result) -> bytes:
    if isinstance(result, Outcome):
        outputs = [{"logprobs": _json_tensor(logprobs)} for logprobs in result.logprobs]
        body: dict[str, Any] = {
            "loss_fn_output_type": "ArrayRecord",
            "loss_fn_outputs": outputs,
            "metrics": result.metrics,
        }
    elif isinstance(result, Sampled):
        body = {
            "type": "sample",
            "sequences": [_json_sequence(s.tokens, s.logprobs, s.stopped) for s in result.sequences],
        }
        if result.prompt_logprobs is not None:
            body["prompt_logprobs"] = [None if np.isnan(score) else float(score) for score in result.prompt_logprobs]
    else:
        body = result
    return json.dumps(body, separators=(",", ":")).encode()


def _forward_backward_message(outcome: Outcome) -> bytes:
    pb = schema()
    message = pb.ForwardBackwardOutput(loss_fn_output_type="ArrayRecord", metrics=outcome.metrics)
    record = message.loss_fn_outputs.add()
    record.num_datums = len(outcome.logprobs)
    tensor = record.fields["logprobs"]
    tensor.dtype = pb.DTYPE_FLOAT32
    tensor.data = np.concatenate(outcome.logprobs).astype(np.float32).tobytes() if outcome.logprobs else b""
    sizes = [4 * len(logprobs) for logprobs in outcome.logprobs]
    tensor.offsets = np.cumsum([0, *sizes]).astype(np.int64).tobytes()
    return bytes(message.SerializeToString())


def _sample_message(sampled: Sampled) -> bytes:
    pb = schema()
    message = pb.SampleResponse()
    for sequence in sampled.sequences:
        message.sequences.add(
            stop_reason=pb.STOP_REASON_STOP if sequence.stopped else pb.STOP_REASON_LENGTH,
            tokens=sequence.tokens.astype(np.int32).tobytes(),
            logprobs=sequence.logprobs.astype(np.float32).tobytes(),
        )
    if sampled.prompt_logprobs is not None:
        message.prompt_logprobs = sampled.prompt_logprobs.astype(np.float32).tobytes()
    return bytes(message.SerializeToString())


def _json_tensor(values: Floats) -> dict[str, Any]:
    return {"data": values.tolist(), "dtype": "float32", "shape": [len(values)]}


def _json_sequence(tokens: Items[int] | np.ndarray, logprobs: Floats, stopped: bool) -> dict[str, Any]:
    reason = "stop" if stopped else "length"
    return {"stop_reason": reason, "tokens": [int(token) for token in tokens], "logprobs": logprobs.tolist()}
