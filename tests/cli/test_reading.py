"""`runs`, `show`, `tail`, `diagnose`: from tapes alone, in text and JSON, with nothing that could steer a terminal."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.cli.conftest import TINKERTAPE, Run, call, environment

from tinkertape.cli import kept_rows
from tinkertape.cli.source import resolve
from tinkertape.cli.tapes import TapesSource
from tinkertape.config import new_ulid
from tinkertape.diagnosis.rule import rule_now, rule_of
from tinkertape.errors import TapeError
from tinkertape.tape import Header, Recorder, codecs, encode_line, open_tape
from tinkertape.tape.compression import compress

HOSTILE = "\x1b]0;stolen\x07\x9b31m\u202e\u2028\r\x7f"
LOGS = """
import sys, time, tinkertape
with tinkertape.span("tinker.service.get_server_capabilities", {"operation_id": 1}): time.sleep(0.001)
telemetry = tinkertape.get_telemetry()
for number in range(int(sys.argv[1])): telemetry.log("my.event", {"number": number, "words": sys.argv[2]})
telemetry.flush(60)
"""
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
ABSENT = """
import sys
class Hiding:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {names} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
COSTLY = ("http", "email")  # HTTP, and asking the installation for versions: 130 ms, for which tapes have no use
SERVER = (
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "chdb",
    "clickhouse_connect",
    "jinja2",
    "numpy",
    "tinker",
    "httpx",
)


def record(directory: Path, name: str, count: int = 3, words: str = "plain", **more: str) -> None:
    """A run of `LOGS`; as another test had it recorded, where there is one, for that takes half a second each time."""
    asked = hashlib.sha256(repr((name, count, words)).encode()).hexdigest()
    kept = directory if more else directory.parents[1] / "recorded" / asked
    if more or not kept.exists():
        path = directory.parent / "script.py"
        path.write_text(LOGS)
        ran = call([*TINKERTAPE, "run", "-q", "--name", name, str(path), str(count), words], kept, **more)
        assert (ran.returncode, ran.stderr) == (0, "")
    if not more:
        shutil.copytree(kept, directory, dirs_exist_ok=True)


def without(directory: Path, *modules: str) -> dict[str, str]:
    """An environment in which these modules are not installed."""
    folder = directory.parent / "absent"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(ABSENT.format(names=set(modules)))
    return {"PYTHONPATH": str(folder)}


def test_a_run_reads_the_same_before_and_after_its_segments_are_compressed(tinkertape: Run, directory: Path) -> None:
    record(directory, "many", 300)
    asked = (("tail", "last", "--no-follow", "--json", "-n", "1000"), ("show", "last", "--json"), ("runs", "--json"))
    before = [tinkertape(*words).stdout for words in asked]

    [segment] = directory.glob("tapes/*/*.jsonl")
    assert compress(segment)

    assert [tinkertape(*words).stdout for words in asked] == before
    assert before[0].count("my.event") == 300


def test_runs_are_listed_newest_first_in_the_documented_shape(tinkertape: Run, directory: Path) -> None:
    record(directory, "first")
    record(directory, "second")

    rows = json.loads(tinkertape("runs", "--json").stdout)

    assert [(row["name"], row["state"]) for row in rows] == [("second", "ended"), ("first", "ended")]
    keys = {"run", "name", "state", "began", "ended", "sessions", "events", "steps", "findings"}
    assert all(keys <= row.keys() for row in rows)
    assert all(row["began"] <= row["ended"] for row in rows)
    text = tinkertape("runs").stdout
    assert text.index("second") < text.index("first")


