"""Services and collectors that a test may kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.processes import Collector
from tests.services import Start, services


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A collector of this test's own, not started."""
    made = Collector(tmp_path / "collector")
    yield made
    made.end()


@pytest.fixture
def sim_of(tmp_path: Path) -> Iterator[Start]:
    """Starts services by their scenarios; all are closed after the test."""
    with services(tmp_path) as begin:
        yield begin
