"""Fixtures for pytest; installed with tinkertape, imported by pytest itself (entry point `pytest11`).

Nothing else of ours is imported until a fixture is used: a test suite that does not use them pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tinkertape.sim import Sim
    from tinkertape.testing import CapturedEvents, RunningCollector


@pytest.fixture
def tinkertape_events() -> Iterator[CapturedEvents]:
    """Every event executed on the default bus during the test: a list of `tinkertape.Event`.

    The test fails if it executed an event that nobody declares or listens to, or if a handler of it failed.
    """
    from tinkertape.testing import captured_events  # noqa: PLC0415  not before a test asks

    with captured_events() as events:
        yield events


@pytest.fixture
def tinker_sim(tmp_path: Path) -> Iterator[Sim]:
    """A simulated Tinker service, healthy and quick; `TINKER_BASE_URL` and `TINKER_API_KEY` are set for it."""
    from tinkertape.testing import sim  # noqa: PLC0415  not before a test asks

    with sim(truth=tmp_path / "truth.jsonl") as service:
        yield service


@pytest.fixture
def tinkertape_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningCollector]:
    """A real collector with its store; `TINKERTAPE_URL` is set to it, so that `tinkertape.start()` reports to it."""
    from tinkertape.testing import collector  # noqa: PLC0415  not before a test asks

    with collector(tmp_path / "collector") as running:
        monkeypatch.setenv("TINKERTAPE_URL", running.url)
        yield running
