"""However a program is made of processes and threads, and however it ends: what it recorded is on its tape, once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests import loopback
from tests.faults.processes import tape_below

from tinkertape.tape import Tape

EVENTS = 100  # of each process, or thread

COMMON = f"""
import asyncio, multiprocessing, os, sys, threading
from concurrent.futures import ProcessPoolExecutor
import tinkertape

def record(who, events={EVENTS}):
    for number in range(events):
        assert tinkertape.get_telemetry().log("my.event", {{"who": who, "number": number}})

def start_and_record(who):
    tinkertape.start(instrument=False)
    record(f"{{who}} {{os.getpid()}}")
    return os.getpid()

"""

# What each does after that, and how many of its processes or threads record.
PROGRAMS = {
    "os._exit after a flush": (
        """
telemetry = tinkertape.start(instrument=False)
record("main")
assert telemetry.flush()
os._exit(0)
""",
        1,
    ),
    "a forked child that ends by os._exit after a flush": (
        """
telemetry = tinkertape.start(instrument=False)
record("parent")
if os.fork() == 0:
    record("child")
    os._exit(0 if telemetry.flush() else 1)
assert os.wait()[1] == 0
""",
        2,
    ),
    "a forked child that ends by itself": (
        """
tinkertape.start(instrument=False)
record("parent")
if os.fork() == 0:
    record("child")
    sys.exit(0)
assert os.wait()[1] == 0
""",
        2,
    ),
    "asyncio.run, twice": (
        """
tinkertape.start(instrument=False)

async def work(who):
    await asyncio.gather(asyncio.to_thread(record, f"thread {who}"), asyncio.sleep(0))
    record(f"loop {who}")

asyncio.run(work(1))
asyncio.run(work(2))
""",
        4,
    ),
    "threads that outlive the main one": (
        """
tinkertape.start(instrument=False)
main_is_over = threading.main_thread().join

def late(who):
    main_is_over()
    record(who)

for who in ("first", "second"):
    threading.Thread(target=late, args=(who,)).start()
""",
        2,
    ),
    "an atexit function that records": (
        """
import atexit
tinkertape.start(instrument=False)
atexit.register(record, "at exit")
record("main")
""",
        2,
    ),
}
WORKERS = """
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    tinkertape.start(instrument=False)
    record("parent")
    processes = [context.Process(target=start_and_record, args=(who,)) for who in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(start_and_record, "pool").result() != os.getpid()
"""
for method in ("spawn", "forkserver"):
    PROGRAMS[f"multiprocessing, {method}"] = (WORKERS.format(method=method), 4)


def run(script: str, directory: Path, says: str = "") -> Tape:
    directory.mkdir()
    program = directory / "program.py"
    program.write_text(COMMON + script)
    environment = {**os.environ, "TINKERTAPE_DIRECTORY": str(directory)}
    ended = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0
    assert re.fullmatch(says, ended.stderr), ended.stderr
    return tape_below(directory)


@pytest.mark.parametrize(("script", "many"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_whatever_a_program_is_made_of_each_event_is_on_its_tape_once(script: str, many: int, tmp_path: Path) -> None:
    tape = run(script, tmp_path / "program")

    events = [(event.metadata["who"], event.metadata["number"]) for event in tape if event.name == "my.event"]
    assert Counter(Counter(who for who, _ in events).values()) == {EVENTS: many}
    assert len(set(events)) == len(events)
    assert tape.ledger().balanced and not tape.ledger().dropped
    assert tape.verify().is_whole


ENDLESS = """
tinkertape.start(instrument=False)
begun = threading.Barrier(5)

def forever(who):
    begun.wait()
    while True:
        record(who)

for who in range(4):
    threading.Thread(target=forever, args=(who,), daemon=True).start()
begun.wait()
record("main")
"""


def test_threads_that_never_stop_do_not_harm_the_end_of_the_program_nor_its_tape(tmp_path: Path) -> None:
    script = ENDLESS.replace("record(who)", "(found := tinkertape.get_telemetry()) and found.log('my.event')")
    lost = "(tinkertape: not all of run .* was recorded: events were lost by .*\n)?"
    tape = run(script, tmp_path / "program", lost)

    [end] = tape.ends.values()
    ledger = tape.ledger()
    assert end.status == "success"
    assert ledger.balanced and ledger.dropped.keys() <= {"memory_full", "exit"}
    assert tape.verify().is_whole


class Refusing(loopback.Handler):
    """Says that it is a collector of ours, and to come again in an hour."""

    asked = 0

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        Refusing.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(503)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        for name, value in {"Tinkertape-Collector": "1", "Retry-After": "3600", "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


def test_a_collector_that_refuses_everything_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with loopback.Server(Refusing) as server:
        script = f"tinkertape.start(instrument=False, url={server.url!r})\nrecord('main')"
        tape = run(script, tmp_path / "program")  # which ends long before the hour is over

    assert Refusing.asked > 0
    assert [event.name for event in tape].count("my.event") == EVENTS
    assert tape.ledger().pending == tape.ledger().recorded
    assert [end.status for end in tape.ends.values()] == ["success"]
