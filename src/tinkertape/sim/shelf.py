"""What clients have made: sessions, training runs, checkpoints, samplers. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinkertape.sim.lines import Line
from tinkertape.sim.model import BigramModel
from tinkertape.sim.sampling import Sampler


@dataclass
class Run:
    """A training run: its model, and the line of its requests."""

    model: BigramModel
    line: Line


@dataclass
class Shelf:
    """What clients have made."""

    sessions: set[str] = field(default_factory=set)
    lost_sessions: set[str] = field(default_factory=set)
    runs: dict[str, Run] = field(default_factory=dict)
    samplers: dict[str, Sampler] = field(default_factory=dict)
    weights: dict[str, BigramModel] = field(default_factory=dict)  # by tinker:// path
    sampler_weights: dict[str, Sampler] = field(default_factory=dict)
    external_weights: set[str] = field(default_factory=set)  # paths: saved, and never read again
    public: set[str] = field(default_factory=set)  # paths
    expires: dict[str, str] = field(default_factory=dict)  # path → when
    projects: dict[str, str] = field(default_factory=dict)  # session → project

    def has(self, path: str) -> bool:
        return path in self.weights or path in self.sampler_weights or path in self.external_weights

    def drop(self, path: str) -> None:
        self.weights.pop(path, None)
        self.sampler_weights.pop(path, None)
        self.external_weights.discard(path)
        self.public.discard(path)
        self.expires.pop(path, None)
