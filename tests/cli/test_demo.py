"""The tour as a newcomer sees it: everything real but the service. Slow by its nature: the SDK trains 30 steps."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import TINKERTAPE, call, environment
from tests.waiting import wait_until


def left_behind(marker: str) -> list[str]:
    """The processes that still live with this word in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environ = (folder / "environ").read_bytes()
            state = (folder / "stat").read_bytes().rpartition(b") ")[2][:1]
        except OSError:
            continue
        if marker.encode() in environ and state != b"Z":
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.timeout(180)
def test_the_tour_ends_with_status_0_when_every_fault_is_in_its_report(directory: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    toured = call([*TINKERTAPE, "demo", "--exit", "--seed", "3"], directory, TMPDIR=str(scratch))

    assert toured.returncode == 0, toured.stdout + toured.stderr
    for word in ("Where the time went", "forward_backward", "Pauses", "Retries", "503", "Ledger", "It is Tinker"):
        assert word in toured.stdout
    assert "  × " not in toured.stdout and toured.stdout.count("  ✓ ") >= 4
    assert "step 30/30" in toured.stderr
    assert list(scratch.iterdir()) == []
    assert left_behind(str(scratch)) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_tour_that_is_broken_off_leaves_nothing_behind(
    number: signal.Signals, directory: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [*TINKERTAPE, "demo", "--exit"]
    with subprocess.Popen(
        command,
        env=environment(directory, TMPDIR=str(scratch)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as tour:
        wait_until(lambda: list(scratch.rglob("tapes/*/*.jsonl")), within_s=60)
        tour.send_signal(number)
        said, _ = tour.communicate(timeout=30)

    assert tour.returncode == 128 + number
    assert "Traceback" not in said
    assert list(scratch.iterdir()) == []
    assert left_behind(str(scratch)) == []
