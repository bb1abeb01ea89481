"""`start`, `record`, `log`, `flush`, `close`: each in a real process with a real tape."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinkertape
from tinkertape.config import new_ulid
from tinkertape.errors import ConfigError, EventNameError, TapeError
from tinkertape.tape import Recorder, recorder, snapshot
from tinkertape.telemetry import Telemetry


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [name for name in os.environ if name.startswith("TINKERTAPE_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("TINKERTAPE_DIRECTORY", str(tmp_path))
    return tmp_path


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def run_script(directory: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TINKERTAPE_")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, "TINKERTAPE_DIRECTORY": str(directory), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_was_logged_is_on_the_tape_between_the_session_s_two_ends(directory: Path) -> None:
    with tinkertape.record("nightly", instrument=False, metadata={"team": "a"}, tags=["x"]) as telemetry:
        accepted = telemetry.log("my.thing.done", {"rows": 3}, severity="WARNING")

    header, *events, end = lines_of(telemetry.tape)
    assert accepted
    assert (header["name"], header["run"], header["metadata"], header["tags"]) == (
        "nightly",
        telemetry.run,
        {"team": "a"},
        ["x"],
    )
    named = [
        (event["event"], event.get("event_name")) for event in events if not event["event_name"].startswith("clock")
    ]
    assert named[0][0] == "SESSION_START"
    assert ("GENERIC_EVENT", "my.thing.done") in named
    assert named[-1][0] == "SESSION_END"
    [mine] = [event for event in events if event["event_name"] == "my.thing.done"]
    assert (mine["event_data"], mine["severity"]) == ({"rows": 3}, "WARNING")
    assert (end["recorded"], end["written"], end["status"]) == (len(events), len(events), "success")


def test_a_dict_that_changes_afterwards_is_recorded_as_it_was(directory: Path) -> None:
    with tinkertape.record(instrument=False) as telemetry:
        data = {"step": 1, "nested": {"loss": 2.0}}
        telemetry.log("my.step", data)
        data["step"], data["nested"]["loss"] = 2, 0.0  # type: ignore[index]

    [line] = [line for line in lines_of(telemetry.tape) if line.get("event_name") == "my.step"]
    assert line["event_data"] == {"step": 1, "nested": {"loss": 2.0}}


def test_whoever_is_attached_to_a_logged_name_hears_it_with_its_severity(directory: Path) -> None:
    heard: list[tinkertape.Event] = []
    tinkertape.attach("me", "Checkpoint.saved", lambda *call: heard.append(tinkertape.Event.of(*call[:3])))
    try:
        with tinkertape.record(instrument=False) as telemetry:
            telemetry.log("Checkpoint.saved", {"path": "p"}, severity="CRITICAL")
    finally:
        tinkertape.detach("me")

    assert [(event.name, event.metadata, event.severity) for event in heard] == [
        ("Checkpoint.saved", {"path": "p"}, "CRITICAL")
    ]
    assert len([line for line in lines_of(telemetry.tape) if line.get("event_name") == "Checkpoint.saved"]) == 1


def test_an_error_is_in_the_file_before_log_returns(directory: Path) -> None:
    with tinkertape.record(instrument=False) as telemetry:
        telemetry.log("my.failure", {"why": "x"}, severity="ERROR")
        written = lines_of(telemetry.tape)

    assert "my.failure" in [line.get("event_name") for line in written]


def test_flush_brings_the_tape_up_to_date_and_the_ledger_balances(directory: Path) -> None:
    with tinkertape.record(instrument=False) as telemetry:
        for number in range(1_000):
            telemetry.log("my.event", {"number": number})
        flushed = telemetry.flush()
        written = [line for line in lines_of(telemetry.tape) if line.get("event_name") == "my.event"]
        ledger = telemetry.ledger()

    assert flushed
    assert [line["event_data"]["number"] for line in written] == list(range(1_000))
    assert ledger.balanced
    assert ledger.recorded == ledger.pending >= 1_000


def test_a_second_start_gives_back_the_running_one_with_a_warning(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tinkertape.record("first", instrument=False) as first:
        second = tinkertape.start("second", instrument=False)
        current = tinkertape.get_telemetry()

    assert second is first is current
    assert "already recording" in caplog.text
    assert tinkertape.get_telemetry() is None


def test_an_exception_that_leaves_the_block_is_recorded_and_goes_on(directory: Path) -> None:
    with pytest.raises(KeyError), tinkertape.record(instrument=False) as telemetry:
        raise KeyError("k")

    lines = lines_of(telemetry.tape)
    [fatal] = [line for line in lines if line.get("event") == "UNHANDLED_EXCEPTION"]
    assert fatal["metadata"]["exception_type"] == "KeyError"
    assert lines[-1]["status"] == "errored"


def test_an_unknown_severity_is_refused_where_it_is_given(directory: Path) -> None:
    with tinkertape.record(instrument=False) as telemetry, pytest.raises(ValueError, match="LOUD"):
        telemetry.log("my.event", severity="LOUD")


def test_nothing_is_recorded_when_it_is_switched_off(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKERTAPE_OFF", "1")

    with tinkertape.record() as telemetry:
        accepted = telemetry.log("my.event")

    assert not accepted
    assert not (directory / "tapes").exists()


def test_a_log_after_close_is_refused(directory: Path) -> None:
    with tinkertape.record(instrument=False) as telemetry:
        pass

    assert telemetry.log("too.late") is False


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [("pass", "success", 0), ("raise ValueError('x')", "errored", 1), ("raise SystemExit(3)", "success", 3)],
)
def test_the_tape_is_closed_at_exit_with_how_it_ended(directory: Path, ending: str, status: str, code: int) -> None:
    done = run_script(
        directory, f"import tinkertape; t = tinkertape.start('x', instrument=False); t.log('a.b')\n{ending}"
    )

    [folder] = (directory / "tapes").iterdir()
    lines = lines_of(folder)
    assert done.returncode == code
    assert lines[-1]["status"] == status
    assert "a.b" in [line.get("event_name") for line in lines]


STARTS_AGAIN = """
import os, tinkertape
telemetry = tinkertape.start("a", instrument=False)
if os.fork() == 0:
    with tinkertape.start("b", instrument=False) as again:
        assert again.run == telemetry.run and again.log("mine", {"number": 1})
    with tinkertape.record("c") as again:
        assert again.log("mine", {"number": 2})
    raise SystemExit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
