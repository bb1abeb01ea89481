"""The model's arithmetic: its gradients are those of its losses."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tinkertape.sim.model import ADAPTER_SCALE, BigramModel, Example, base_logits
from tinkertape.sim.sampling import Sampling, next_token_shares

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
