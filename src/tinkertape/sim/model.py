"""A model that really learns: the next token by the token before it, a bigram softmax trained with AdamW.

It stands for a base model with a low-rank adapter: the base is fixed and knows how often the bytes of English text
come; the adapter begins at zero and is trained. The adapter's output is scaled, as LoRA's is, so that learning rates
usual with LoRA (about 1e-3) teach something in 30 steps. Pure arithmetic: no clock, no I/O; what is random comes from
the generator passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tinkertape.sim.errors import RequestFailed

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ARRAYS = ("adapter", "gradient", "first_moment", "second_moment")  # all that a model learns
ADAPTER_SCALE = 100.0
FREQUENT = (
    b" " * 18 + b"e" * 12 + b"ttttttttt" + b"aaaaaaaa" + b"ooooooo" + b"iiiiiii" + b"nnnnnnn" + b"ssssss" + b"hhhhhh"
)
FREQUENT += (
    b"rrrrrr" + b"dddd" + b"llll" + b"uuu" + b"ccc" + b"mmm" + b"ww" + b"ff" + b"gg" + b"yy" + b"pp" + b"bb" + b"vk"
)
ORDINARY = bytes(range(32, 127)) + b"\n"


def base_logits(vocabulary: int) -> Floats:
    """The base model: every row the same, the logarithm of how often a byte comes (so its samples are letters, not
    words).
    """
    counts = np.full(vocabulary, 0.02)
    for byte in ORDINARY:
        if byte < vocabulary:
            counts[byte] += 0.1
    for byte in FREQUENT:
        if byte < vocabulary:
            counts[byte] += 1.0
    return np.broadcast_to(np.log(counts / counts.sum()), (vocabulary, vocabulary)).copy()


def log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Example:
    """One datum: what the model reads, what it should say next, and the numbers that its loss function needs."""

    tokens: Integers
    targets: Integers
    numbers: dict[str, Floats]  # weights, logprobs, advantages


@dataclass(frozen=True)
class Outcome:
    """What one forward_backward gives back: logprobs of each target, datum by datum, and the summed loss."""

    logprobs: list[Floats]
    metrics: dict[str, float]


@dataclass
class BigramModel:
    """The weights of one training run, the gradient gathered since the last optimiser step, and the optimiser's
    memory.
    """

    base: Floats
    lora_rank: int = 32
    base_model: str = ""
    adapter: Floats = field(init=False)
    gradient: Floats = field(init=False)
    first_moment: Floats = field(init=False)
    second_moment: Floats = field(init=False)
    steps: int = 0
    changes: int = 0  # how often it was changed

    def __post_init__(self) -> None:
        self.adapter, self.gradient, self.first_moment, self.second_moment = (
            np.zeros_like(self.base) for _ in range(4)
        )

    def logits(self) -> Floats:
        return self.base + ADAPTER_SCALE * self.adapter

    def forward(
        self, examples: Sequence[Example], loss_fn: str, config: dict[str, float], *, backward: bool
    ) -> Outcome:
        """The loss of some examples, and with `backward` its gradient, added to what was gathered."""
        seen = np.unique(np.concatenate([example.tokens for example in examples]))  # only these rows matter
        table = log_softmax(self.base[seen] + ADAPTER_SCALE * self.adapter[seen])
        logprobs = [table[np.searchsorted(seen, example.tokens), example.targets] for example in examples]
        losses = [loss_and_slope(loss_fn, lp, e.numbers, config) for lp, e in zip(logprobs, examples, strict=True)]
        if backward:
            self._gather(examples, [slope for _, slope in losses], seen, np.exp(table))
        tokens = sum(len(example.tokens) for example in examples)
        total = float(sum(loss for loss, _ in losses))
        return Outcome(logprobs, {"loss:sum": total, "tokens:sum": float(tokens)})

    def _gather(self, examples: Sequence[Example], slopes: Sequence[Floats], seen: Integers, shares: Floats) -> None:
        """Add d loss / d adapter: a logprob's slope by its row's logits is onehot(target) − shares."""
        self.changes += 1
        tokens = np.concatenate([example.tokens for example in examples])
        targets = np.concatenate([example.targets for example in examples])
        slope = np.concatenate(slopes)
        np.add.at(self.gradient, (tokens, targets), slope * ADAPTER_SCALE)
        row_slope = np.bincount(tokens, weights=slope, minlength=len(self.base))
        self.gradient[seen] -= row_slope[seen, None] * shares * ADAPTER_SCALE

    def optim_step(self, params: dict[str, float]) -> dict[str, float]:
        """One AdamW step with the client's parameters (the SDK's defaults where it sent none); clears the gradient."""
        rate, eps = params.get("learning_rate", 1e-4), params.get("eps", 1e-12)
        beta1, beta2 = params.get("beta1", 0.9), params.get("beta2", 0.95)
        # not np.linalg.norm: BLAS shares that between its threads, which then spin for 40 ms, here on the client's core
        norm = float(np.sqrt(np.square(self.gradient).sum()))
        clip = params.get("grad_clip_norm", 0.0)
        gradient = self.gradient * (clip / norm) if 0.0 < clip < norm else self.gradient
        self.steps += 1
        self.changes += 1
        self.first_moment = beta1 * self.first_moment + (1 - beta1) * gradient
        self.second_moment = beta2 * self.second_moment + (1 - beta2) * gradient**2
        mean = self.first_moment / (1 - beta1**self.steps)
        spread = np.sqrt(self.second_moment / (1 - beta2**self.steps))
        self.adapter -= rate * params.get("weight_decay", 0.0) * self.adapter
        self.adapter -= rate * mean / (spread + max(eps, 1e-12))
        self.gradient = np.zeros_like(self.base)
        return {"grad_norm:mean": norm}

    def copy(self, *, optimizer: bool) -> BigramModel:
        """A copy to keep as a checkpoint or to load one; without `optimizer`, its memory begins anew."""
        twin = BigramModel(self.base, self.lora_rank, self.base_model)
        twin.adapter = self.adapter.copy()
        if optimizer:
            twin.first_moment, twin.second_moment = self.first_moment.copy(), self.second_moment.copy()
            twin.steps = self.steps
        return twin


def loss_and_slope(
    loss_fn: str, logprobs: Floats, numbers: dict[str, Floats], config: dict[str, float]
) -> tuple[float, Floats]:
    """The loss of one datum, summed over its tokens, and its slope with regard to each logprob."""
    if loss_fn == "cross_entropy":
        weights = numbers.get("weights", np.ones_like(logprobs))
        return -float(logprobs @ weights), -weights
    if loss_fn in ("importance_sampling", "ppo", "cispo"):
        return _policy_loss(loss_fn, logprobs, numbers, config)
    raise RequestFailed(f"the simulated service has no loss function {loss_fn!r}")


def _policy_loss(
    loss_fn: str, logprobs: Floats, numbers: dict[str, Floats], config: dict[str, float]
) -> tuple[float, Floats]:
    missing = [name for name in ("logprobs", "advantages") if name not in numbers]
    if missing:
        raise RequestFailed(f"loss function {loss_fn!r} needs the input {missing[0]!r}")
    ratio, advantages = np.exp(logprobs - numbers["logprobs"]), numbers["advantages"]
    low, high = config.get("clip_low_threshold", 0.8), config.get("clip_high_threshold", 1.2)
    clipped = np.clip(ratio, low, high)
    if loss_fn == "cispo":
        return -float((clipped * advantages) @ logprobs), -clipped * advantages
    if loss_fn == "ppo":
        loss = -float(np.minimum(ratio * advantages, clipped * advantages).sum())
        return loss, np.where(ratio * advantages <= clipped * advantages, -ratio * advantages, 0.0)
    return -float(ratio @ advantages), -ratio * advantages
