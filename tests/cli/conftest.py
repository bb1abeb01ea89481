"""Commands are tried as processes of their own: real files, pipes, signals and exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.cli import forked

TINKERTAPE = (sys.executable, "-m", "tinkertape")

Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(directory: Path, **more: str) -> dict[str, str]:
    """This process's environment without any setting of ours, and recording below `directory`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TINKERTAPE_", "TINKER_", "PYTEST"))}
    return {**kept, "TINKERTAPE_DIRECTORY": str(directory), **more}


def call(
    command: Sequence[str], directory: Path, *, cwd: Path | None = None, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    where = environment(directory, **more)
    if tuple(command[:3]) == TINKERTAPE and forked.reads(command[3:]) and "PYTHONPATH" not in more:
        return forked.call(command[3:], where, cwd or Path.cwd(), stdin)
    return subprocess.run(
        list(command),
        cwd=cwd,
        input=stdin,
        env=where,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the tapes of a test go."""
    return tmp_path / "state"


@pytest.fixture
def tinkertape(directory: Path, tmp_path: Path) -> Run:
    """Run a command of `tinkertape` in an empty folder, recording below `directory`."""
    work = tmp_path / "work"
    work.mkdir()

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return call([*TINKERTAPE, *arguments], directory, cwd=work, stdin=stdin, **more)

    return run
