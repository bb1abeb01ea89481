"""SIGTERM, in a program that leaves it alone: it dies of it at once, and its tape has its end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import environment

from tinkertape import sim
from tinkertape.sim import Scenario

START = "import tinkertape; tinkertape.start('mine', instrument=False); "
READY = "print('ready', flush=True); "
FOR_EVER = {
    "Python": "import time\nwhile True: pass",
    "a sleep": "import time; time.sleep(1000)",
    "a lock": "import threading; threading.Lock().acquire() and threading.Event().wait()",
    "an event loop": "import asyncio; asyncio.run(asyncio.sleep(1000))",
    "a C function that asks for nothing": "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)",
    "another thread": "import threading, time; thread = threading.Thread(target=time.sleep, args=(1000,)); "
    "thread.start(); thread.join()",
}

Terminated = Callable[..., tuple[int, str, str, list[dict[str, Any]]]]


@pytest.fixture
def terminated(tmp_path: Path) -> Terminated:
    """Run a program until it prints "ready", send it SIGTERM, and give its status, output and tape."""

    def run(source: str, **more: str) -> tuple[int, str, str, list[dict[str, Any]]]:
        with subprocess.Popen(
            [sys.executable, "-c", source],
            env=environment(tmp_path, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=30)
        return process.returncode, said + stdout, stderr, lines(tmp_path)

    return run


def lines(directory: Path) -> list[dict[str, Any]]:
    files = sorted(directory.glob("tapes/*/*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_bytes().splitlines()]


def ends(tape: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    """The status of each end line, and the exit status that the event before it has."""
    stops = [line["metadata"].get("exit_status") for line in tape if line.get("event") == "SESSION_END"]
    return list(zip([line["status"] for line in tape if "status" in line and "written" in line], stops, strict=True))


@pytest.mark.parametrize("doing", FOR_EVER)
def test_whatever_the_main_thread_does_the_program_dies_of_the_signal_and_its_tape_ends(
    doing: str, terminated: Terminated
) -> None:
    status, stdout, stderr, tape = terminated(START + READY + FOR_EVER[doing])

    assert (status, stdout, stderr) == (-signal.SIGTERM, "ready\n", "")
    assert ends(tape) == [("interrupted", 143)]


TRAINS = """
import tinker, tinkertape
from tests.diagnosis.training import batch
tinkertape.start("training")
client = tinker.ServiceClient().create_lora_training_client(base_model="simulated/bytes-bigram", rank=8).result()
future = client.forward_backward(batch(), "cross_entropy")
print("ready", flush=True)
future.result()
"""


@pytest.fixture
def slow_service() -> Iterator[str]:
    with sim.start(Scenario(compute_s={"ForwardBackward": 1000.0})) as service:
        yield service.url


def test_a_program_that_waits_in_the_sdk_for_a_result_dies_at_once(terminated: Terminated, slow_service: str) -> None:
    status, _, _, tape = terminated(TRAINS, TINKER_BASE_URL=slow_service, TINKER_API_KEY="tml-made-up")

    assert status == -signal.SIGTERM
    assert ends(tape) == [("interrupted", 143)]
    assert "tinker.training.forward_backward.start" in {line.get("event_name") for line in tape}


def test_a_collector_that_hangs_delays_the_death_by_a_bounded_time(terminated: Terminated) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        status, _, _, tape = terminated(
            START + READY + FOR_EVER["a sleep"], TINKERTAPE_URL=f"http://127.0.0.1:{hangs.getsockname()[1]}"
        )

    assert status == -signal.SIGTERM
    assert ends(tape) == [("interrupted", 143)]


def test_a_handler_of_the_programs_own_is_the_only_one(terminated: Terminated) -> None:
    own = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"

    status, _, _, tape = terminated(START + own + READY + FOR_EVER["a sleep"])

    assert status == 7
    assert [end for end, _ in ends(tape)] != ["interrupted"]


def test_a_signal_that_is_ignored_or_handled_in_c_before_the_start_is_left_alone(terminated: Terminated) -> None:
    before = "import faulthandler, signal; faulthandler.register(signal.SIGTERM, all_threads=False, chain=True)\n"
    status, _, stderr, tape = terminated(before + START + READY + FOR_EVER["a sleep"])
    assert (status, "most recent call first" in stderr, ends(tape)) == (-signal.SIGTERM, True, [])

    after = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    status, stdout, _, _ = terminated(after + START + READY + "import time; time.sleep(0.5); print('went on')")
    assert (status, stdout) == (0, "ready\nwent on\n")


def test_who_waits_for_the_signal_gets_it_whatever_threads_there_are(terminated: Terminated) -> None:
    waits = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"

    status, stdout, _, _ = terminated(START + waits + READY + "print(signal.sigwait([signal.SIGTERM]))")

    assert (status, stdout) == (0, "ready\n15\n")


FORKS = """
import os, signal
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(9)
seen = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL]
tinkertape.get_telemetry().close()
print(*seen, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""


def test_a_forked_child_dies_alone_and_after_the_close_all_is_as_it_was(terminated: Terminated) -> None:
    status, stdout, stderr, tape = terminated(START + FORKS + FOR_EVER["a sleep"])

    assert (status, stdout, stderr) == (-signal.SIGTERM, "-15 True True\n", "")
    assert ("success", None) in ends(tape)


CLOSES_ALL = """
import os, signal, threading
os.closerange(3, 256)
watches = [thread for thread in threading.enumerate() if thread.name == "tinkertape-sigterm"]
for thread in watches:
    thread.join(20)
print(any(thread.is_alive() for thread in watches), repr(signal.getsignal(signal.SIGTERM)), end=" ")
"""


def test_a_program_that_closes_every_file_has_its_signal_back_and_hears_nothing_of_it(terminated: Terminated) -> None:
    status, stdout, stderr, tape = terminated(START + CLOSES_ALL + READY + FOR_EVER["a sleep"])

    assert (status, stdout, stderr) == (-signal.SIGTERM, "False <Handlers.SIG_DFL: 0> ready\n", "")
    assert ends(tape) == []


FORKS_IN_C = """
import ctypes, os, signal
if ctypes.PyDLL(None).fork() == 0:
    signal.raise_signal(signal.SIGTERM)
os.wait()
"""


def test_a_child_that_was_forked_past_python_does_not_end_its_parent(terminated: Terminated) -> None:
    program = START + FORKS_IN_C + "tinkertape.get_telemetry().close(); " + READY + FOR_EVER["a sleep"]

    _, stdout, _, tape = terminated(program)

    assert stdout == "ready\n"
    assert ends(tape) == [("success", None)]


IN_THE_CLOSE = """
import os, signal, time, tinkertape
telemetry = tinkertape.start("mine", instrument=False)
tinkertape.attach("ends", "telemetry.session.stop", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
telemetry.close()
time.sleep(1000)
"""


def test_death_waits_for_a_close_that_has_begun(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", IN_THE_CLOSE], env=environment(tmp_path), timeout=30)

    assert done.returncode == -signal.SIGTERM
    assert ends(lines(tmp_path)) == [("success", None)]  # it was stopped in its midst, and the tape had no end


def test_a_recording_that_another_thread_closes_leaves_the_default(terminated: Terminated) -> None:
    closes = "import threading; t = threading.Thread(target=tinkertape.get_telemetry().close); t.start(); t.join()\n"
    again = "tinkertape.start('again', instrument=False)\n"

    status, _, _, tape = terminated(START + closes + READY + FOR_EVER["a sleep"])
    assert (status, ends(tape)) == (-signal.SIGTERM, [("success", None)])

    status, _, _, tape = terminated(START + closes + again + READY + FOR_EVER["a sleep"])
    assert status == -signal.SIGTERM
    assert ("interrupted", 143) in ends(tape)
