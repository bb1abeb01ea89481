"""Whatever its collector does, a program ends within the time that it gave to the exit, and its tape is whole."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import environment

from tinkertape.tape import find_tapes

PROGRAM = """
import sys, time, tinkertape
telemetry = tinkertape.start("exits", url=sys.argv[1], exit_timeout_s=0.5, instrument=False)
for number in range(50):
    telemetry.log("my.event", {"number": number})
sys.stdin.readline()
began_s = time.monotonic()
telemetry.close()
print(round(time.monotonic() - began_s, 3))
"""
BUSY_S = 15.0  # for a machine that does other things; what hangs, hangs for ever
OK_START = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Slowly: "


def answers(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        while connection.recv(65_536):
            connection.sendall(text)

    return answer


def drip(connection: socket.socket) -> None:
    """A byte now and then, so that no wait for the next one is ever too long."""
    for byte in itertools.chain(OK_START, itertools.repeat(ord("x"))):
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


KINDS: dict[str, Callable[[socket.socket], None]] = {
    "hangs": lambda connection: threading.Event().wait(),  # type: ignore[dict-item, return-value]
    "drips": drip,
    "hangs up": lambda connection: connection.close(),
    "nonsense": answers(b"\x00\xff no HTTP at all\r\n\r\n"),
    "busy": answers(b"HTTP/1.1 503 Busy\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n"),
    "refuses": answers(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.fixture
def collectors() -> Iterator[dict[str, str]]:
    """The address of each kind of collector."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, serve in KINDS.items():
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=_accept, args=(listener, serve), daemon=True).start()
            found[name] = listener
        found["down"] = stack.enter_context(socket.socket())  # bound and never listening: refused
        found["down"].bind(("127.0.0.1", 0))
        found["silent"] = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # its queue is full: a connection is neither accepted nor refused
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(found["silent"].getsockname())
        yield {name: f"http://127.0.0.1:{listener.getsockname()[1]}" for name, listener in found.items()}


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, serve), daemon=True).start()


def _serve(connection: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError), connection:
        serve(connection)


def test_a_program_ends_in_its_time_with_a_collector_that_is_down_hangs_or_refuses(
    collectors: dict[str, str], tmp_path: Path
) -> None:
    programs = {
        name: subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url],
            env=environment(tmp_path / name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, url in collectors.items()
    }
    ended = {name: program.communicate("go\n", timeout=90) for name, program in programs.items()}

    assert {name: program.returncode for name, program in programs.items()} == dict.fromkeys(collectors, 0)
    took_s = {name: float(said) for name, (said, _) in ended.items()}
    assert {name: seconds for name, seconds in took_s.items() if seconds > 0.5 + BUSY_S} == {}
    complained = {name: said for name, (_, said) in ended.items() if said}
    assert set(complained) <= {"refuses"}, complained
    assert all(said.count("\n") == 1 for said in complained.values())
    for name in collectors:
        [tape] = find_tapes(tmp_path / name / "tapes")
        ledger = tape.verify().ledger
        assert ledger.recorded == ledger.pending >= 52, name
        [end] = tape.ends.values()
        assert end.status == "success"