def test_a_row_is_kept_beside_the_tape_until_the_tape_grows(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine")

    first, again = (json.loads(tinkertape("runs", "--json").stdout) for _ in range(2))
    [kept] = directory.glob("tapes/*/row.json")
    record(directory, "mine", TINKERTAPE_RUN=first[0]["run"])
    [grown] = json.loads(tinkertape("runs", "--json").stdout)
    kept.write_text("{")
    [made_anew] = json.loads(tinkertape("runs", "--json").stdout)

    assert again == first
    assert grown["events"] > first[0]["events"]
    assert made_anew == grown


def test_a_kept_row_is_made_anew_as_soon_as_the_code_that_makes_rows_is_another(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(directory, "mine")
    source, [kept] = TapesSource(directory / "tapes"), list(directory.glob("tapes/*"))
    [made] = source.runs(5)
    rule = rule_now(*kept_rows.ROOMS)
    stale = kept_rows.KeptRow(rule, kept_rows._sizes(open_tape(kept)), replace(made, state="stale"))
    (kept / kept_rows.FILE).write_bytes(msgspec.json.encode(stale))
    rooms = [tmp_path / room for room in kept_rows.ROOMS]
    for room in rooms:
        shutil.copytree(Path(kept_rows.__file__).parents[1] / room.name, room)
    assert rule_of(rooms) == rule
    with (rooms[0] / "run_state.py").open("a") as file:
        file.write("# changed\n")

    before = source.runs(5)
    monkeypatch.setattr(kept_rows, "rule_now", lambda *_: rule_of(rooms))
    after = source.runs(5)

    assert ([row.state for row in before], after) == (["stale"], [made])


def test_no_run_yet_is_told(tinkertape: Run) -> None:
    assert json.loads(tinkertape("runs", "--json").stdout) == []
    assert "no run in" in tinkertape("runs").stderr
    shown = tinkertape("show", "last")
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1 and "no run in" in shown.stderr


def test_a_run_is_found_by_id_beginning_name_and_last(tinkertape: Run, directory: Path) -> None:
    record(directory, "lora-31")
    record(directory, "other")
    other, first = (row["run"] for row in json.loads(tinkertape("runs", "--json").stdout))

    def shown(word: str) -> str:
        run: str = json.loads(tinkertape("show", word, "--json").stdout)["run"]
        return run

    assert shown(first) == shown("lora-31") == shown(_beginning(first, other)) == first
    assert shown("last") == shown("other") == other


def _beginning(run: str, other: str) -> str:
    return next(run[:length] for length in range(1, 27) if not other.startswith(run[:length]))


def test_a_run_that_does_not_exist_is_one_line_with_what_was_meant(tinkertape: Run, directory: Path) -> None:
    record(directory, "lora-31")

    for command in ("show", "tail", "diagnose"):
        failed = tinkertape(command, "lora-3x")
        assert (failed.returncode, failed.stdout) == (2, "")
        assert 'no run "lora-3x" in ' in failed.stderr and 'did you mean "lora-31"?' in failed.stderr
        assert failed.stderr.count("\n") == 1


def test_a_beginning_that_several_runs_share_is_refused(tinkertape: Run, directory: Path) -> None:
    record(directory, "first")
    record(directory, "second")

    failed = tinkertape("show", "0")

    assert failed.returncode == 2
    assert "2 runs begin with" in failed.stderr


def test_show_says_what_is_known_with_an_exact_ledger(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine", count=5)

    report = json.loads(tinkertape("show", "mine", "--json").stdout)
    text = tinkertape("show", "mine").stdout

    ledger = report["ledger"]
    assert ledger["recorded"] == ledger["pending"] == report["events"] > 5
    assert f"{ledger['recorded']} recorded = 0 stored + {ledger['recorded']} pending + 0 rejected + 0 dropped" in text


def test_a_healthy_run_is_diagnosed_with_status_0_in_the_documented_shape(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine")

    told = tinkertape("diagnose", "mine", "--json")

    diagnosis = json.loads(told.stdout)
    assert told.returncode == 0
    assert diagnosis.keys() >= {"run", "healthy", "findings", "partition", "ledger"}
    assert (diagnosis["healthy"], diagnosis["findings"]) == (True, [])
    assert tinkertape("diagnose").returncode == 0


def test_tail_shows_the_last_events_and_as_json_the_tapes_own_lines(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine", count=30)

    text = tinkertape("tail", "--no-follow", "-n", "5").stdout
    lines = [json.loads(line) for line in tinkertape("tail", "mine", "--json", "-n", "1000").stdout.splitlines()]

    assert len(text.splitlines()) == 5
    assert [line["event_data"]["number"] for line in lines if line["event_name"] == "my.event"] == list(range(30))
    assert lines[0]["event"] == "SESSION_START" and lines[-1]["event"] == "SESSION_END"


def test_tail_shows_the_events_of_several_processes_by_time(tinkertape: Run, directory: Path) -> None:
    path = directory.parent / "forks.py"
    path.write_text(
        "import os, sys, tinkertape\n"
        "telemetry = tinkertape.get_telemetry()\n"
        "telemetry.log('my.event', {'number': 1})\n"
        "if os.fork() == 0: telemetry.log('my.event', {'number': 2}); telemetry.flush(); os._exit(0)\n"
        "os.wait(); telemetry.log('my.event', {'number': 3})\n"
    )
    tinkertape("run", "-q", str(path))

    lines = [json.loads(line) for line in tinkertape("tail", "--json", "-n", "100").stdout.splitlines()]

    assert [line["event_data"]["number"] for line in lines if line["event_name"] == "my.event"] == [1, 2, 3]
    assert len(list(directory.glob("tapes/*/*.jsonl"))) == 2
    assert "number=3" in tinkertape("tail", "--no-follow", "-n", "2").stdout


def test_tail_says_what_held_everybody_up_and_not_what_is_measured_again_and_again(
    tinkertape: Run, directory: Path
) -> None:
    path = directory.parent / "held.py"
    path.write_text(
        "import threading, tinkertape\n"
        "measured = threading.Event()\n"
        "tinkertape.attach('measured', 'process.counts', lambda *_: measured.set())\n"
        "measured.wait(1)  # or they were there before us\n"
        "stall = {'duration': 300_000_000, 'monotonic_time': 1}\n"
        "who = {'cause': 'gil', 'thread_name': 'MainThread', 'stack': ['train.py:7 in split', 'train.py:1 in f']}\n"
        "tinkertape.execute('process.stall', stall, who)\n"
    )
    tinkertape("run", "-q", str(path))

    text = tinkertape("tail", "--no-follow").stdout
    every = {json.loads(line)["event_name"] for line in tinkertape("tail", "--json", "-n", "100").stdout.splitlines()}

    assert "0.30 s  gil  MainThread  train.py:7 in split\n" in text
    assert {"clock.tick", "process.memory", "process.cpu"} <= every
    assert "process.memory" not in text and "clock.tick" not in text


def test_tail_follows_a_run_to_its_end(directory: Path) -> None:
    path = directory.parent / "script.py"
    path.write_text(f"{LOGS}input()\ntelemetry.log('my.last')\n")
    running = [*TINKERTAPE, "run", "-q", str(path), "1", "x"]
    pipes = {"env": environment(directory), "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(running, **pipes) as run:  # type: ignore[call-overload]
        _wait_for_tape(directory)
        with subprocess.Popen([*TINKERTAPE, "tail", "--json"], **pipes) as tail:  # type: ignore[call-overload]
            seen = _until(tail.stdout, "my.event")
            run.communicate("\n", timeout=30)
            rest, _ = tail.communicate(timeout=30)

    assert seen
    assert "my.last" in rest and "SESSION_END" in rest
    assert (run.returncode, tail.returncode) == (0, 0)


def _wait_for_tape(directory: Path) -> None:
    from tests.waiting import wait_until  # noqa: PLC0415  used once

    wait_until(lambda: any("my.event" in path.read_text() for path in directory.rglob("*.jsonl")))


def _until(lines: Iterator[str], word: str) -> bool:
    return any(word in line for line in lines)


@pytest.mark.parametrize("arguments", [("runs",), ("show", "last"), ("tail", "--no-follow"), ("diagnose",)])
def test_nothing_of_a_run_can_steer_a_terminal(arguments: tuple[str, ...], tinkertape: Run, directory: Path) -> None:
    record(directory, f"name{HOSTILE}name", words=f"words{HOSTILE}words")

    for command in (arguments, (*arguments, "--json")):
        told = tinkertape(*command)
        assert told.returncode == 0
        assert told.stdout
        assert not STEERING.search(told.stdout + told.stderr)


@pytest.mark.parametrize(
    "arguments", [("runs",), ("show", "last"), ("tail", "--no-follow"), ("diagnose",), ("events",)]
)
def test_the_clients_install_is_enough_to_read(arguments: tuple[str, ...], directory: Path) -> None:
    record(directory, "mine")

    told = call([*TINKERTAPE, *arguments], directory, **without(directory, *SERVER, *COSTLY))

    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout


def test_the_clients_install_is_enough_to_record(directory: Path) -> None:
    record(directory, "mine", **without(directory, *SERVER))

    assert json.loads(call([*TINKERTAPE, "runs", "--json"], directory).stdout)[0]["name"] == "mine"


def test_garbage_in_the_middle_of_a_tape_hides_nothing_else(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine", count=5)
    [segment] = directory.glob("tapes/*/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:3], b"\x00\xff garbage \x1b[31m\n", *lines[3:], b'{"torn']))

    for command, status in ((("runs",), 0), (("show", "mine"), 0), (("tail", "--no-follow"), 0), (("diagnose",), 1)):
        told = tinkertape(*command)
        assert (told.returncode, told.stderr) == (status, ""), command
    assert "1 line of the tape is damaged and was set aside" in tinkertape("show", "mine").stdout
    shown = tinkertape("tail", "--no-follow", "-n", "100").stdout
    assert shown.count("my.event") == 5


@pytest.mark.parametrize("columns", [40, 50, 80])
def test_a_narrow_list_of_runs_keeps_id_and_name(columns: int, tinkertape: Run, directory: Path) -> None:
    record(directory, "nightly-lora")
    [row] = json.loads(tinkertape("runs", "--json").stdout)

    told = tinkertape("runs", COLUMNS=str(columns)).stdout

    assert row["run"] in told and "nightly-lora" in told
    assert all(len(line) <= columns for line in told.splitlines())
    assert ("✓ ended" in told) == (columns >= 50) and ("findings" in told) == (columns >= 80)


def test_a_tape_with_damaged_lines_says_so_and_is_not_healthy(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine", count=5)
    assert json.loads(tinkertape("diagnose", "mine", "--json").stdout)["healthy"] is True
    [segment] = directory.glob("tapes/*/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:3], *(b"garbage\n" for _ in lines[3:6]), *lines[6:]]))

    for command in ("show", "diagnose"):
        assert "3 lines of the tape are damaged and were set aside\n" in tinkertape(command, "mine").stdout
    told = tinkertape("diagnose", "mine", "--json")
    assert (told.returncode, json.loads(told.stdout)["healthy"]) == (1, False)


def test_a_folder_of_garbage_is_no_run(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine")
    folder = directory / "tapes" / "01ZZZZZZZZZZZZZZZZZZZZZZZZ"
    folder.mkdir()
    (folder / "abc-00001.jsonl").write_bytes(b"\x00\x01garbage\n")

    told = tinkertape("runs")

    assert told.returncode == 0 and "mine" in told.stdout and "01ZZ" not in told.stdout
    assert told.stderr.count("\n") == 1 and f"{folder} cannot be read" in told.stderr
    assert [row["name"] for row in json.loads(tinkertape("runs", "--json").stdout)] == ["mine"]


def test_a_dead_process_with_a_torn_head_was_killed(tmp_path: Path) -> None:
    header = Header(run="r", process="p", host="elsewhere", wall_ns=1)
    good, torn = (tmp_path / "r" / f"{process}-00001.jsonl" for process in ("p", "q"))
    good.parent.mkdir()
    good.write_bytes(encode_line(header))
    torn.write_bytes(b'{"tape":1,"run":"r","proc')

    [row] = TapesSource(tmp_path).runs(5)

    assert row.state == "killed"
    torn.rename(good)  # alone it cannot be listed; what asks for it by its id is not told that it ended well
    assert TapesSource(tmp_path).report("r").state == "killed"


@pytest.mark.parametrize("command", [("runs",), ("show", "last"), ("events",), ("tail", "--no-follow"), ("diagnose",)])
@pytest.mark.parametrize("json_too", [(), ("--json",)])
def test_with_stdout_closed_nothing_is_said(
    command: tuple[str, ...], json_too: tuple[str, ...], tinkertape: Run, directory: Path
) -> None:
    record(directory, "mine")
    call_closed = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *TINKERTAPE, *command, *json_too]

    told = call(call_closed, directory)

    assert (told.returncode, told.stderr) == (0, "")


def test_a_run_that_may_not_be_read_is_said_with_the_systems_reason(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = directory / "tapes" / "01RUN"
    folder.mkdir(parents=True)
    look = os.scandir

    def refuse(place: Path) -> object:  # to who is root nothing is refused
        if Path(place) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return look(place)

    monkeypatch.setattr("os.scandir", refuse)
    source = TapesSource(directory / "tapes")

    assert list(source.unreadable().values()) == [
        f"cannot read {folder}: Permission denied; look at its rights, or choose another folder"
    ]
    with pytest.raises(TapeError, match="Permission denied"):
        resolve("01RUN", source)


def test_a_tape_that_cannot_be_read_whole_hides_no_other_run(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, packed = new_ulid(), new_ulid()
    for run, segment_max in ((whole, 1_000_000), (packed, 2_000)):
        recorder = Recorder(directory / "tapes" / run, run, segment_max=segment_max)
        for _ in range(20):
            recorder.log("my.event", {"padding": "x" * 100})
            recorder.flush()
        recorder.close()
    for segment in open_tape(directory / "tapes" / packed).segments[:-1]:
        compress(segment)
    monkeypatch.setattr(codecs, "_zstd_or_none", lambda: None)
    source = TapesSource(directory / "tapes")

    rows = source.runs(20)

    assert [row.run for row in rows] == [whole]
    assert list(source.unreadable()) == [packed]
    assert "pip install 'tinkertape[zstd]'" in source.unreadable()[packed]
