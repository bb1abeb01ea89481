from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tinker
from tests.sim.client import Wire

from tinkertape.sim import Scenario, Sim, start


@pytest.fixture
def sim_of(tmp_path: Path) -> Iterator[Callable[[Scenario], Sim]]:
    """Starts services by their scenarios; each has a truth file; all are closed after the test."""
    started: list[Sim] = []

    def begin(scenario: Scenario) -> Sim:
        started.append(start(scenario, truth=tmp_path / f"truth-{len(started)}.jsonl"))
        return started[-1]

    yield begin
    for sim in started:
        sim.close()


@pytest.fixture
def service_of(
    sim_of: Callable[[Scenario], Sim], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Scenario], tuple[Sim, tinker.ServiceClient]]]:
    """A service and the real SDK's client of it."""
    monkeypatch.setenv("TINKER_API_KEY", "tml-anything")
    clients: list[tinker.ServiceClient] = []

    def begin(scenario: Scenario) -> tuple[Sim, tinker.ServiceClient]:
        sim = sim_of(scenario)
        clients.append(tinker.ServiceClient(base_url=sim.url))
        return sim, clients[-1]

    yield begin
    for client in clients:
        client.close("success").result()


@pytest.fixture
def wire_of(sim_of: Callable[[Scenario], Sim]) -> Iterator[Callable[[Scenario], Wire]]:
    """A service and a client that shows the bare wire."""
    wires: list[Wire] = []

    def begin(scenario: Scenario) -> Wire:
        wires.append(Wire(sim_of(scenario)))
        return wires[-1]

    yield begin
    for wire in wires:
        wire.http.close()
