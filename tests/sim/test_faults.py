from __future__ import annotations

import pytest
import tinker
from tests.sim.client import INSTANT, datum, of_kind, train, trainer
from tinker import types

from tinkertape.sim import FutureFault, PollFault, Scenario, SubmitFault


def test_a_submit_refused_with_503_is_sent_again_and_counted_once(service_of):
    fault = SubmitFault(nth=2, status=503, times=2, retry_after_s=0.05)
    sim, service = service_of(Scenario(compute_s=INSTANT, submit_faults=(fault,)))

    losses = train(trainer(service), 3)

    assert len(losses) == 3
    assert [(line["nth"], line["status"], line["attempt"]) for line in of_kind(sim, "fault")] == [
        (2, 503, 1),
        (2, 503, 2),
    ]
    assert [line["nth"] for line in of_kind(sim, "accepted", request_type="ForwardBackward")] == [1, 2, 3]


def test_a_sample_refused_with_429_is_sent_again(service_of):
    fault = SubmitFault(nth=1, status=429, request_type="Sample")
    sim, service = service_of(Scenario(compute_s=INSTANT, submit_faults=(fault,)))
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()

    prompt = types.ModelInput.from_ints([97])
    response = sampler.sample(prompt, 1, types.SamplingParams(max_tokens=2)).result(20)

    assert len(response.sequences) == 1
    assert [line["status"] for line in of_kind(sim, "fault")] == [429]


@pytest.mark.parametrize("category", ["user", "server", "unknown"])
def test_a_failed_request_has_its_category_and_training_goes_on(service_of, category):
    fault = FutureFault(nth=1, category=category, message="so it goes")
    sim, service = service_of(Scenario(compute_s=INSTANT, future_faults=(fault,)))
    client = trainer(service)

    with pytest.raises(tinker.RequestFailedError, match="so it goes") as raised:
        client.forward_backward([datum()], "cross_entropy").result()

    assert raised.value.category.value == category
    assert len(train(client, 2)) == 2
    [line] = of_kind(sim, "fault")
    assert (line["kind"], line["category"], line["injected"]) == ("future", category, True)


def test_polls_answered_500_are_polled_again(service_of):
    fault = PollFault(nth=1, status=500, times=2, request_type="OptimStep")
    sim, service = service_of(Scenario(compute_s=INSTANT, poll_faults=(fault,)))

    train(trainer(service), 1)

    assert [(line["kind"], line["attempt"]) for line in of_kind(sim, "fault")] == [("poll", 1), ("poll", 2)]
    [answered] = of_kind(sim, "answered", request_type="OptimStep")
    assert answered["polls"] == 3


def test_a_submit_refused_for_good_does_not_hold_up_those_behind_it(wire_of):
    wire = wire_of(Scenario(compute_s=INSTANT, submit_faults=(SubmitFault(nth=1, status=400),)))
    model_id = wire.model()

    with pytest.raises(Exception, match="400"):
        wire.forward_backward(model_id, seq=1)
    wire.result(wire.forward_backward(model_id, seq=2))

    assert not of_kind(wire.sim, "skipped")


WRONG = {
    "more than the 10 that this model takes": datum(b"twelve bytes"),
    "is not in this model's vocabulary": types.Datum(
        model_input=types.ModelInput.from_ints([5000]), loss_fn_inputs={"target_tokens": [1]}
    ),
    "1 tokens but 2 target_tokens": types.Datum(
        model_input=types.ModelInput.from_ints([1]), loss_fn_inputs={"target_tokens": [1, 2]}
    ),
    "has no target_tokens": types.Datum(model_input=types.ModelInput.from_ints([1]), loss_fn_inputs={"weights": [1.0]}),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_datum_is_the_users_error(service_of, message):
    sim, service = service_of(Scenario(compute_s=INSTANT, max_datum_tokens=10))

    with pytest.raises(tinker.RequestFailedError, match=message) as raised:
        trainer(service).forward_backward([WRONG[message]], "cross_entropy").result()

    assert raised.value.category.value == "user"
    [line] = of_kind(sim, "fault")
    assert (line["injected"], line["category"]) == (False, "user")


def test_an_unknown_loss_function_and_missing_inputs_are_the_users_error(service_of):
    _, service = service_of(Scenario(compute_s=INSTANT))
    client = trainer(service)

    with pytest.raises(tinker.RequestFailedError, match="no loss function 'dro'"):
        client.forward_backward([datum()], "dro").result()
    with pytest.raises(tinker.RequestFailedError, match="needs the input 'logprobs'"):
        client.forward_backward([datum()], "ppo").result()