telemetry.close()
print(sorted(event.metadata["number"] for event in tinkertape.open_tape(telemetry.tape) if event.name == "mine"))
"""


def test_a_start_in_a_forked_child_gives_back_the_run_that_it_goes_on_recording(directory: Path) -> None:
    done = run_script(directory, STARTS_AGAIN)

    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 2]\n", "")


@pytest.mark.parametrize("leaves", ["os._exit(9)", "os.execv('/bin/sh', ['sh', '-c', 'exit 9'])"])
def test_a_program_that_is_gone_at_once_leaves_its_run_with_its_beginning(directory: Path, leaves: str) -> None:
    done = run_script(directory, f"import os, tinkertape; tinkertape.start('short'); {leaves}")

    assert (done.returncode, done.stderr) == (9, "")
    [folder] = (directory / "tapes").iterdir()
    tape = tinkertape.open_tape(folder)
    assert [header.name for header in tape.headers] == ["short"]
    assert [event.name for event in tape][:1] == ["telemetry.session.start"]


def test_a_child_process_records_into_the_same_run_and_a_forked_one_too(directory: Path) -> None:
    script = """
import os, subprocess, sys, tinkertape
telemetry = tinkertape.start("parent", instrument=False)
telemetry.log("from.parent")
if os.environ.get("CHILD"):
    sys.exit()
