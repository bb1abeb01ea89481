"""Runs, checkpoints and sessions by the SDK's RestClient and AdminClient; every path that it sends to."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import tinker
from tests.sim.client import INSTANT, of_kind, trainer
from tinker import types

from tinkertape.sim import Scenario

QUICK = Scenario(compute_s=INSTANT)
JWT = Scenario(compute_s=INSTANT, client_config={"pjwt_auth_enabled": True})


@pytest.fixture
def saved(service_of):
    """A RestClient, and the path of a checkpoint of its session."""
    _, service = service_of(QUICK)
    return tinker.RestClient(service.holder), trainer(service).save_state("one").result(20).path


def checkpoint(rest, path):
    return next(found for found in rest.list_user_checkpoints().result(20).checkpoints if found.tinker_path == path)


def test_a_checkpoint_is_published_and_taken_back(saved):
    rest, path = saved

    rest.publish_checkpoint_from_tinker_path(path).result(20)
    assert checkpoint(rest, path).public
    rest.unpublish_checkpoint_from_tinker_path(path).result(20)
    assert not checkpoint(rest, path).public


def test_a_checkpoint_is_kept_for_a_time_or_for_ever(saved):
    rest, path = saved

    rest.set_checkpoint_ttl_from_tinker_path(path, 7200).result(20)
    assert checkpoint(rest, path).expires_at is not None
    rest.set_checkpoint_ttl_from_tinker_path(path, None).result(20)
    assert checkpoint(rest, path).expires_at is None


def test_a_deleted_checkpoint_is_gone_and_deleting_it_again_is_a_404(saved):
    rest, path = saved

    rest.delete_checkpoint_from_tinker_path(path).result(20)

    assert rest.list_user_checkpoints().result(20).checkpoints == []
    with pytest.raises(tinker.NotFoundError, match="there are no weights"):
        rest.delete_checkpoint_from_tinker_path(path).result(20)


def test_a_copy_of_weights_has_a_run_of_its_own_and_can_be_loaded(saved):
    rest, path = saved

    copied = rest.copy_weights(path, "a-project").result(20)

    assert copied != path
    assert rest.get_training_run_by_tinker_path(copied).result(20).last_checkpoint.tinker_path == copied
    assert rest.get_weights_info_by_tinker_path(copied).result(20).lora_rank == 8


def test_external_weights_have_an_address_a_file_and_are_listed(service_of):
    _, service = service_of(QUICK)
    rest = tinker.RestClient(service.holder)

    path = trainer(service).save_weights_external("for-others").result(20).path

    assert list(rest.get_external_weights_urls(path).result(20).urls) == ["adapter_model.safetensors"]
    assert checkpoint(rest, path).checkpoint_type == "external"


def test_a_list_comes_in_pages(service_of):
    _, service = service_of(QUICK)
    client, rest = trainer(service), tinker.RestClient(service.holder)
    paths = [client.save_state(f"c{number}").result(20).path for number in range(3)]

    page = rest.list_user_checkpoints(limit=2, offset=1).result(20)

    assert [found.tinker_path for found in page.checkpoints] == paths[1:]
    assert (page.cursor.offset, page.cursor.limit, page.cursor.total_count) == (1, 2, 3)


def test_a_session_is_found_moved_and_exported(saved):
    rest, path = saved
    session_id = path.split("/")[2].split(":")[0]

    rest.assign_session_project(session_id, "a-project").result(20)
    with pytest.warns(FutureWarning, match="experimental"):
        [found] = rest.search_sessions(types.SessionSearchRequest(session_id=session_id)).result(20).sessions

    assert (found.project_id, found.checkpoints_count) == ("a-project", 1)
    assert rest.export_session_trace(session_id).result(20).endswith(f"{session_id}.pftrace")
    assert session_id in rest.list_sessions().result(20).sessions


def test_with_jwt_auth_a_key_is_exchanged_and_says_who_asks(service_of):
    sim, service = service_of(JWT)

    who = tinker.RestClient(service.holder).whoami().result(20)

    assert who.user_urn == "tml:user:simulated" and who.org_urn == "tml:organization:simulated"
    assert [line["path"] for line in of_kind(sim, "exchange")].count("/api/v1/auth/token") == 1


def test_usage_and_audit_are_empty(sim_of):
    admin = tinker.AdminClient(base_url=sim_of(QUICK).url, api_key="tml-anything")

    assert admin.get_audit_log().result(20).entries == []
    assert admin.get_billing_usage("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z").result(20).data == []
    assert admin.get_current_checkpoint_storage_usage().result(20).data == []


def test_an_archive_is_a_redirection_as_sdks_up_to_0_35_want_it(wire_of):
    wire = wire_of(QUICK)
    model_id = wire.model()
    promise = wire.http.post("/save_weights", json={"model_id": model_id, "path": "one", "seq_id": 1}).json()
    path = wire.result(promise["request_id"])["path"]

    answer = wire.http.get(f"/training_runs/{model_id}/checkpoints/weights/one/archive")

    assert answer.status_code == 302 and answer.headers["location"].endswith(f"{path[9:]}.tar.gz")


def test_samples_are_polled_for_together_where_the_service_offers_it(service_of, monkeypatch):
    monkeypatch.setenv("TINKER_TELEMETRY", "0")  # the clone's would be sent for a minute after the service is gone
    config = {"sample_use_retrieve_futures": True, "sample_join_sampling_session": True}
    sim, service = service_of(Scenario(compute_s=INSTANT | {"Sample": 0.05}, client_config=config))
    client = trainer(service).save_weights_and_get_sampling_client().result(20)
    clone = pickle.loads(pickle.dumps(client))
    prompt, params = types.ModelInput.from_ints(list(b"the ")), types.SamplingParams(max_tokens=3)

    futures = [sampler.sample(prompt, 1, params) for sampler in (client, client, clone)]
    answers = [future.result(20) for future in futures]

    assert all(len(answer.sequences[0].tokens) == 3 for answer in answers)
    samples = {line["request_id"] for line in of_kind(sim, "accepted", request_type="Sample")}
    fetched = [line["request_id"] for line in of_kind(sim, "exchange") if line["request_id"] in samples]
    paths = [line["path"].removeprefix("/api/v1/") for line in of_kind(sim, "exchange")]
    assert len(samples) == 3 and sorted(fetched) == sorted([*samples, *samples])  # submitted, and fetched once
    assert paths.count("join_sampling_session") == 1 and paths.count("retrieve_futures") >= 2
    assert {line["seq"] // 1_000_000_000 for line in of_kind(sim, "accepted", request_type="Sample")} == {0, 1}


def test_retrieve_futures_is_refused_where_it_is_not_offered(wire_of):
    body = {"target": {"type": "sampling_session", "sampling_session_id": "s", "cloned_sampler_id": 0}}

    answer = wire_of(QUICK).http.post("/retrieve_futures", json=body)

    assert answer.status_code == 404 and "retrieve_futures" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "offset=-1"])
def test_a_page_that_cannot_be_is_refused(wire_of, query):
    assert wire_of(QUICK).http.get(f"/checkpoints?{query}").status_code == 422


def test_every_path_that_the_installed_sdk_sends_to_is_known(wire_of):
    wire = wire_of(QUICK)
    source = [path for path in Path(tinker.__file__).parent.rglob("*.py") if not path.name.endswith("_test.py")]
    literal = re.compile(r'"(/api/v1/[\w/{}.]+)"')
    paths = {re.sub(r"{\w+}", "x", found) for path in source for found in literal.findall(path.read_text())}

    def is_known(path: str) -> bool:
        asked = path.removeprefix("/api/v1")
        answers = [wire.http.request(method, asked) for method in ("GET", "POST", "PUT", "DELETE")]
        return not all("does not know" in answer.text for answer in answers)

    assert len(paths) > 30
    assert [path for path in sorted(paths) if not is_known(path)] == []
