from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tinkertape.tape import codecs
from tinkertape.tape.codecs import Codec
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


@pytest.fixture
def no_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a Python that has none."""
    monkeypatch.setattr(codecs, "_zstd_or_none", lambda: None)


@pytest.fixture(params=["gzip", "zstd"])
def codec(request: pytest.FixtureRequest) -> Codec:
    """Closed segments are compressed so."""
    if request.param == "gzip":
        request.getfixturevalue("no_zstd")
    return codecs.written()