subprocess.run([sys.executable, "-c", os.environ["SCRIPT"]], env={**os.environ, "CHILD": "1"}, check=True)
pid = os.fork()
telemetry.log("after.fork", {"child": pid == 0})
telemetry.flush()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
"""
    done = run_script(directory, script, SCRIPT=script)

    assert done.returncode == 0, done.stderr
    [folder] = (directory / "tapes").iterdir()
    files = [[json.loads(line) for line in path.read_bytes().splitlines()] for path in folder.glob("*.jsonl")]
    assert len(files) == 3
    after = sorted(
        line["event_data"]["child"] for lines in files for line in lines if line.get("event_name") == "after.fork"
    )
    assert after == [False, True]
    assert len([1 for lines in files for line in lines if line.get("event_name") == "from.parent"]) == 2


def test_a_folder_that_cannot_be_made_is_said_in_one_line_at_the_start(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_ulid()
    monkeypatch.setenv("TINKERTAPE_RUN", run)
    (directory / "tapes").mkdir()
    (directory / "tapes" / run).write_text("a file where a folder should be")

    with pytest.raises(TapeError, match=r"cannot record into .*tapes.*TINKERTAPE_DIRECTORY") as refused:
        tinkertape.start("x", instrument=False)

    assert "\n" not in str(refused.value)
    assert tinkertape.get_telemetry() is None


def test_a_library_that_records_for_itself_does_not_end_its_caller_s_recording(directory: Path) -> None:
    with tinkertape.record("program", instrument=False) as telemetry:
        with tinkertape.record("library", instrument=False):
            telemetry.log("from.library")
        with contextlib.suppress(KeyError), tinkertape.record("another", instrument=False):
            raise KeyError("caught outside")
        accepted = telemetry.log("after.library")

    lines = lines_of(telemetry.tape)
    assert accepted
    assert {"from.library", "after.library"} <= {line.get("event_name") for line in lines}
    assert [line for line in lines if line.get("event") == "UNHANDLED_EXCEPTION"] == []
    assert lines[-1]["status"] == "success"
    assert telemetry.log("too.late") is False


def test_a_program_that_records_under_tinkertape_run_does_not_end_the_run(directory: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import tinkertape\n"
        "with tinkertape.record('mine') as telemetry:\n    telemetry.log('inside.it')\n"
        "telemetry.log('after.it')\nraise ValueError('crash')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tinkertape", "run", "-q", str(script)], capture_output=True, text=True, timeout=60
    )

    [folder] = (directory / "tapes").iterdir()
    lines = lines_of(folder)
    assert done.returncode == 1
    assert {"inside.it", "after.it"} <= {line.get("event_name") for line in lines}
    assert lines[-1]["status"] == "errored"


@pytest.mark.parametrize(
    "arguments",
    [
        {"durability": "powr"},
        {"exit_timeout_s": -1},
        {"flush_threshold": 0},
        {"max_pending": True},
        {"tags": "abc"},
        {"metadata": 5},
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused_before_anything_changes(
    directory: Path, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        tinkertape.start("x", instrument=False, **arguments)

    assert not (directory / "tapes").exists()


@pytest.mark.parametrize("name", [None, 5, ""])
def test_a_name_that_is_no_text_is_refused_and_nothing_is_counted(directory: Path, name: Any) -> None:
    with tinkertape.record(instrument=False) as telemetry:
        with pytest.raises(EventNameError, match="cannot log"):
            telemetry.log(name)
        telemetry.flush()
        ledger = telemetry.ledger()

    assert ledger.dropped == {}


def test_an_exception_whose_text_fails_is_recorded_all_the_same(directory: Path) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(Mute), tinkertape.record(instrument=False) as telemetry:
        raise Mute

    [fatal] = [line for line in lines_of(telemetry.tape) if line.get("event") == "UNHANDLED_EXCEPTION"]
    assert fatal["metadata"]["exception_message"] == "<exception str() failed>"


@pytest.mark.parametrize("wrong", ["info", "", None, 20, [], {}])
def test_a_severity_that_is_none_is_refused_whatever_it_is(wrong: Any) -> None:
    with tinkertape.record(instrument=False) as telemetry, pytest.raises(ValueError, match="unknown severity"):
        telemetry.log("a.b", severity=wrong)


class Interrupted(Exception):
    """What a program's handler of a signal raises."""


def interrupt() -> None:
    raise Interrupted


