"""A simulated service a test, and the source installed on the real SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tinker
from tests.instrument.watching import Events, installed, scenario, service_client
from tests.services import services

from tinkertape import sim
from tinkertape.guard import failures
from tinkertape.instrument import tinker as source


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., sim.Sim]]:
    """Start a service that behaves as told; its truth is in `sim.truth`."""
    with services(tmp_path) as begin:
        yield lambda **changes: begin(scenario(**changes))


@pytest.fixture
def connect(start_service: Callable[..., sim.Sim]) -> Iterator[Callable[..., tinker.ServiceClient]]:
    """A client of a new service, closed at the end."""
    clients: list[tinker.ServiceClient] = []

    def new(**changes: Any) -> tinker.ServiceClient:
        clients.append(service_client(start_service(**changes)))
        return clients[-1]

    yield new
    for client in clients:
        client.close("success").result(10)


@pytest.fixture
def events() -> Iterator[Events]:
    """The source is installed, and every event is heard; none of our hooks may have failed."""
    with installed(source) as heard:
        yield heard
    assert failures() == {}
