"""Simulated services, a client of the real SDK and one of the bare wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tinker
from tests.services import Start, services
from tests.sim.client import Wire

from tinkertape.sim import Scenario, Sim


@pytest.fixture
def sim_of(tmp_path: Path) -> Iterator[Start]:
    """Starts services by their scenarios; all are closed after the test."""
    with services(tmp_path) as begin:
        yield begin


@pytest.fixture
def service_of(
    sim_of: Start, monkeypatch: pytest.MonkeyPatch
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
def wire_of(sim_of: Start) -> Iterator[Callable[[Scenario], Wire]]:
    """A service and a client that shows the bare wire."""
    wires: list[Wire] = []

    def begin(scenario: Scenario) -> Wire:
        wires.append(Wire(sim_of(scenario)))
        return wires[-1]

    yield begin
    for wire in wires:
        wire.http.close()
