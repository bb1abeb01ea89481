"""What the tests of the simulated service share: batches, a training loop, and a client of the bare wire."""

from __future__ import annotations

from typing import Any

import httpx
import tinker
from tinker import types

from tinkertape.sim import Sim
from tinkertape.sim.faults import RequestType

TEXT = b"the cat sat on the mat and the dog ate the hat. then the cat ate the dog. "
INSTANT: dict[RequestType, float] = {
    "CreateModel": 0.001,
    "ForwardBackward": 0.002,
    "Forward": 0.002,
    "OptimStep": 0.001,
    "SaveWeights": 0.001,
    "LoadWeights": 0.001,
    "SaveWeightsForSampler": 0.001,
    "Sample": 0.002,
}


def datum(text: bytes = TEXT) -> types.Datum:
    tokens = list(text)
    inputs: Any = {"target_tokens": tokens[1:], "weights": [1.0] * (len(tokens) - 1)}
    return types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs)


def trainer(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return service.create_lora_training_client(base_model="simulated/bytes-bigram", rank=8).result()


def train(client: tinker.TrainingClient, steps: int, learning_rate: float = 1e-3) -> list[float]:
    """Steps as the SDK's documentation wants them, pipelined; the loss of each."""
    losses = []
    for _ in range(steps):
        forward_backward = client.forward_backward([datum()], "cross_entropy")
        optim_step = client.optim_step(types.AdamParams(learning_rate=learning_rate))
        losses.append(forward_backward.result(20).metrics["loss:sum"])
        optim_step.result(20)
    return losses


def of_kind(sim: Sim, what: str, **wanted: object) -> list[dict[str, Any]]:
    """The truth's lines of one kind, with these values."""
    return [line for line in sim.truth_lines() if line["what"] == what and wanted.items() <= line.items()]


class Wire:
    """A client without an SDK: JSON requests, as SDKs up to 0.16 sent them, and polls one by one."""

    def __init__(self, sim: Sim) -> None:
        self.sim = sim
        self.http = httpx.Client(base_url=f"{sim.url}/api/v1", headers={"x-api-key": "tml-anything"}, timeout=40)

    def post(self, path: str, **body: Any) -> Any:
        return self.http.post(path, json=body).raise_for_status().json()

    def model(self) -> str:
        session_id = self.post("/create_session", tags=[], sdk_version="0.16.1")["session_id"]
        promise = self.post("/create_model", session_id=session_id, model_seq_id=0, base_model="simulated/bytes-bigram")
        return str(self.result(promise["request_id"])["model_id"])

    def forward_backward(self, model_id: str, seq: int, text: bytes = TEXT) -> str:
        """Submit, and return the request's id."""
        tokens = list(text)
        targets = {"data": tokens[1:], "dtype": "int64", "shape": [len(tokens) - 1]}
        given = {"model_input": {"chunks": [{"type": "encoded_text", "tokens": tokens[:-1]}]}}
        batch = {"data": [given | {"loss_fn_inputs": {"target_tokens": targets}}], "loss_fn": "cross_entropy"}
        return str(
            self.post("/forward_backward", forward_backward_input=batch, model_id=model_id, seq_id=seq)["request_id"]
        )

    def poll(self, request_id: str, **more: Any) -> httpx.Response:
        return self.http.post("/retrieve_future", json={"request_id": request_id, **more})

    def result(self, request_id: str) -> Any:
        while (answer := self.poll(request_id)).status_code == 408:
            pass
        return answer.raise_for_status().json()
