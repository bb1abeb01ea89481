"""A training script whose collector is away, or hangs, runs as if we were not there."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.processes import EXAMPLE, ended, lines_on, plain, recorded, run_below, tape_below

from tinkertape.sim import FutureFault, Scenario, Sim

STEPS = 4
SCENARIO = Scenario(compute_s={"ForwardBackward": 0.02}, future_faults=(FutureFault(nth=2, category="user"),))
EXIT_S = 20.0  # how much longer an exit may take: it waits 2 s for a collector that hangs, and this machine may be busy
FAILS = f"""
import runpy, sys
sys.argv = ["train.py", "--steps", "2"]
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
print("the end is near", file=sys.stderr)

def save(path):
    raise ValueError("cannot save " + path)

save("model.bin")
"""


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens, and nothing will while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def hanging() -> Iterator[str]:
    """A collector that accepts every connection, reads, and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                kept.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    for connection in kept:
        connection.close()
    assert kept, "nobody ever asked it"


def without_ids(text: str) -> str:
    """Two runs differ in what the service names: sessions and models."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}", "ID", text)


@pytest.mark.timeout(180)
def test_without_a_collector_or_with_one_that_hangs_output_and_exit_status_are_plain_pythons_and_the_tape_is_whole(
    sim_of: Callable[[Scenario], Sim], nobody: str, hanging: str, tmp_path: Path
) -> None:
    fails = tmp_path / "fails.py"
    fails.write_text(FAILS)
    scripts = {"success": (EXAMPLE, "--steps", str(STEPS)), "errored": (fails,)}
    collectors = {"absent": nobody, "hanging": hanging}
    began_s = time.monotonic()
    without = {
        status: plain(*script, directory=tmp_path / "plain", service=sim_of(SCENARIO).url)
        for status, script in scripts.items()
    }
    programs = {
        (status, where): recorded(
            *script, directory=tmp_path / f"{where}-{status}", service=sim_of(SCENARIO).url, TINKERTAPE_URL=url
        )
        for status, script in scripts.items()
        for where, url in collectors.items()
    }
    ends = {status: ended(program) for status, program in without.items()}
    plain_s = time.monotonic() - began_s
    found = {key: ended(program) for key, program in programs.items()}
    took_s = time.monotonic() - began_s

    assert {status: end[0] for status, end in ends.items()} == {"success": 0, "errored": 1}
    for (status, where), (code, said, complained) in found.items():
        plain_code, plain_said, plain_complained = ends[status]
        assert "loss" in said and code == plain_code
        assert without_ids(said) == without_ids(plain_said)
        assert without_ids(complained) == without_ids(plain_complained)
        assert_whole(tmp_path / f"{where}-{status}", status)
    assert took_s < plain_s + EXIT_S
    assert not (tmp_path / "plain").exists()


def assert_whole(home: Path, status: str) -> None:
    """The tape has its end, and everything that was recorded; nothing of it is acknowledged."""
    tape = tape_below(home)
    names = [event.name for event in tape]
    ledger = tape.ledger()
    [end] = tape.ends.values()

    assert end.status == status
    assert (ledger.recorded, ledger.pending, ledger.dropped) == (len(names), len(names), {})
    assert len(names) == lines_on(home / "tapes" / run_below(home))
    for operation in ("forward_backward", "optim_step"):
        started = names.count(f"tinker.training.{operation}.start")
        over = [f"tinker.training.{operation}.{how}" for how in ("stop", "exception")]
        assert started == sum(map(names.count, over)) > 1
    assert names[-1] == "telemetry.session.stop"
