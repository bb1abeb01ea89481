"""Settings, folders and identities."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tinkertape.config import (
    event_id,
    is_run_id,
    load_settings,
    new_process_id,
    new_ulid,
    open_private,
    private_folder,
    process_started,
)
from tinkertape.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("TINKERTAPE_")]:
        monkeypatch.delenv(variable)
    return tmp_path


def test_argument_over_environment_over_pyproject_over_default(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(elsewhere / "state"))
    assert load_settings().directory == elsewhere / "state" / "tinkertape"
    (elsewhere / "pyproject.toml").write_text('[tool.tinkertape]\nname = "from-file"\nurl = "http://file:1"\n')
    monkeypatch.setenv("TINKERTAPE_URL", "http://environment:1/")

    settings = load_settings(directory=elsewhere / "mine")

    assert (settings.name, settings.url, settings.directory) == (
        "from-file",
        "http://environment:1",
        elsewhere / "mine",
    )
    assert load_settings(url="https://argument").url == "https://argument"


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)])
def test_recording_is_switched_off_by_one_variable(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKERTAPE_OFF", value)

    assert load_settings().off is off


def test_an_address_that_is_none_and_an_unknown_setting_are_refused(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match="ftp://x"):
        load_settings(url="ftp://x")
    (elsewhere / "pyproject.toml").write_text("[tool.tinkertape]\nurls = 1\n")
    with pytest.raises(ConfigError, match="urls"):
        load_settings()


def test_folders_are_0700_and_files_0600_whatever_the_umask(elsewhere: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = private_folder(elsewhere / "a" / "b")
        os.close(open_private(folder / "f", os.O_CREAT | os.O_WRONLY))
    finally:
        os.umask(before)

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, folder / "f")]
    assert modes == [0o700, 0o700, 0o600]


def test_a_folder_that_holds_something_of_others_is_not_closed_to_them(elsewhere: Path) -> None:
    shared, empty = elsewhere / "shared", elsewhere / "empty"
    for folder in (shared, empty):
        folder.mkdir()
        folder.chmod(0o755)
    (shared / "theirs").touch()

    modes = [stat.S_IMODE(private_folder(folder).stat().st_mode) for folder in (shared, empty)]

    assert modes == [0o755, 0o700]


def test_run_ids_sort_by_time_and_nothing_else_is_one() -> None:
    ids = [new_ulid() for _ in range(50)]

    assert len(set(ids)) == 50
    assert all(is_run_id(run) for run in ids)
    assert [is_run_id(text) for text in ("../../etc", "", "x" * 26, ids[0].lower())] == [False] * 4


def test_event_ids_are_derived_and_have_the_shape_of_a_uuid() -> None:
    process = new_process_id()

    assert event_id(process, 7) == f"{process[:8]}-{process[8:12]}-{process[12:]}-0000-000000000007"
    assert len(event_id(process, 2**60)) == 36


def test_a_process_is_known_by_when_it_began() -> None:
    assert process_started(os.getpid()) is not None
    assert process_started(2**22 + 1) is None
