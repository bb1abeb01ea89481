"""Runs and checkpoints as the SDK's RestClient sees them: listed, published, kept for a time, copied, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from starlette.requests import Request

from tinkertape.sim import bodies
from tinkertape.sim.errors import RequestRefused
from tinkertape.sim.lines import Line
from tinkertape.sim.model import BigramModel
from tinkertape.sim.service import Service
from tinkertape.sim.shelf import Run

BEGAN = "2026-01-01T00:00:00Z"  # the SDK wants a time where runs and checkpoints are listed; nobody compares it
RUN = "/training_runs/{run_id}"
CHECKPOINT = RUN + "/checkpoints/{checkpoint_id:path}"
ELSEWHERE = "https://storage.invalid/"  # a signed address, where the real service keeps files; nobody follows it
LIMIT = 100  # entries in a list, when the client does not say

Listed = TypeVar("Listed")
Answer = dict[str, Any]


def training_runs(service: Service, request: Request, _body: bytes) -> Answer:
    runs, cursor = page(request, [_run(service, model_id, run) for model_id, run in service.shelf.runs.items()])
    return {"training_runs": runs, "cursor": cursor}


def training_run(service: Service, request: Request, _body: bytes) -> Answer:
    return _run(service, request.path_params["run_id"], service.run(request.path_params["run_id"]))


def _run(service: Service, model_id: str, run: Run) -> Answer:
    facts = {"base_model": run.model.base_model, "is_lora": True, "lora_rank": run.model.lora_rank}
    newest = {
        checkpoint["checkpoint_type"]: checkpoint for checkpoint in _checkpoints(service, f"tinker://{model_id}/")
    }
    facts |= {"last_checkpoint": newest.get("training"), "last_sampler_checkpoint": newest.get("sampler")}
    return {"training_run_id": model_id, "model_owner": "you", "last_request_time": BEGAN, "corrupted": False, **facts}


def checkpoints_of_run(service: Service, request: Request, _body: bytes) -> Answer:
    run_id = request.path_params["run_id"]
    service.run(run_id)
    return {"checkpoints": list(_checkpoints(service, f"tinker://{run_id}/"))}


def checkpoints(service: Service, request: Request, _body: bytes) -> Answer:
    found, cursor = page(request, list(_checkpoints(service, "tinker://")))
    return {"checkpoints": found, "cursor": cursor}


def page(request: Request, listed: list[Listed]) -> tuple[list[Listed], dict[str, int]]:
    """The part of a list that `limit` and `offset` ask for, and where it stands in the whole."""
    asked = request.query_params
    try:
        limit, offset = int(asked.get("limit", LIMIT)), int(asked.get("offset", 0))
    except ValueError as error:
        raise RequestRefused(422, "limit and offset are whole numbers") from error
    if limit < 0 or offset < 0:
        raise RequestRefused(422, "limit and offset are not negative")
    return listed[offset : offset + limit], {"offset": offset, "limit": limit, "total_count": len(listed)}


def _checkpoints(service: Service, prefix: str) -> Iterator[Answer]:
    shelf = service.shelf
    kinds = [("training", path) for path in shelf.weights]
    kinds += [("sampler", path) for path in shelf.sampler_weights]
    kinds += [("external", path) for path in shelf.external_weights]
    for kind, path in kinds:
        if path.startswith(prefix):
            facts = {"checkpoint_id": path.split("/", 3)[3], "checkpoint_type": kind, "time": BEGAN}
            kept = {"public": path in shelf.public, "expires_at": shelf.expires.get(path), "size_bytes": 1}
            yield {**facts, "tinker_path": path, **kept}


def weights_info(service: Service, _request: Request, body: bytes) -> Answer:
    path = bodies.read_json(body, bodies.OfPath).tinker_path
    if path not in service.shelf.weights:
        raise RequestRefused(404, f"there are no weights {path!r}")
    model = service.shelf.weights[path]
    return {"base_model": model.base_model, "is_lora": True, "lora_rank": model.lora_rank}


def _path(service: Service, request: Request) -> str:
    """The checkpoint that an address names."""
    path = f"tinker://{request.path_params['run_id']}/{request.path_params['checkpoint_id']}"
    if not service.shelf.has(path):
        raise RequestRefused(404, f"there are no weights {path!r}")
    return path


def delete(service: Service, request: Request, _body: bytes) -> Answer:
    service.shelf.drop(_path(service, request))
    return {}


def publish(service: Service, request: Request, _body: bytes) -> Answer:
    service.shelf.public.add(_path(service, request))
    return {}


def unpublish(service: Service, request: Request, _body: bytes) -> Answer:
    service.shelf.public.discard(_path(service, request))
    return {}


def keep_for(service: Service, request: Request, body: bytes) -> Answer:
    """A time to live, or none. It is told again where checkpoints are listed; nothing expires here."""
    path, ttl_s = _path(service, request), bodies.read_json(body, bodies.TimeToLive).ttl_seconds
    if ttl_s is None:
        service.shelf.expires.pop(path, None)
    else:
        service.shelf.expires[path] = (datetime.now(UTC) + timedelta(seconds=ttl_s)).isoformat()
    return {}


def external_weights_urls(service: Service, request: Request, _body: bytes) -> Answer:
    path = _path(service, request)
    if path not in service.shelf.external_weights:
        raise RequestRefused(400, f"{path!r} is no external checkpoint")
    name = path.removeprefix("tinker://")
    return {"urls": {"adapter_model.safetensors": f"{ELSEWHERE}{name}"}, "expires": BEGAN}


def archive_url(service: Service, request: Request) -> str:
    """Where a checkpoint's archive lies: SDKs up to 0.35 are redirected there, and do not follow."""
    return f"{ELSEWHERE}{_path(service, request).removeprefix('tinker://')}.tar.gz"


def copy_weights(service: Service, _request: Request, body: bytes) -> Answer:
    """A run is made that holds the copy, as the real service does it."""
    source, shelf = bodies.read_json(body, bodies.CopyWeights).source_path, service.shelf
    if source not in shelf.weights and source not in shelf.sampler_weights:
        raise RequestRefused(404, f"there are no weights {source!r}")
    run_id = f"{service.new_session()}:copy:0"
    path = f"tinker://{run_id}/{source.split('/', 3)[3]}"
    if source in shelf.weights:
        model = shelf.weights[path] = shelf.weights[source].copy(optimizer=True)
    else:
        shelf.sampler_weights[path] = shelf.sampler_weights[source]
        model = BigramModel(service.base, base_model=shelf.sampler_weights[source].base_model)
    shelf.runs[run_id] = Run(model, Line(run_id))
    return {"tinker_path": path}


ROUTES: dict[tuple[str, str], Callable[[Service, Request, bytes], Answer]] = {
    ("GET", "/training_runs"): training_runs,
    ("GET", RUN): training_run,
    ("GET", RUN + "/checkpoints"): checkpoints_of_run,
    ("GET", CHECKPOINT + "/external_weights_urls"): external_weights_urls,
    ("DELETE", CHECKPOINT + "/publish"): unpublish,
    ("POST", CHECKPOINT + "/publish"): publish,
    ("PUT", CHECKPOINT + "/ttl"): keep_for,
    ("DELETE", CHECKPOINT): delete,
    ("GET", "/checkpoints"): checkpoints,
    ("POST", "/weights_info"): weights_info,
    ("POST", "/copy_weights"): copy_weights,
}
