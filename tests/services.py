"""Simulated services for a test, by their scenarios."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from tinkertape.sim import Scenario, Sim, start

Start = Callable[[Scenario], Sim]


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Start]:
    """Starts services; each has a truth file in `folder`; all are closed at the end."""
    numbers = itertools.count()
    with contextlib.ExitStack() as running:
        yield lambda scenario: running.enter_context(start(scenario, truth=folder / f"truth-{next(numbers)}.jsonl"))
