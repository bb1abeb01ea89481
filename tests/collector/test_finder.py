"""Where the loader looks for files."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from tinkertape.collector.tape_file import Finder


def test_a_folder_that_may_not_be_read_is_said_once_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "tapes" / "run"
    folder.mkdir(parents=True)
    (folder / "p-00001.jsonl").write_bytes(b"")
    os.utime(folder, (1_000, 1_000))  # it did not change for a while
    look = os.scandir

    def refuse(place: str | Path) -> object:  # to who is root nothing is refused
        if Path(place) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return look(place)

    finder = Finder(tmp_path / "tapes", tmp_path / "inbox")
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "tinkertape"):
        patch.setattr("os.scandir", refuse)
        assert list(finder.files()) == list(finder.files()) == []

    assert [record.getMessage() for record in caplog.records] == [
        f"cannot read {folder}: Permission denied; its run is not stored until that is mended"
    ]
    assert list(finder.files()) == [(folder / "p-00001.jsonl", False)]
    assert list(finder.files()) == []
