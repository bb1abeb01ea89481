from __future__ import annotations

from typing import Any

import pytest
import tinker
from tests.sim.client import INSTANT, TEXT, of_kind, train, trainer
from tinker import types

from tinkertape.sim import Scenario

QUICK = Scenario(compute_s=INSTANT)
PROMPT = types.ModelInput.from_ints(list(b"the "))


def test_samples_get_better_with_training(service_of):
    _, service = service_of(QUICK)
    client = trainer(service)
    before = client.save_weights_and_get_sampling_client().result()
    train(client, 30)
    after = client.save_weights_and_get_sampling_client().result()

    pairs = {TEXT[i : i + 2] for i in range(len(TEXT) - 1)}

    def share_of_known_pairs(sampler) -> float:
        params = types.SamplingParams(max_tokens=200, temperature=0.7)
        written = bytes(sampler.sample(PROMPT, 1, params).result().sequences[0].tokens)
        return sum(written[i : i + 2] in pairs for i in range(199)) / 199

    assert share_of_known_pairs(after) > share_of_known_pairs(before) + 0.3


def test_logprobs_of_a_text_rise_with_training(service_of):
    _, service = service_of(QUICK)
    client = trainer(service)
    text = types.ModelInput.from_ints(list(TEXT))
    before = client.save_weights_and_get_sampling_client().result().compute_logprobs(text).result()
    train(client, 10)
    after = client.save_weights_and_get_sampling_client().result().compute_logprobs(text).result()

    assert before[0] is None and len(after) == len(TEXT)
    assert sum(after[1:]) > sum(before[1:])


def test_20_samples_at_once_are_all_answered(service_of):
    sim, service = service_of(Scenario(compute_s=INSTANT | {"Sample": 0.2}))
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()

    futures = [sampler.sample(PROMPT, 2, types.SamplingParams(max_tokens=8, seed=n)) for n in range(20)]
    responses = [future.result(20) for future in futures]

    assert all(len(sequence.tokens) == 8 for response in responses for sequence in response.sequences)
    assert len({tuple(response.sequences[0].tokens) for response in responses}) > 10
    first_ready = min(line["at_ns"] for line in of_kind(sim, "ready", request_type="Sample"))
    begun = [line for line in of_kind(sim, "started", request_type="Sample") if line["at_ns"] < first_ready]
    assert len(begun) > 1  # they do not queue behind one another


def test_samples_are_the_same_for_the_same_seed(service_of):
    written = []
    for _ in range(2):
        _, service = service_of(QUICK)
        sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()
        written.append(
            list(sampler.sample(PROMPT, 1, types.SamplingParams(max_tokens=30)).result().sequences[0].tokens)
        )

    assert written[0] == written[1]


def test_a_stop_text_ends_a_sample(service_of):
    _, service = service_of(QUICK)
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()

    [sequence] = sampler.sample(PROMPT, 1, types.SamplingParams(max_tokens=500, stop=["e"], seed=1)).result().sequences

    assert sequence.stop_reason == "stop"
    assert bytes(sequence.tokens).index(b"e") == len(sequence.tokens) - 1


def test_a_sampler_made_from_a_path_knows_its_base_model(service_of):
    _, service = service_of(QUICK)
    path = trainer(service).save_weights_for_sampler("kept").result().path

    sampler = service.create_sampling_client(model_path=path).result()

    assert sampler.get_base_model() == "simulated/bytes-bigram"
    assert sampler.sample(PROMPT, 1, types.SamplingParams(max_tokens=3)).result().sequences[0].stop_reason == "length"


def test_what_is_not_simulated_says_so(service_of):
    _, service = service_of(QUICK)
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()

    with pytest.raises(Exception, match="does not do topk_prompt_logprobs"):
        params = types.SamplingParams(max_tokens=1)
        sampler.sample(PROMPT, 1, params, include_prompt_logprobs=True, topk_prompt_logprobs=3).result()


@pytest.mark.parametrize(
    ("samples", "how", "says"),
    [
        (1, {"max_tokens": -1}, "max_tokens is -1; allowed is 0 to 1000000"),
        (1, {"max_tokens": 10**9}, "max_tokens is 1000000000; allowed is 0 to 1000000"),
        (500, {"max_tokens": 2001}, "max_tokens is 2001; allowed is 0 to 2000"),
        (0, {}, "num_samples is 0; allowed is 1 to 1000000"),
        (1, {"temperature": -1.0}, "temperature is -1.0; allowed is 0 to inf"),
    ],
)
def test_what_no_service_samples_is_refused(samples: int, how: dict[str, Any], says: str, service_of):
    _, service = service_of(QUICK)
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()

    with pytest.raises(tinker.UnprocessableEntityError, match=says):
        sampler.sample(PROMPT, samples, types.SamplingParams(**how)).result()


def test_max_tokens_stop_tokens_and_seed_are_honoured_and_logprobs_are_those_of_the_text(service_of):
    _, service = service_of(QUICK)
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()

    def sampled(**how: object) -> types.SampledSequence:
        return sampler.sample(PROMPT, 1, types.SamplingParams(**how)).result().sequences[0]

    once, again, other = sampled(max_tokens=40, seed=7), sampled(max_tokens=40, seed=7), sampled(max_tokens=40, seed=8)
    assert list(once.tokens) == list(again.tokens) != list(other.tokens)
    assert (len(once.tokens), once.stop_reason) == (40, "length")
    stopped = sampled(max_tokens=500, seed=7, stop=[once.tokens[5]])
    assert stopped.stop_reason == "stop" and list(stopped.tokens) == list(once.tokens[: len(stopped.tokens)])

    whole = types.ModelInput.from_ints([*b"the ", *once.tokens])
    assert list(once.logprobs) == pytest.approx(sampler.compute_logprobs(whole).result()[4:], abs=1e-5)
