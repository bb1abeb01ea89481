from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tinkertape.tape.recorder import Recorder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder, not made yet."""
    return tmp_path / "tapes" / "run-1"


@pytest.fixture
def recorder(folder: Path) -> Iterator[Recorder]:
    made = Recorder(folder, "run-1")
    yield made
    made.close()
