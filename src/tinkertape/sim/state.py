"""What clients have made, kept in a folder, so that it survives the service: sessions, runs, checkpoints, samplers.

`shelf.json` names everything, with a file of arrays for each model and sampler. It is replaced whole after what it
names is written, so a service that is killed at any moment is read back as of its last change. Promises are not kept:
a poll for one from before is answered 410.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tinkertape.sim.errors import SimError
from tinkertape.sim.lines import Line
from tinkertape.sim.model import ARRAYS, BigramModel, Floats
from tinkertape.sim.sampling import Sampler
from tinkertape.sim.shelf import Run, Shelf

NAMES = "shelf.json"
Weights = BigramModel | Sampler


class KeptModel(msgspec.Struct, frozen=True):
    file: str
    lora_rank: int
    base_model: str
    steps: int
    next_seq: int = 0  # of a run


class KeptSampler(msgspec.Struct, frozen=True):
    file: str
    base_model: str
    model_path: str | None


class KeptShelf(msgspec.Struct, frozen=True):
    runs: dict[str, KeptModel]
    weights: dict[str, KeptModel]
    samplers: dict[str, KeptSampler]
    sampler_weights: dict[str, KeptSampler]
    sessions: set[str]
    lost_sessions: set[str]
    external_weights: set[str]
    public: set[str]
    expires: dict[str, str]
    projects: dict[str, str]


class State:
    """A folder; one service at a time. All on the service's loop."""

    def __init__(self, folder: Path) -> None:
        """Raises `SimError` where it cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._numbers = itertools.count(1 + max((_number(path) for path in folder.glob("*.npz")), default=0))
        except OSError as error:
            raise SimError(f"cannot keep the state in {folder}: {error.strerror}") from error
        self._files: dict[int, tuple[Weights, int, str]] = {}  # by object: it, which of its states, and where that is

    def load(self, shelf: Shelf, base: Floats) -> None:
        """Put on the shelf what was kept. Raises `SimError` for a folder that is something else."""
        path = self._folder / NAMES
        if not path.exists():
            return
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=KeptShelf)
            for name, of in kept.runs.items():
                shelf.runs[name] = Run(self._model(of, base), Line(name, of.next_seq))
            shelf.weights = {name: self._model(of, base) for name, of in kept.weights.items()}
            made: dict[str, Sampler] = {}  # one object a file, as it was
            for named, on_shelf in ((kept.samplers, shelf.samplers), (kept.sampler_weights, shelf.sampler_weights)):
                on_shelf.update({name: self._sampler(of, made) for name, of in named.items()})
        except (OSError, ValueError, KeyError) as error:
            raise SimError(f"cannot read the state in {self._folder}: {error}") from error
        for plain in ("sessions", "lost_sessions", "external_weights", "public", "expires", "projects"):
            setattr(shelf, plain, getattr(kept, plain))

    def _model(self, kept: KeptModel, base: Floats) -> BigramModel:
        model = BigramModel(base, kept.lora_rank, kept.base_model)
        with np.load(self._folder / kept.file) as arrays:
            for name in ARRAYS:
                setattr(model, name, arrays[name])
        model.steps = kept.steps
        self._files[id(model)] = (model, model.changes, kept.file)
        return model

    def _sampler(self, kept: KeptSampler, made: dict[str, Sampler]) -> Sampler:
        if kept.file not in made:
            with np.load(self._folder / kept.file) as arrays:
                sampler = made[kept.file] = Sampler(arrays["table"], kept.base_model, kept.model_path)
                sampler.table = arrays["table"]  # to the last bit
            self._files[id(sampler)] = (sampler, 0, kept.file)
        return made[kept.file]

    def keep(self, shelf: Shelf) -> None:
        """Write down what has changed."""
        before = {file for _, _, file in self._files.values()}
        used: dict[int, tuple[Weights, int, str]] = {}
        runs = {name: self._keep_model(run.model, used, run.line.free_seq()) for name, run in shelf.runs.items()}
        kept = KeptShelf(
            runs,
            {name: self._keep_model(model, used) for name, model in shelf.weights.items()},
            {name: self._keep_sampler(sampler, used) for name, sampler in shelf.samplers.items()},
            {name: self._keep_sampler(sampler, used) for name, sampler in shelf.sampler_weights.items()},
            *(shelf.sessions, shelf.lost_sessions, shelf.external_weights, shelf.public, shelf.expires, shelf.projects),
        )
        new = self._folder / f"{NAMES}.new"
        new.write_bytes(msgspec.json.encode(kept))
        new.replace(self._folder / NAMES)
        self._files = used
        for file in before - {file for _, _, file in used.values()}:
            (self._folder / file).unlink(missing_ok=True)

    def _keep_model(self, model: BigramModel, used: dict[int, Any], next_seq: int = 0) -> KeptModel:
        file = self._file(model, model.changes, used, {name: getattr(model, name) for name in ARRAYS})
        return KeptModel(file, model.lora_rank, model.base_model, model.steps, next_seq)

    def _keep_sampler(self, sampler: Sampler, used: dict[int, Any]) -> KeptSampler:
        file = self._file(sampler, 0, used, {"table": sampler.table})
        return KeptSampler(file, sampler.base_model, sampler.model_path)

    def _file(self, weights: Weights, changes: int, used: dict[int, Any], arrays: dict[str, Floats]) -> str:
        """Where these arrays are, written if they are not yet."""
        known = used.get(id(weights)) or self._files.get(id(weights))
        if known is None or known[1] != changes:
            file = f"{next(self._numbers)}.npz"
            np.savez(self._folder / file, **arrays)  # type: ignore[arg-type]
            known = (weights, changes, file)
        used[id(weights)] = known
        return str(known[2])


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0
