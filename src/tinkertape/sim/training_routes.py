"""Training: create a model, forward_backward, optim_step, save and load; and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from tinkertape.sim import bodies
from tinkertape.sim.errors import RequestFailed, RequestRefused
from tinkertape.sim.lines import Line
from tinkertape.sim.model import BigramModel
from tinkertape.sim.payloads import Result
from tinkertape.sim.sampling import Sampler
from tinkertape.sim.service import Service, Submission
from tinkertape.sim.shelf import Run


def promised(service: Service, request: Request, submission: Submission) -> dict[str, Any]:
    promise = service.submit(submission, request.scope["exchange"])
    return {"request_id": promise.request_id, "model_id": promise.line.model_id}


def create_model(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    wanted = bodies.read_json(body, bodies.CreateModel)
    model_id = f"{wanted.session_id}:train:{wanted.model_seq_id}"
    rank = wanted.lora_config.rank if wanted.lora_config else 0
    run = _new_run(service, model_id, BigramModel(service.base, rank, wanted.base_model))
    work: Callable[[], Result] = lambda: {"model_id": model_id}  # noqa: E731 - a promise's work, like the others below
    return promised(service, request, Submission("CreateModel", wanted.session_id, model_id, run.line, 0, work))


def _new_run(service: Service, model_id: str, model: BigramModel) -> Run:
    return service.shelf.runs.setdefault(model_id, Run(model, Line(model_id)))


def get_info(service: Service, _request: Request, body: bytes) -> dict[str, Any]:
    model_id = bodies.read_json(body, bodies.OfModel).model_id
    model = service.run(model_id).model
    described = {"arch": "bigram", "model_name": model.base_model, "tokenizer_id": None}
    facts = {"is_lora": True, "lora_rank": model.lora_rank, "model_name": model.base_model}
    return {"type": "get_info", "model_id": model_id, "model_data": described, **facts}


def forward_backward(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    return _forward(service, request, body, forward_only=False)


def forward(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    return _forward(service, request, body, forward_only=True)


def _forward(service: Service, request: Request, body: bytes, *, forward_only: bool) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "")
    wanted = bodies.read_forward_backward(body, content_type, forward_only=forward_only)
    run, scenario = service.run(wanted.model_id), service.scenario

    def work() -> Result:
        examples = bodies.examples(wanted.datums(), scenario.vocabulary, scenario.max_datum_tokens)
        return run.model.forward(examples, wanted.loss_fn, wanted.config, backward=not wanted.forward_only)

    request_type = "Forward" if wanted.forward_only else "ForwardBackward"
    return promised(service, request, _in_line(request_type, run, wanted.seq_id, work, wanted.tokens()))


def _in_line(request_type: str, run: Run, seq: int | None, work: Callable[[], Result], tokens: int = 0) -> Submission:
    identity = (run.line.model_id, object() if seq is None else seq)  # without a seq, nothing tells a repetition
    return Submission(request_type, str(run.line.model_id).split(":")[0], identity, run.line, seq, work, tokens)


def optim_step(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    wanted = bodies.read_json(body, bodies.OptimStep)
    run = service.run(wanted.model_id)
    given = wanted.adam_params or wanted.optimizer_params or {}
    params = {name: float(value) for name, value in given.items() if isinstance(value, (int, float))}
    return promised(
        service, request, _in_line("OptimStep", run, wanted.seq_id, lambda: {"metrics": run.model.optim_step(params)})
    )


def save_weights(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    wanted = bodies.read_json(body, bodies.SaveWeights)
    run = service.run(wanted.model_id)
    path = f"tinker://{wanted.model_id}/weights/{wanted.path or f'checkpoint-{wanted.seq_id}'}"

    def work() -> Result:
        service.shelf.weights[path] = run.model.copy(optimizer=True)
        return {"path": path}

    return promised(service, request, _in_line("SaveWeights", run, wanted.seq_id, work))


def save_weights_for_sampler(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    wanted = bodies.read_json(body, bodies.SaveWeights)
    run, shelf = service.run(wanted.model_id), service.shelf
    session_id = wanted.model_id.rsplit(":train:", 1)[0]

    def work() -> Result:
        if wanted.path is None:
            sampler_id = f"{session_id}:sample:{wanted.sampling_session_seq_id}"
            shelf.samplers[sampler_id] = Sampler(run.model.logits(), run.model.base_model)
            return {"sampling_session_id": sampler_id}
        path = f"tinker://{wanted.model_id}/sampler_weights/{wanted.path}"
        shelf.sampler_weights[path] = Sampler(run.model.logits(), run.model.base_model, path)
        return {"path": path}

    return promised(service, request, _in_line("SaveWeightsForSampler", run, wanted.seq_id, work))


def load_weights(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    """Into a model that exists, or (SDK 0.24 and later) a new model made of a checkpoint."""
    wanted = bodies.read_json(body, bodies.LoadWeights)
    if wanted.model_id is not None:
        run, seq = service.run(wanted.model_id), wanted.seq_id
    elif wanted.session_id is not None and wanted.model_seq_id is not None:
        model_id = f"{wanted.session_id}:train:{wanted.model_seq_id}"
        run, seq = _new_run(service, model_id, BigramModel(service.base)), 0
    else:
        raise RequestRefused(422, "load_weights needs model_id, or session_id and model_seq_id")

    def work() -> Result:
        if wanted.path not in service.shelf.weights:
            raise RequestFailed(f"there are no weights {wanted.path!r}")
        run.model = service.shelf.weights[wanted.path].copy(optimizer=wanted.optimizer)
        return {"path": wanted.path, "model_id": run.line.model_id}

    if wanted.model_id is None and wanted.path in service.shelf.weights:
        run.model.base_model = service.shelf.weights[
            wanted.path
        ].base_model  # get_info may come before the load is done
    return promised(service, request, _in_line("LoadWeights", run, seq, work))


def save_weights_external(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    wanted = bodies.read_json(body, bodies.SaveWeights)
    run = service.run(wanted.model_id)
    path = f"tinker://{wanted.model_id}/external_weights/{wanted.path}"

    def work() -> Result:
        service.shelf.external_weights.add(path)
        return {"path": path}

    return promised(service, request, _in_line("SaveWeightsExternal", run, wanted.seq_id, work))


def create_custom_loss(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    """Taken, and never run: training with a loss of the service's is not simulated."""
    wanted = bodies.read_json(body, bodies.CreateCustomLoss)
    loss_id = f"{wanted.session_id}:loss:{wanted.custom_loss_seq_id}"
    submission = Submission("CreateCustomLoss", wanted.session_id, loss_id, Line(None), 0, lambda: {"loss_id": loss_id})
    return promised(service, request, submission)


ROUTES: dict[tuple[str, str], Callable[[Service, Request, bytes], dict[str, Any]]] = {
    ("POST", "/create_model"): create_model,
    ("POST", "/get_info"): get_info,
    ("POST", "/forward_backward"): forward_backward,
    ("POST", "/forward"): forward,
    ("POST", "/optim_step"): optim_step,
    ("POST", "/save_weights"): save_weights,
    ("POST", "/save_weights_for_sampler"): save_weights_for_sampler,
    ("POST", "/save_weights_external"): save_weights_external,
    ("POST", "/load_weights"): load_weights,
    ("POST", "/create_custom_loss"): create_custom_loss,
}