@pytest.mark.parametrize("severity", ["INFO", "WARNING"])
def test_what_a_signals_handler_raises_while_an_event_is_encoded_reaches_the_program(
    severity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, calls = snapshot.encode_snapshot, iter([True])

    def encode_and_be_interrupted(parts: Any) -> bytes:
        if next(calls, False):
            interrupt()
        return encode(parts)

    with tinkertape.record(instrument=False) as telemetry:
        telemetry.log("a.b", {"n": 0})  # the name is known
        for module in (sys.modules["tinkertape.telemetry"], recorder):
            monkeypatch.setattr(module, "encode_snapshot", encode_and_be_interrupted)

        with pytest.raises(Interrupted):
            telemetry.log("a.b", {"n": 1}, severity=severity)
        telemetry.log("a.b", {"n": 2}, severity=severity)

    logged = [line["event_data"] for line in lines_of(telemetry.tape) if line.get("event_name") == "a.b"]
    assert logged == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_importing_costs_no_large_package() -> None:
    heavy = ("httpx", "chdb", "starlette", "pydantic", "numpy", "tinker", "click", "rich", "asyncio")
    script = f"import sys, tinkertape; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_recording_loads_nothing_of_the_diagnosis(tmp_path: Path) -> None:
    """What is loaded stays in the sight of Python's collector of cycles as long as the program runs."""
    script = (
        f"import sys, tinkertape; tinkertape.start(directory={str(tmp_path)!r}, url=''); "
        "print([name for name in sys.modules if name.startswith(('tinkertape.diagnosis', 'tinkertape.metrics'))])"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_the_telemetry_of_the_public_surface_is_the_one_of_the_room() -> None:
    assert tinkertape.Telemetry is Telemetry


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("telemetry.close(); telemetry.close('errored'); telemetry.close()", "success"),
        ("telemetry.close('interrupted')\nwith telemetry: pass", "interrupted"),
        ("with telemetry:\n    with telemetry: pass\ntelemetry.close('errored')", "success"),
        ("tinkertape.start(); tinkertape.start(); raise ValueError", "errored"),
        ("telemetry.record_fatal(ValueError()); telemetry.flush(); telemetry.log('after')", "success"),
    ],
)
def test_a_session_has_one_start_and_one_end_however_often_it_is_closed(
    directory: Path, ending: str, status: str
) -> None:
    run_script(directory, f"import tinkertape\ntelemetry = tinkertape.start(instrument=False)\n{ending}")

    [folder] = (directory / "tapes").iterdir()
    ends = [line for line in lines_of(folder) if line.get("event") in ("SESSION_START", "SESSION_END")]
    assert [line["event"] for line in ends] == ["SESSION_START", "SESSION_END"]
    assert ends[1]["metadata"]["status"] == status
    assert ends[1]["measurements"]["duration"] > 0


def test_a_source_that_fails_as_it_goes_does_not_keep_the_next_start_from_recording(directory: Path) -> None:
    script = """
import tinkertape
from tinkertape.instrument import process
given_back = process.uninstall
def failing():
    given_back()
    raise RuntimeError
process.uninstall = failing
tinkertape.start().close()
with tinkertape.start() as telemetry:
    telemetry.log("my.event")
"""
    done = run_script(directory, script)

    assert done.returncode == 0, done.stderr
    names = [[line.get("event_name") for line in lines_of(tape)] for tape in (directory / "tapes").iterdir()]
    assert all("telemetry.session.stop" in told for told in names)
    assert ["my.event" in told for told in names].count(True) == 1 and len(names) == 2


def test_where_no_thread_is_to_be_had_the_program_goes_on_and_what_it_logs_is_on_the_tape(directory: Path) -> None:
    script = """
import threading
threading.stack_size(1 << 46)  # no machine has so much: no thread can be started now
import tinkertape
from tinkertape.guard import failures
telemetry = tinkertape.start(url="http://127.0.0.1:9", watch=True)
telemetry.log("my.event")
telemetry.close()
print(sum(number for (_, kind), number in failures().items() if kind == "RuntimeError"), telemetry.tape)
"""
    done = run_script(directory, script)

    assert (done.returncode, "the program is not affected" in done.stderr) == (0, True)
    failed, tape = done.stdout.split()
    assert int(failed) > 0
    assert "my.event" in [line.get("event_name") for line in lines_of(Path(tape))]


def test_what_was_lost_on_its_way_to_the_tape_is_said_at_the_end(directory: Path) -> None:
    script = """
import resource, signal, tinkertape
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with tinkertape.start("limited", instrument=False, max_pending=10) as telemetry:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))  # a disk that is full
    for number in range(100):
        telemetry.log("my.event", {"padding": "x" * 100}, severity="ERROR")
print(telemetry.ledger().dropped["disk_full"])
"""
    done = run_script(directory, script)

    run, lost = next((directory / "tapes").iterdir()).name, int(done.stdout)
    assert 0 < lost <= 100
    said = f"tinkertape: not all of run {run} was recorded: events were lost by disk_full {lost}\n"
    assert (done.returncode, done.stderr) == (0, said)


def test_a_ledger_that_cannot_be_made_at_the_end_is_no_error_of_the_programs(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Recorder) -> None:
        raise RuntimeError("no ledger")

    telemetry = tinkertape.start("run", directory=directory, instrument=False)
    monkeypatch.setattr(Recorder, "ledger", fail)

    telemetry.close()

    assert "tape_end" in lines_of(telemetry.tape)[-1]
