"""Real processes that fork, are killed, and exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.waiting import wait_until

from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.ledger import Ledger

KILLED = """
import sys, time
from pathlib import Path
from tinkertape.tape import Recorder
recorder = Recorder(Path(sys.argv[1]), "run-1")
n = 0
while True:
    recorder.log("a", {"n": n})
    print(n, time.perf_counter_ns(), flush=True)
    n += 1
    time.sleep(0.001)
"""

FORKED = """
import os, sys
from pathlib import Path
from tinkertape.tape import Recorder
recorder = Recorder(Path(sys.argv[1]), "run-1")
recorder.log("parent", {"n": 0})
for _ in range(2):
    if os.fork() == 0:
        recorder.log("child", {"pid": os.getpid()})
        sys.exit(0)
    os.wait()
recorder.log("parent", {"n": 1})
recorder.close()
"""


def test_what_was_recorded_100_ms_before_a_sigkill_is_on_the_tape(folder: Path) -> None:
    program = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    said: list[tuple[int, int]] = []

    def listen() -> None:
        assert program.stdout is not None
        for text in program.stdout:
            said.append((int(text.split()[0]), int(text.split()[1])))

    listener = threading.Thread(target=listen)
    listener.start()
    wait_until(lambda: len(said) > 300, within_s=30)
    killed_ns = time.perf_counter_ns()  # one clock for all processes of a host (CLOCK_MONOTONIC)
    program.send_signal(signal.SIGKILL)
    program.wait()
    listener.join()
    program.stdout.close()

    tape = open_tape(folder)
    found = [event.metadata["n"] for event in tape]
    assert found == list(range(len(found)))
    assert {n for n, at_ns in said if at_ns < killed_ns - 100_000_000} <= set(found)
    assert tape.ends == {}
    assert tape.ledger().balanced


def test_a_forked_child_records_under_its_own_id_into_its_own_file(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", FORKED, str(folder)], check=True, timeout=60)

    tape = open_tape(folder)
    assert len(tape.processes()) == 3
    assert len({header.process for header in tape.headers}) == 3
    assert len({header.pid for header in tape.headers}) == 3
    by_process = {(event.process, event.index): event.name for event in tape}
    assert sorted(by_process.values()) == ["child", "child", "parent", "parent"]
    assert tape.ledger() == Ledger(recorded=4, pending=4)


def test_a_child_forked_while_the_writer_writes_is_not_held_up(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    for n in range(1000):
        recorder.log("parent", {"n": n})
    recorder.writer._file_lock.acquire()  # as if the writer were in the middle of a write
    child = os.fork()
    if child == 0:
        recorder.log("child")
        os._exit(0 if recorder.flush(5) else 1)
    recorder.writer._file_lock.release()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert recorder.close()
    names = [event.name for event in open_tape(folder)]
    assert names.count("parent") == 1000
    assert names.count("child") == 1


WORKERS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tinkertape.tape import Recorder
recorder = Recorder(Path(sys.argv[1]), "run-1")

def work(many):
    for n in range(100):
        recorder.log("worker", {"n": n})

def nested(depth):
    work(depth)
    if depth:
        child = context.Process(target=nested, args=(depth - 1,))
        child.start()
        child.join()

def own(place):  # its own recorder
    mine = Recorder(Path(place), "run-1")
    for n in range(100):
        mine.log("worker", {"n": n})

def killed(n):
    work(n)
    raise SystemExit(3)

context = multiprocessing.get_context("fork")
recorder.log("parent")
kind = sys.argv[2]
if kind == "Pool":
    with context.Pool(2) as pool:
        pool.map(work, range(3), chunksize=1)
        pool.close()
        pool.join()
elif kind == "ProcessPoolExecutor":
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(work, range(3)))
elif kind == "nested":
    nested_in = context.Process(target=nested, args=(2,))
    nested_in.start()
    nested_in.join()
else:
    target = {"Process": work, "own": own, "SystemExit": killed}[kind]
    processes = [context.Process(target=target, args=(sys.argv[1],)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
recorder.log("parent")
recorder.close()
"""


@pytest.mark.parametrize("kind", ["Process", "SystemExit", "nested", "Pool", "ProcessPoolExecutor"])
def test_a_worker_of_multiprocessing_keeps_all_its_events_and_closes_its_tape(folder: Path, kind: str) -> None:
    subprocess.run([sys.executable, "-c", WORKERS, str(folder), kind], check=True, timeout=60)

    tape = open_tape(folder)
    names = [event.name for event in tape]
    assert (names.count("worker"), names.count("parent")) == (300, 2)
    assert set(tape.ends) == set(tape.processes())
    assert tape.ledger() == Ledger(recorded=302, pending=302)


def test_a_recorder_that_was_made_in_a_worker_keeps_its_events_too(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", WORKERS, str(folder), "own"], check=True, timeout=60)

    assert [event.name for event in open_tape(folder)].count("worker") == 300
