"""Services and collectors that a test may kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.processes import Collector

from tinkertape.sim import Scenario, Sim, start


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A collector of this test's own, not started."""
    made = Collector(tmp_path / "collector")
    yield made
    made.end()


@pytest.fixture
def sim_of(tmp_path: Path) -> Iterator[Callable[[Scenario], Sim]]:
    """Starts services by their scenarios; each has a truth file; all are closed after the test."""
    running: list[Sim] = []

    def begin(scenario: Scenario) -> Sim:
        running.append(start(scenario, truth=tmp_path / f"truth-{len(running)}.jsonl"))
        return running[-1]

    yield begin
    for service in running:
        service.close()
