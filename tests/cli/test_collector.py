"""The commands that read, asking a collector; and `serve` itself."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import TINKERTAPE, call, environment
from tests.cli.test_reading import HOSTILE, STEERING, record
from tests.waiting import wait_until

Serve = Callable[..., tuple[str, subprocess.Popen[str]]]


@pytest.fixture
def serve(directory: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start a collector that loads this machine's tapes, and say where it listens."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[str, subprocess.Popen[str]]:
        command = [*TINKERTAPE, "serve", "--port", "0", *arguments]
        process = subprocess.Popen(command, env=environment(directory), stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip(), process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_collector_answers_what_the_tapes_say(serve: Serve, directory: Path) -> None:
    record(directory, f"name{HOSTILE}name", count=30)
    url, process = serve()
    address = {"TINKERTAPE_URL": url}
    elsewhere = directory.parent / "elsewhere"  # no tape there: only the collector knows the run

    def told(*arguments: str) -> subprocess.CompletedProcess[str]:
        return call([*TINKERTAPE, *arguments], elsewhere, **address)

    def stored() -> bool:
        rows = json.loads(told("runs", "--json").stdout)
        return bool(rows) and rows[0]["state"] == "ended"

    wait_until(stored, within_s=30)
    [row] = json.loads(told("runs", "--json").stdout)
    report = json.loads(told("show", "last", "--json").stdout)
    lines = [json.loads(line) for line in told("tail", "--json", "-n", "1000").stdout.splitlines()]

    assert report["run"] == row["run"] and report["events"] == row["events"]
    ledger = report["ledger"]
    assert ledger["recorded"] == ledger["stored"] == report["events"]
    logged = [line["event_data"] for line in lines if line["event_name"] == "my.event"]
    assert [data["number"] for data in logged] == list(range(30))
    assert json.loads(told("diagnose", "--json").stdout)["healthy"] is True
    for arguments in (("runs",), ("show", "last"), ("tail", "--no-follow"), ("diagnose", row["run"][:6])):
        shown = told(*arguments)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout and not STEERING.search(shown.stdout)
    missing = told("show", "no-such-run")
    assert missing.returncode == 2
    assert f'no run "no-such-run" in {url}' in missing.stderr and missing.stderr.count("\n") == 1

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_a_run_beside_a_collector_reports_that_its_events_are_stored(
    serve: Serve, directory: Path, tmp_path: Path
) -> None:
    url, _ = serve()
    script = tmp_path / "mine.py"
    script.write_text("import tinkertape\ntinkertape.get_telemetry().log('my.event', {'number': 1})\n")

    ran = call([*TINKERTAPE, "run", str(script)], directory, TINKERTAPE_URL=url)

    recorded, stored = re.findall(r"Ledger +(\d+) recorded = (\d+) stored \+ 0 pending", ran.stderr)[0]
    assert recorded == stored != "0"


def test_a_store_that_another_process_holds_is_one_line(serve: Serve, directory: Path) -> None:
    serve()

    failed = call([*TINKERTAPE, "serve", "--port", "0"], directory)

    assert (failed.returncode, failed.stdout) == (1, "")
    assert "is using it" in failed.stderr and failed.stderr.count("\n") == 1


def test_a_tapes_folder_that_is_not_there_is_one_line(directory: Path) -> None:
    failed = call([*TINKERTAPE, "serve", "--port", "0", "--tapes", str(directory / "no" / "such")], directory)

    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith(f"tinkertape: cannot load tapes from {directory}/no/such: there is no such folder")
    assert failed.stderr.count("\n") == 1
    assert not (directory / "no").exists()


def test_the_default_tapes_folder_is_made_for_its_owner_alone(serve: Serve, directory: Path) -> None:
    url, _ = serve()

    assert url.startswith("http://")
    assert stat.S_IMODE((directory / "tapes").stat().st_mode) == 0o700


@pytest.mark.parametrize("option", [("--store", "nowhere"), ("--store", "chdb:///proc/x"), ("--inbox", "/proc/x")])
def test_a_place_that_cannot_be_used_is_one_line(option: tuple[str, str], directory: Path) -> None:
    failed = call([*TINKERTAPE, "serve", "--port", "0", *option], directory)

    assert failed.returncode in (1, 2)
    assert failed.stdout == ""
    assert failed.stderr.startswith("tinkertape: ") and failed.stderr.count("\n") == 1


def test_a_program_delivers_while_it_runs_and_a_killed_one_is_loaded_afterwards(serve: Serve, directory: Path) -> None:
    no_tapes = directory.parent / "no-tapes-here"
    no_tapes.mkdir()
    url, _ = serve("--tapes", str(no_tapes))
    path = directory.parent / "script.py"
    path.write_text(
        "import os, signal, tinkertape\n"
        "telemetry = tinkertape.get_telemetry()\n"
        "for number in range(100): telemetry.log('my.event', {'number': number})\n"
        "telemetry.flush(); input(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    remote = {"TINKERTAPE_URL": url, "TINKERTAPE_DIRECTORY": str(directory.parent / "remote")}

    with subprocess.Popen(
        [*TINKERTAPE, "run", "-q", str(path)], env=environment(directory, **remote), stdin=subprocess.PIPE, text=True
    ) as run:

        def rows() -> list[dict[str, object]]:
            listed: list[dict[str, object]] = json.loads(
                call([*TINKERTAPE, "runs", "--json"], directory, **remote).stdout
            )
            return listed

        wait_until(lambda: [row for row in rows() if row["state"] == "running" and row["events"] >= 100], within_s=30)
        run.communicate("\n")
        wait_until(lambda: [row for row in rows() if row["state"] == "killed"], within_s=30)

    report = json.loads(call([*TINKERTAPE, "show", "last", "--json"], directory, **remote).stdout)
    assert run.returncode == -signal.SIGKILL
    assert report["ledger"]["recorded"] == report["ledger"]["stored"] >= 101
