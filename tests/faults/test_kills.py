"""Programs and collectors that are killed at random moments; `python -m tests.faults.kills 200` does it 200 times."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.collector.conftest import Served
from tests.faults import kills

PROGRAMS, COLLECTORS = 5, 3


@pytest.mark.timeout(300)
def test_whatever_a_killed_program_had_flushed_is_stored_once(tmp_path: Path) -> None:
    served = Served(tmp_path / "collector").start()
    try:
        found = kills.programs(served, PROGRAMS, seed=3)
    finally:
        served.kill()

    assert found.kills == PROGRAMS
    assert found.stored >= found.acknowledged > 0


@pytest.mark.timeout(300)
def test_whatever_a_collector_had_acknowledged_when_it_was_killed_under_load_is_stored_once(tmp_path: Path) -> None:
    served = Served(tmp_path / "collector")
    try:
        found = kills.collector(served, COLLECTORS, seed=4)
    finally:
        served.kill()

    assert found.kills == COLLECTORS
    assert found.stored == found.acknowledged > 0
    assert found.sent_twice >= kills.CLIENTS
