"""The model's arithmetic: its gradients are those of its losses."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tinkertape.sim.model import ADAPTER_SCALE, BigramModel, Example, base_logits
from tinkertape.sim.sampling import Sampler, Sampling, next_token_shares

VOCABULARY = 12


def example(rng: np.random.Generator) -> Example:
    tokens, targets = rng.integers(0, VOCABULARY, (2, 7))
    numbers = {"weights": rng.normal(size=7), "logprobs": rng.normal(-2, 0.3, 7), "advantages": rng.normal(size=7)}
    return Example(tokens, targets, numbers)


@pytest.mark.parametrize("loss_fn", ["cross_entropy", "importance_sampling", "ppo"])
def test_the_gradient_is_the_slope_of_the_loss(loss_fn):
    rng = np.random.default_rng(3)
    model = BigramModel(base_logits(VOCABULARY))
    batch = [example(rng), example(rng)]
    model.forward(batch, loss_fn, {}, backward=True)

    row, column, step = int(batch[0].tokens[0]), int(batch[0].targets[0]), 1e-7
    losses = []
    for sign in (1, -1):
        model.adapter[row, column] = sign * step
        losses.append(model.forward(batch, loss_fn, {}, backward=False).metrics["loss:sum"])

    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(model.gradient[row, column], rel=1e-3)


def test_gradients_add_up_until_the_optimiser_steps():
    rng = np.random.default_rng(5)
    model, batch = BigramModel(base_logits(VOCABULARY)), [example(rng)]

    model.forward(batch, "cross_entropy", {}, backward=True)
    once = model.gradient.copy()
    model.forward(batch, "cross_entropy", {}, backward=True)

    assert np.allclose(model.gradient, 2 * once)
    model.optim_step({"learning_rate": 0.01})
    assert not model.gradient.any()


def test_a_first_step_moves_each_weight_by_the_learning_rate():
    model = BigramModel(base_logits(VOCABULARY))
    model.forward([example(np.random.default_rng(1))], "cross_entropy", {}, backward=True)
    moved = model.gradient != 0

    model.optim_step({"learning_rate": 0.01})

    assert np.allclose(np.abs(model.adapter[moved]), 0.01)
    assert ADAPTER_SCALE * np.abs(model.adapter).max() == pytest.approx(1.0)


def test_top_k_top_p_and_a_temperature_of_zero_narrow_the_choice():
    logprobs = np.log(np.array([0.5, 0.25, 0.15, 0.1]))

    assert np.flatnonzero(next_token_shares(logprobs, Sampling(top_k=2))).tolist() == [0, 1]
    assert np.flatnonzero(next_token_shares(logprobs, Sampling(top_p=0.7))).tolist() == [0, 1]
    assert np.flatnonzero(next_token_shares(logprobs, Sampling(temperature=0))).tolist() == [0]
    assert np.allclose(next_token_shares(logprobs, Sampling()), np.exp(logprobs))


def test_an_optimiser_step_keeps_no_other_thread_busy():
    """Threads that spin after their share of the work take a core from whoever trains."""
    model = BigramModel(base_logits(256))

    def spent_elsewhere_s() -> float:
        return time.process_time() - time.thread_time()

    before = spent_elsewhere_s()
    for _ in range(10):
        model.optim_step({})
        threading.Event().wait(0.04)  # as long as they spin

    assert spent_elsewhere_s() - before < 0.15  # it was 0.4


def losses_by_hand(model: BigramModel, batch: list[Example]) -> dict[str, float]:
    """As Tinker's documentation writes them, over all tokens of all datums."""
    logits = model.logits()
    loss = dict.fromkeys(("cross_entropy", "importance_sampling", "ppo"), 0.0)
    for each in batch:
        for position, (token, target) in enumerate(zip(each.tokens, each.targets, strict=True)):
            shares = np.exp(logits[token]) / np.exp(logits[token]).sum()
            logprob, numbers = np.log(shares[target]), {name: of[position] for name, of in each.numbers.items()}
            ratio = np.exp(logprob - numbers["logprobs"])
            loss["cross_entropy"] -= logprob * numbers["weights"]
            loss["importance_sampling"] -= ratio * numbers["advantages"]
            clipped = min(max(ratio, 0.8), 1.2)
            loss["ppo"] -= min(ratio * numbers["advantages"], clipped * numbers["advantages"])
    return loss


@pytest.mark.parametrize("loss_fn", ["cross_entropy", "importance_sampling", "ppo"])
def test_a_loss_is_what_its_formula_says(loss_fn):
    rng = np.random.default_rng(11)
    model, batch = BigramModel(base_logits(VOCABULARY)), [example(rng) for _ in range(5)]
    model.forward(batch, "cross_entropy", {}, backward=True)
    model.optim_step({"learning_rate": 0.01})  # so that it is no longer the base model

    outcome = model.forward(batch, loss_fn, {}, backward=False)

    assert outcome.metrics["loss:sum"] == pytest.approx(losses_by_hand(model, batch)[loss_fn])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_temperature_says_and_logprobs_are_the_models(temperature):
    sampler = Sampler(base_logits(VOCABULARY) + np.arange(VOCABULARY) / 4, "base")
    how = Sampling(max_tokens=20_000, temperature=temperature)

    [sequence] = sampler.sample(np.array([3]), 1, how, np.random.default_rng(5))

    row = sampler.table[0]  # every row is the same here
    shares = np.exp(row / temperature) / np.exp(row / temperature).sum()
    seen = np.bincount(sequence.tokens, minlength=VOCABULARY) / len(sequence.tokens)
    assert np.abs(seen - shares).max() < 0.015
    assert np.array_equal(sequence.logprobs, row[sequence.tokens])  # at a temperature of 1, as Tinker's are
