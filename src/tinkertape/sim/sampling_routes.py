"""Sampling: a session over frozen weights, samples, logprobs of a prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request

from tinkertape.sim import bodies
from tinkertape.sim.errors import RequestFailed, RequestRefused
from tinkertape.sim.lines import Line
from tinkertape.sim.payloads import Result
from tinkertape.sim.sampling import Sampled, Sampler
from tinkertape.sim.service import Service, Submission

NOT_SIMULATED = ("topk_prompt_logprobs", "topk_sample_logprobs", "target_prompt_logprobs", "prompt_alt_tokens_k")


def create_sampling_session(service: Service, _request: Request, body: bytes) -> dict[str, Any]:
    wanted = bodies.read_json(body, bodies.CreateSamplingSession)
    sampler_id = f"{wanted.session_id}:sample:{wanted.sampling_session_seq_id}"
    service.shelf.samplers[sampler_id] = _sampler(service, wanted)
    return {"type": "create_sampling_session", "sampling_session_id": sampler_id}


def _sampler(service: Service, wanted: bodies.CreateSamplingSession) -> Sampler:
    path, shelf = wanted.model_path, service.shelf
    if path is None:
        return Sampler(service.base, wanted.base_model or service.scenario.base_model)
    if path in shelf.sampler_weights:
        return shelf.sampler_weights[path]
    if path in shelf.weights:
        return Sampler(shelf.weights[path].logits(), shelf.weights[path].base_model, path)
    raise RequestRefused(404, f"there are no weights {path!r}")


def join_sampling_session(service: Service, _request: Request, body: bytes) -> dict[str, Any]:
    """Another client of a session that there is, in a worker process for instance."""
    session_id = bodies.read_json(body, bodies.JoinSamplingSession).sampling_session_id
    _found(service, session_id)
    counter = service.feeds.join(session_id) if service.feeds is not None else 1
    return {"type": "join_sampling_session", "client_counter": counter}


def sampler(service: Service, request: Request, _body: bytes) -> dict[str, Any]:
    sampler_id = request.path_params["sampler_id"]
    found = _found(service, sampler_id)
    return {"sampler_id": sampler_id, "base_model": found.base_model, "model_path": found.model_path}


def _found(service: Service, sampler_id: str) -> Sampler:
    if sampler_id not in service.shelf.samplers:
        raise RequestRefused(404, f"there is no sampling session {sampler_id!r}")
    return service.shelf.samplers[sampler_id]


def asample(service: Service, request: Request, body: bytes) -> dict[str, Any]:
    wanted = bodies.read_json(body, bodies.Sample)
    wanted.check()
    found = _found(service, wanted.sampling_session_id)
    identity = (wanted.sampling_session_id, object() if wanted.seq_id is None else wanted.seq_id)
    seq = wanted.seq_id or 0

    def work() -> Result:
        return _sample(service, found, wanted)

    session_id, line = wanted.sampling_session_id.split(":")[0], Line(None, first_seq=seq)
    submission = Submission("Sample", session_id, identity, line, seq, work, wanted.tokens())
    promise = service.submit(submission, request.scope["exchange"])
    if service.feeds is not None:
        service.feeds.add(wanted.sampling_session_id, seq, promise)
    numbers = range(wanted.num_samples)
    return {
        "request_id": promise.request_id,
        "sample_sequence_ids": [f"{promise.request_id}:{number}" for number in numbers],  # SDK 0.38 wants one a sample
    }


def _sample(service: Service, found: Sampler, wanted: bodies.Sample) -> Sampled:
    asked = [name for name in NOT_SIMULATED if getattr(wanted, name)]
    if asked:
        raise RequestFailed(f"the simulated service does not do {asked[0]}")
    prompt = bodies.prompt_tokens(wanted.prompt.chunks)
    bodies.check_tokens(prompt, service.scenario.vocabulary, "the prompt")
    seed = wanted.sampling_params.seed
    ordinal = [
        service.scenario.seed,
        list(service.shelf.samplers).index(wanted.sampling_session_id),
        wanted.seq_id or 0,
    ]
    rng = np.random.default_rng(ordinal if seed is None else seed)
    sequences = found.sample(prompt, wanted.num_samples, bodies.sampling(wanted.sampling_params), rng)
    scores = found.prompt_logprobs(prompt, wanted.prompt_logprobs_last_n) if wanted.prompt_logprobs else None
    return Sampled(sequences, scores)


ROUTES: dict[tuple[str, str], Callable[[Service, Request, bytes], dict[str, Any]]] = {
    ("POST", "/create_sampling_session"): create_sampling_session,
    ("POST", "/join_sampling_session"): join_sampling_session,
    ("POST", "/asample"): asample,
    ("GET", "/samplers/{sampler_id}"): sampler,
}
