"""Samples from a bigram model: temperature, top_k, top_p, stop tokens and strings, logprobs. Pure, given its
generator.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from tinkertape.sim.errors import RequestFailed
from tinkertape.sim.model import Floats, Integers, log_softmax

DEFAULT_MAX_TOKENS = 128
SUMMED_KEPT = 1_024  # rows of shares, of a few settings


@dataclass(frozen=True)
class Sampling:
    """How to sample; what the SDK calls sampling params. `stop` is a list of byte strings, or of tokens."""

    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0
    stop_texts: tuple[bytes, ...] = ()
    stop_tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sequence:
    tokens: Integers
    logprobs: Floats
    stopped: bool  # by a stop token or text; otherwise by its length


@dataclass(frozen=True)
class Sampled:
    sequences: list[Sequence]
    prompt_logprobs: Floats | None  # the first is NaN: nothing precedes it


class Sampler:
    """Weights frozen for sampling; safe to use for many requests."""

    def __init__(self, logits: Floats, base_model: str, model_path: str | None = None) -> None:
        self.base_model = base_model
        self.model_path = model_path
        self.table = log_softmax(logits)
        self._summed: dict[tuple[float, ...], list[float]] = {}

    def sample(self, prompt: Integers, count: int, how: Sampling, rng: np.random.Generator) -> list[Sequence]:
        if len(prompt) == 0:
            raise RequestFailed("the prompt is empty")
        return [self._sequence(int(prompt[-1]), how, rng) for _ in range(count)]

    def _sequence(self, token: int, how: Sampling, rng: np.random.Generator) -> Sequence:
        read, tokens, stopped = [token], [], False
        for draw in rng.random(how.max_tokens).tolist():
            steps = self._steps(read[-1], how)
            following = min(bisect_right(steps, draw * steps[-1]), len(steps) - 1)
            tokens.append(following)
            stopped = ends(tokens, how)
            if stopped:
                break
            read.append(following)
        logprobs = self.table[read[: len(tokens)], tokens]
        return Sequence(np.array(tokens, np.int64), logprobs, stopped)

    def _steps(self, token: int, how: Sampling) -> list[float]:
        """The summed-up shares of what may follow a token: the same for every sample with these settings."""
        key = (token, how.temperature, how.top_k, how.top_p)
        known = self._summed.get(key)
        if known is None:
            if len(self._summed) >= SUMMED_KEPT:
                self._summed.clear()
            known = self._summed[key] = np.cumsum(next_token_shares(self.table[token], how)).tolist()
        return known

    def prompt_logprobs(self, prompt: Integers, last: int | None) -> Floats:
        """The logprob of each prompt token after the first; NaN where none was asked for."""
        scores = np.full(len(prompt), np.nan)
        scores[1:] = self.table[prompt[:-1], prompt[1:]]
        if last is not None:
            scores[: max(len(prompt) - last, 0)] = np.nan
        return scores


def next_token_shares(logprobs: Floats, how: Sampling) -> Floats:
    """The probabilities to draw from, after temperature, top_k and top_p; they need not add up to one."""
    if how.temperature <= 0:
        shares = np.zeros_like(logprobs)
        shares[int(logprobs.argmax())] = 1.0
        return shares
    shares = np.exp(log_softmax(logprobs / how.temperature))
    if how.top_k <= 0 and how.top_p >= 1.0:
        return shares
    order = np.argsort(-shares, kind="stable")
    if 0 < how.top_k < len(order):
        shares[order[how.top_k :]] = 0.0
    if how.top_p < 1.0:
        before = np.cumsum(shares[order]) - shares[order]
        shares[order[before >= max(how.top_p, 1e-9) * shares.sum()]] = 0.0
    return shares


def ends(tokens: list[int], how: Sampling) -> bool:
    if tokens[-1] in how.stop_tokens:
        return True
    if not how.stop_texts:
        return False
    longest = max(len(text) for text in how.stop_texts)
    tail = bytes(token for token in tokens[-longest:] if token < 256)
    return any(text and tail.endswith(text) for text in how.stop_texts)
