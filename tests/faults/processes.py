"""The processes of a whole world: a simulated service, a collector as people start it, and programs that train."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cli.conftest import TINKERTAPE, environment
from tests.collector.conftest import Served
from tests.waiting import wait_until

from tinkertape.tape import Tape, open_tape

EXAMPLE = Path(__file__).parents[2] / "examples" / "train.py"
KEY = "tml-made-up-for-tests"
UNFINISHED = 150.0  # seconds; a program that takes longer hangs


class Collector(Served):
    """`tinkertape serve` over a folder; `kill` and `start` it as often as you like. What it says is in `log`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder.parent / f"{folder.name}.log"

    def start(self) -> Collector:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*TINKERTAPE, "serve", "--port", str(self.port)],
                env=environment(self.folder),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), self.log.read_text()
        self.port = int(address.rpartition(":")[2])
        return self

    def end(self) -> None:
        """Whatever its state, it is gone."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.communicate()

    def text(self, path: str) -> str:
        status, body = self.get(path)
        assert status == 200, body
        return body.decode()

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("/api/v1/runs")
        return found

    def stored(self, run: str) -> int:
        """How many events of a run are stored now."""
        return int(self.ledger(run)["stored"])

    def state(self, run: str) -> str:
        return next((row["state"] for row in self.runs() if row["run"] == run), "unknown")

    def indexes(self, run: str) -> dict[str, list[int]]:
        """The indexes of a run's events as the collector gives them out, by process."""
        met: dict[str, list[int]] = defaultdict(list)
        for line in self.events(run):
            met[line["process"]].append(line["event_session_index"])
        return met


def recorded(script: Path | str, *arguments: str, directory: Path, service: str, **more: str) -> subprocess.Popen[str]:
    """Start a program that trains, under `tinkertape run --quiet`."""
    command = [sys.executable, "-u", *TINKERTAPE[1:], "run", "--quiet", str(script), *arguments]
    return started(command, directory=directory, service=service, **more)


def plain(script: Path | str, *arguments: str, directory: Path, service: str, **more: str) -> subprocess.Popen[str]:
    """Start it without us."""
    return started([sys.executable, "-u", str(script), *arguments], directory=directory, service=service, **more)


def started(command: Sequence[str], *, directory: Path, service: str, **more: str) -> subprocess.Popen[str]:
    settings = {"TINKER_BASE_URL": service, "TINKER_API_KEY": KEY, "TINKER_TELEMETRY": "0", **more}
    return subprocess.Popen(
        list(command),
        env=environment(directory, **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a program's end: status, stdout, stderr."""
    try:
        said, complained = program.communicate(timeout=UNFINISHED)
    except subprocess.TimeoutExpired:
        program.kill()
        said, complained = program.communicate()
        raise AssertionError(f"it did not end: {said[-2000:]} {complained[-2000:]}") from None
    return program.returncode, said, complained


def run_below(directory: Path) -> str:
    """The id of the one run that is recorded below a directory, as soon as it is there."""
    tapes = directory / "tapes"
    wait_until(lambda: list(tapes.glob("*/*.jsonl")), within_s=60, otherwise=lambda: str(list(directory.rglob("*"))))
    [folder] = [folder for folder in tapes.iterdir() if folder.is_dir()]
    return folder.name


def tape_below(directory: Path) -> Tape:
    return open_tape(directory / "tapes" / run_below(directory))


def lines_on(tape: Path) -> int:
    """Events that are on a run's tape: its lines, less headers and ends."""
    lines = [line for file in tape.glob("*.jsonl") for line in file.read_bytes().splitlines()]
    return sum(not line.startswith((b'{"tape":', b'{"tape_end":')) for line in lines)
