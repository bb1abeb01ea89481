from __future__ import annotations

import pytest
import tinker
from tests.sim.client import INSTANT, TEXT, datum, of_kind, train, trainer
from tinker import types

from tinkertape.sim import Scenario

QUICK = Scenario(compute_s=INSTANT)


def test_the_loss_falls_over_30_steps(service_of):
    _, service = service_of(QUICK)

    losses = train(trainer(service), 30)

    assert losses[-1] < 0.75 * losses[0]
    assert all(later < earlier for earlier, later in zip(losses[::6], losses[6::6], strict=False))


def test_the_same_seed_gives_the_same_losses(service_of):
    runs = [train(trainer(service_of(QUICK)[1]), 4) for _ in range(2)]

    assert runs[0] == runs[1]


def test_the_learning_rate_is_the_clients(service_of):
    _, service = service_of(QUICK)

    still, moving = train(trainer(service), 3, learning_rate=0.0), train(trainer(service), 3)

    assert len(set(still)) == 1
    assert moving[-1] < still[-1]


def test_each_target_has_a_logprob_and_they_add_up_to_the_loss(service_of):
    _, service = service_of(QUICK)

    result = trainer(service).forward([datum(), datum(TEXT[:20])], "cross_entropy").result()

    logprobs = [output["logprobs"].data for output in result.loss_fn_outputs]
    assert [len(values) for values in logprobs] == [len(TEXT) - 1, 19]
    assert result.metrics["loss:sum"] == pytest.approx(-sum(sum(values) for values in logprobs), rel=1e-4)


def test_forward_alone_teaches_nothing(service_of):
    _, service = service_of(QUICK)
    client = trainer(service)

    first = client.forward([datum()], "cross_entropy").result().metrics["loss:sum"]
    client.optim_step(types.AdamParams(learning_rate=0.1)).result()
    second = client.forward([datum()], "cross_entropy").result().metrics["loss:sum"]

    assert first == second


def test_chunks_sent_in_any_order_are_computed_in_the_order_of_their_seq(service_of):
    sim, service = service_of(QUICK)
    client = trainer(service)

    result = client.forward_backward(
        [datum(b"abcd")] * 2500, "cross_entropy"
    ).result()  # three chunks, the first sent last

    started = [line["seq"] for line in of_kind(sim, "started", request_type="ForwardBackward")]
    accepted = [line["seq"] for line in of_kind(sim, "accepted", request_type="ForwardBackward")]
    assert len(result.loss_fn_outputs) == 2500
    assert started == [1, 2, 3]
    assert accepted[-1] == 1


def test_a_checkpoint_brings_the_weights_and_the_optimiser_back(service_of):
    _, service = service_of(QUICK)
    client = trainer(service)
    train(client, 5)
    path = client.save_state("five").result().path
    went_on = train(client, 3)

    resumed = service.create_training_client_from_state_with_optimizer(path).result()
    anew = service.create_training_client_from_state(path).result()

    assert resumed.get_info().lora_rank == 8
    assert train(resumed, 3) == went_on
    first, *rest = train(anew, 3)
    assert first == went_on[0]
    assert rest != went_on[1:]


def test_weights_that_do_not_exist_are_the_users_error(service_of):
    _, service = service_of(QUICK)

    with pytest.raises(tinker.RequestFailedError, match="there are no weights") as raised:
        service.create_training_client_from_state("tinker://nowhere/weights/none").result()

    assert raised.value.category.value == "user"


def test_get_info_says_what_was_asked_for(service_of):
    _, service = service_of(QUICK)

    info = service.create_lora_training_client(base_model="some/base", rank=4).result().get_info()

    assert (info.model_data.model_name, info.lora_rank, info.is_lora) == ("some/base", 4, True)


def test_capabilities_and_checkpoints_are_listed(service_of):
    _, service = service_of(QUICK)
    client = trainer(service)
    path = client.save_state("listed").result().path
    rest = tinker.RestClient(service.holder)

    assert [model.model_name for model in rest.get_server_capabilities().result().supported_models] == [
        QUICK.base_model
    ]
    assert [checkpoint.tinker_path for checkpoint in rest.list_user_checkpoints().result().checkpoints] == [path]


def test_json_bodies_of_earlier_sdks_are_taken_and_answered_in_json(wire_of):
    wire = wire_of(QUICK)
    model_id = wire.model()

    request_id = wire.forward_backward(model_id, seq=1)

    result = wire.result(request_id)
    assert len(result["loss_fn_outputs"][0]["logprobs"]["data"]) == len(TEXT) - 1
    assert result["metrics"]["loss:sum"] > 0


def test_the_same_request_sent_twice_is_one_promise(wire_of):
    wire = wire_of(QUICK)
    model_id = wire.model()

    assert wire.forward_backward(model_id, seq=1) == wire.forward_backward(model_id, seq=1)


def test_a_request_whose_predecessor_never_comes_is_computed_in_the_end(wire_of):
    wire = wire_of(Scenario(compute_s=INSTANT, seq_gap_s=0.05))
    model_id = wire.model()

    wire.result(wire.forward_backward(model_id, seq=3))

    assert [line["seq"] for line in of_kind(wire.sim, "skipped")] == [1]


def test_a_large_result_is_announced_by_its_size_once(wire_of):
    wire = wire_of(Scenario(compute_s=INSTANT, metadata_from_bytes=100))
    request_id = wire.forward_backward(wire.model(), seq=1)

    announced, result = (wire.poll(request_id, allow_metadata_only=True) for _ in range(2))

    assert announced.json() == {"status": "complete_metadata", "response_payload_size": len(result.content)}
    assert "loss_fn_outputs" in result.json()
