"""How a child process ended: forked by hand, or a worker of `multiprocessing`, whoever began its recording."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinkertape.context import Event
from tinkertape.tape import Tape, find_tapes

WORKERS = """
import multiprocessing, sys, tinkertape

def work(number):
    telemetry = tinkertape.start("worker", instrument=False)  # the one that is running, if one is
    telemetry.log("worked", {"number": number})
    if number == 1:
        raise ValueError("the worker died")
    if number == 2:
        sys.exit(3)

if __name__ == "__main__":
    method, records = sys.argv[1:]
    telemetry = tinkertape.start("parent", instrument=False) if records == "inherited" else None
    processes = [multiprocessing.get_context(method).Process(target=work, args=(number,)) for number in range(3)]
    try:
        raise KeyError("handled where the workers are made, and none of theirs")
    except KeyError:
        for process in processes:
            process.start()
    for process in processes:
        process.join()
"""


def run_file(tmp_path: Path, text: str, *arguments: str, under: tuple[str, ...] = ()) -> list[Tape]:
    script = tmp_path / "script.py"
    script.write_text(text)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TINKERTAPE_")}
    environment = {**inherited, "TINKERTAPE_DIRECTORY": str(tmp_path / "directory")}
    command = [sys.executable, *under, str(script), *arguments]
    subprocess.run(command, env=environment, check=True, timeout=60, capture_output=True)
    return find_tapes(tmp_path / "directory" / "tapes")


def events_by_process(tape: Tape) -> list[list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in tape:
        found.setdefault(event.process, []).append(event)
    return list(found.values())


@pytest.mark.parametrize(
    ("method", "under"),
    [("fork", ()), ("spawn", ()), ("forkserver", ()), ("spawn", ("-m", "tinkertape", "run", "--quiet"))],
)
def test_a_worker_whose_own_recording_it_is_ends_it_and_says_how_the_worker_ended(
    tmp_path: Path, method: str, under: tuple[str, ...]
) -> None:
    tapes = run_file(tmp_path, WORKERS, method, "own", under=under)

    workers = {
        event.metadata["number"]: events
        for tape in tapes
        for events in events_by_process(tape)
        for event in events
        if event.name == "worked"
    }
    lifecycles = {
        number: [(event.name, event.metadata.get("status")) for event in events if event.name.startswith("telemetry.")]
        for number, events in workers.items()
    }
    began, died = ("telemetry.session.start", None), ("telemetry.exception", None)
    assert lifecycles == {
        0: [began, ("telemetry.session.stop", "success")],
        1: [began, died, ("telemetry.session.stop", "errored")],
        2: [began, ("telemetry.session.stop", "errored")],
    }
    assert [events[-1].metadata.get("exit_status") for _, events in sorted(workers.items())] == [None, 1, 3]
    assert all(set(tape.ends) == set(tape.processes()) and tape.ledger().balanced for tape in tapes)


def test_what_ends_a_worker_is_on_the_tape_of_the_recording_that_it_inherited(tmp_path: Path) -> None:
    [tape] = run_file(tmp_path, WORKERS, "fork", "inherited")

    assert [event.metadata["exception_message"] for event in tape if event.name == "telemetry.exception"] == [
        "the worker died"
    ]
    assert set(tape.ends) == set(tape.processes()) and tape.ledger().balanced
    statuses = {event.metadata["number"]: tape.ends[event.process].status for event in tape if event.name == "worked"}
    assert statuses == {0: "success", 1: "errored", 2: "errored"}


FORKED = """
import atexit, os, tinkertape
telemetry = tinkertape.start("parent", instrument=False)
atexit.register(lambda: telemetry.log("at.exit"))
if os.fork() == 0:
    raise ValueError("the child died")
os.wait()
"""


def test_a_forked_child_records_to_its_end_and_what_ended_it(tmp_path: Path) -> None:
    [tape] = run_file(tmp_path, FORKED)

    names = [[event.name for event in events if event.name != "clock.tick"] for events in events_by_process(tape)]
    assert sorted(names) == [
        ["at.exit", "telemetry.exception"],
        ["telemetry.session.start", "at.exit", "telemetry.session.stop"],
    ]
    assert {end.status for end in tape.ends.values()} == {"success", "errored"}


GOES_ON = """
import multiprocessing, sys, tinkertape
telemetry = tinkertape.start("parent", instrument=False)
sys.last_value = ValueError("printed, and nothing ended by it")
{prompt}
worker = multiprocessing.get_context("fork").Process(target=telemetry.log, args=("worked",))
worker.start()
worker.join()
{end}
"""


@pytest.mark.parametrize(("prompt", "end"), [("sys.ps1 = 'In: '", ""), ("", "del sys.last_value")], ids=str)
def test_an_error_that_was_printed_and_ended_nothing_ends_no_worker_and_no_prompt(
    tmp_path: Path, prompt: str, end: str
) -> None:
    [tape] = run_file(tmp_path, GOES_ON.format(prompt=prompt, end=end))

    assert [event.name for event in tape if event.name == "telemetry.exception"] == []
    assert [said.status for said in tape.ends.values()] == ["success", "success"]
