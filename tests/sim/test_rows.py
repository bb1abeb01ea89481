"""Every row of the interface (facts/sdk.md §5), in its order, by the bare wire: what must be in its answer."""

from __future__ import annotations

from typing import Any

import pytest
from tests.services import services
from tests.sim.client import INSTANT, Wire

from tinkertape.sim import Scenario

BASE = "simulated/bytes-bigram"
EVERYTHING = Scenario(compute_s=INSTANT, client_config={"sample_use_retrieve_futures": True}, poll_hold_s=0.05)
DATUM = {
    "model_input": {"chunks": [{"type": "encoded_text", "tokens": [1]}]},
    "loss_fn_inputs": {"target_tokens": {"data": [2], "dtype": "int64", "shape": [1]}},
}
BATCH = {"data": [DATUM], "loss_fn": "cross_entropy"}
SAVED = "/training_runs/{model}/checkpoints/weights/one"
EXTERNAL = "/training_runs/{model}/checkpoints/external_weights/out/external_weights_urls"

ROWS: list[tuple[int, str, str, dict[str, Any], str]] = [
    (1, "POST", "/client/config", {"sdk_version": "0.38.0"}, "sample_use_retrieve_futures"),
    (2, "POST", "/client/dynamic_config", {"sdk_version": "0.38.0"}, ""),
    (3, "POST", "/create_session", {"tags": [], "sdk_version": "0.38.0"}, "session_id"),
    (4, "POST", "/session_heartbeat", {"session_id": "{session}"}, "type"),
    (5, "POST", "/telemetry", {"events": []}, "status"),
    (6, "POST", "/create_model", {"session_id": "{session}", "model_seq_id": 7, "base_model": BASE}, "request_id"),
    (7, "POST", "/get_info", {"model_id": "{model}"}, "model_data"),
    (8, "POST", "/forward_backward", {"model_id": "{model}", "forward_backward_input": BATCH}, "request_id"),
    (8, "POST", "/forward", {"model_id": "{model}", "forward_input": BATCH}, "request_id"),
    (9, "POST", "/optim_step", {"model_id": "{model}", "adam_params": {"learning_rate": 0.1}}, "request_id"),
    (10, "POST", "/save_weights", {"model_id": "{model}", "path": "two"}, "request_id"),
    (11, "POST", "/load_weights", {"model_id": "{model}", "path": "{path}", "optimizer": True}, "request_id"),
    (11, "POST", "/load_weights", {"session_id": "{session}", "model_seq_id": 8, "path": "{path}"}, "request_id"),
    (12, "POST", "/save_weights_for_sampler", {"model_id": "{model}", "path": "three"}, "request_id"),
    (12, "POST", "/save_weights_for_sampler", {"model_id": "{model}", "sampling_session_seq_id": 9}, "request_id"),
    (
        13,
        "POST",
        "/create_sampling_session",
        {"session_id": "{session}", "sampling_session_seq_id": 1, "base_model": BASE},
        "sampling_session_id",
    ),
    (14, "GET", "/samplers/{sampler}", {}, "base_model"),
    (
        15,
        "POST",
        "/asample",
        {"sampling_session_id": "{sampler}", "seq_id": 0, "prompt": {"chunks": [{"tokens": [1]}]}},
        "sample_sequence_ids",
    ),
    (16, "POST", "/retrieve_future", {"request_id": "{request}"}, "path"),
    (17, "POST", "/retrieve_futures", {"target": {"sampling_session_id": "{sampler}"}, "timeout": 0}, "cursor"),
    (18, "POST", "/join_sampling_session", {"sampling_session_id": "{sampler}"}, "client_counter"),
    (19, "POST", "/cancel_future", {"request_id": "{request}"}, ""),
    (20, "POST", "/sessions/{session}/finish", {"reason": {"type": "success"}}, ""),
    (21, "POST", "/auth/token", {}, "jwt"),
    (22, "GET", "/get_server_capabilities", {}, "supported_models"),
    (23, "GET", "/healthz", {}, "status"),
    (24, "GET", "/training_runs", {}, "cursor"),
    (25, "GET", "/training_runs/{model}", {}, "training_run_id"),
    (26, "GET", "/training_runs/{model}/checkpoints", {}, "checkpoints"),
    (27, "GET", "/checkpoints", {}, "checkpoints"),
    (27, "GET", "/sessions", {}, "sessions"),
    (27, "GET", "/sessions/{session}", {}, "training_run_ids"),
    (28, "POST", "/weights_info", {"tinker_path": "{path}"}, "base_model"),
    (29, "POST", SAVED + "/publish", {}, ""),
    (29, "DELETE", SAVED + "/publish", {}, ""),
    (29, "PUT", SAVED + "/ttl", {"ttl_seconds": 7200}, ""),
    (29, "DELETE", SAVED, {}, ""),
    (29, "POST", "/copy_weights", {"source_path": "{path}"}, "tinker_path"),
    (29, "PUT", "/sessions/{session}/project", {"project_id": "a-project"}, ""),
    (29, "GET", "/sessions/{session}/trace_export", {}, "url"),
    (29, "POST", "/sessions/search", {}, "sessions"),
    (29, "POST", "/save_weights_external", {"model_id": "{model}", "path": "more"}, "request_id"),
    (29, "POST", "/create_custom_loss", {"session_id": "{session}", "custom_loss_seq_id": 0}, "request_id"),
    (29, "GET", EXTERNAL, {}, "urls"),
    (29, "GET", "/auth/apikey/me", {}, "api_key"),
]


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    """One service for all; each row makes what it needs."""
    with services(tmp_path_factory.mktemp("rows")) as begin:
        client = Wire(begin(EVERYTHING))
        yield client
        client.http.close()


def filled(wanted: Any, made: dict[str, str]) -> Any:
    """A row's path or body, with the ids of what was made for it."""
    if isinstance(wanted, dict):
        return {key: filled(value, made) for key, value in wanted.items()}
    if isinstance(wanted, str):
        for name, value in made.items():
            wanted = wanted.replace(f"{{{name}}}", value)
    return wanted


def furnished(wire: Wire) -> dict[str, str]:
    """A session with a model, a checkpoint, external weights, a sampler and a request that is done."""

    def post(to: str, **body: Any) -> Any:
        return wire.http.post(to, json=body).raise_for_status().json()

    model = wire.model()
    session = model.split(":")[0]
    saving = post("/save_weights", model_id=model, path="one")["request_id"]
    wire.result(post("/save_weights_external", model_id=model, path="out")["request_id"])
    sampling = post("/create_sampling_session", session_id=session, sampling_session_seq_id=0, base_model=BASE)
    made = {"model": model, "session": session, "request": saving, "path": wire.result(saving)["path"]}
    return made | {"sampler": sampling["sampling_session_id"]}


@pytest.mark.parametrize(("row", "method", "path", "body", "key"), ROWS, ids=[f"{row[0]}-{row[2]}" for row in ROWS])
def test_a_row_is_answered_with_what_its_client_needs(wire, row, method, path, body, key):
    made = furnished(wire)

    answer = wire.http.request(method, filled(path, made), json=filled(body, made))

    assert answer.status_code == 200, answer.text
    assert not key or key in answer.json()


def test_no_row_is_left_out():
    assert sorted({row[0] for row in ROWS}) == list(range(1, 30))
