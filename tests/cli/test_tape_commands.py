"""`tape verify` and `replay`, as processes of their own over real tapes."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.cli.test_reading import STEERING, record

from tinkertape.tape.compression import compress


def segment_of(directory: Path) -> Path:
    [segment] = directory.glob("tapes/*/*.jsonl")
    return segment


def test_a_whole_tape_is_said_to_be_whole_with_its_ledger(tinkertape: Run, directory: Path) -> None:
    record(directory, "whole")

    done = tinkertape("tape", "verify", "whole")

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the tape is whole\n")
    assert "rejected 0 + dropped 0" in done.stdout


def test_a_damaged_tape_is_told_line_by_line_with_status_1(tinkertape: Run, directory: Path) -> None:
    record(directory, "damaged")
    segment = segment_of(directory)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:2], b"\x1b]0;stolen\x07\n", *lines[3:-1], lines[-1][:10]]))

    done = tinkertape("tape", "verify", "last")
    found = json.loads(tinkertape("tape", "verify", "last", "--json").stdout)

    assert done.returncode == 1
    assert f"{segment.name} line 3: bad line" in done.stdout
    assert f"{segment.name} line {len(lines)}: torn line" in done.stdout
    assert not STEERING.search(done.stdout)
    assert not found["whole"]
    assert [damage["line"] for damage in found["damage"]] == [3, len(lines)]


def test_a_tape_without_any_header_can_be_verified_too(tinkertape: Run, directory: Path) -> None:
    record(directory, "headless")
    segment = segment_of(directory)
    segment.write_bytes(segment.read_bytes().partition(b"\n")[2])

    done = tinkertape("tape", "verify", segment.parent.name)

    assert done.returncode == 1
    assert "no header" in done.stdout


def test_a_run_is_replayed_into_a_log_at_the_times_of_the_tape(tinkertape: Run, directory: Path) -> None:
    record(directory, "logged", 3, "\x1b[31mred")
    segment = segment_of(directory)
    lines = [json.loads(line) for line in segment.read_text().splitlines()]
    times = [line["timestamp"] for line in lines if line.get("event_name") == "my.event"]
    compress(segment)

    done = tinkertape("replay", "last", "--to", "log", "--speed", "1000")

    assert done.returncode == 0, done.stderr
    logged = [line.split(" ", 3) for line in done.stdout.splitlines() if "my.event" in line]
    assert [line[:3] for line in logged] == [[time, "INFO", "my.event"] for time in times]
    assert not STEERING.search(done.stdout)


@pytest.mark.parametrize(
    ("target", "said"),
    [("prometheus", "tinker_retry_count_total{"), ("console", "tinker.retry.count")],
    ids=["prometheus", "console"],
)
def test_a_run_is_replayed_into_metrics(tinkertape: Run, directory: Path, target: str, said: str) -> None:
    script = directory.parent / "retries.py"
    script.write_text('import tinkertape; tinkertape.execute("tinker.retry", {"attempt": 1, "delay": 5})')
    assert tinkertape("run", "-q", "--name", "measured", str(script)).returncode == 0

    done = tinkertape("replay", "measured", "--to", target)

    assert done.returncode == 0, done.stderr
    assert said in done.stdout, done.stdout


def test_a_run_is_replayed_to_statsd_and_what_was_sent_is_told(tinkertape: Run, directory: Path) -> None:
    script = directory.parent / "retries.py"
    script.write_text('import tinkertape; tinkertape.execute("tinker.retry", {"attempt": 1}, {"error_type": "Busy"})')
    assert tinkertape("run", "-q", "--name", "measured", str(script)).returncode == 0

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(30)
        address = f"127.0.0.1:{daemon.getsockname()[1]}"
        done = tinkertape("replay", "measured", "--to", "statsd", "--address", address)
        lines = daemon.recv(65_536).decode().splitlines()

    assert done.returncode == 0, done.stderr
    assert "tinker.retry.count.Busy:1|c" in lines
    assert done.stderr == f"{len(lines)} values sent to {address}\n"


def test_a_long_replay_shows_how_far_it_is(tinkertape: Run, directory: Path) -> None:
    record(directory, "long", 60_000)

    done = tinkertape("replay", "last", "--to", "prometheus")

    assert done.returncode == 0, done.stderr
    assert "replaying …" in done.stderr
    assert "step 90/100" in done.stderr


def test_damaged_lines_are_counted_and_the_rest_is_replayed(tinkertape: Run, directory: Path) -> None:
    record(directory, "damaged")
    with segment_of(directory).open("ab") as file:
        file.write(b"garbage\n{")

    done = tinkertape("replay", "last", "--to", "log")

    assert done.returncode == 0
    assert done.stdout.count("my.event") == 3
    assert "2 lines of the tape are damaged" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "last"),
        ("replay", "last", "--to", "nowhere"),
        ("replay", "last", "--to", "log", "--speed", "0"),
        ("replay", "last", "--to", "log", "--speed", "nan"),
        ("replay", "nothing", "--to", "log"),
        ("replay", "last", "--to", "log", "--address", "127.0.0.1:8125"),
        ("replay", "last", "--to", "statsd", "--address", "8125"),
        ("tape", "verify", "nothing"),
        ("tape", "verify"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_one_line_and_status_2(
    tinkertape: Run, directory: Path, words: tuple[str, ...]
) -> None:
    record(directory, "some")

    done = tinkertape(*words)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("tinkertape: ")
