"""What `tinkertape run` says while the program runs: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import TINKERTAPE, call, environment

from tinkertape import sim
from tinkertape.cli.event_text import event_text
from tinkertape.cli.live_lines import LiveLines
from tinkertape.context import Event
from tinkertape.sim import Pause, Scenario

S = 1_000_000_000
PROGRAM = """
import sys, tinker
from tinker import types
with tinker.ServiceClient() as service:
    client = service.create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=8).result()
    for step in 1, 2, 3:
        client.optim_step(types.AdamParams(learning_rate=1e-3)).result()
        print(f"done {step}", file=sys.stderr, flush=True)
"""


def told(cause: str = "capacity-pause", *, after: float, state: str = "open", **changes: Any) -> tuple[Any, Any]:
    measured = {"cost": round(after * S), "since": 100 * S, "monotonic_time": round((100 + after) * S)}
    metadata = {"cause": cause, "state": state, "key": cause, "summary": "It is slow.", "step": 14, **changes}
    return measured, metadata


def lines(*events: tuple[Any, Any]) -> list[str | None]:
    made = LiveLines()
    return [made.line(*event) for event in events]


def test_a_pause_is_said_while_it_lasts_and_when_it_is_over() -> None:
    said = lines(told(after=1.2), told(after=2.4), told(after=12), told(after=130.2, state="over"))

    assert said == [
        None,
        "paused for capacity since 2 s (step 14)",
        "paused for capacity since 12 s (step 14)",
        "goes on, after 2 min 10 s paused for capacity (step 14)",
    ]


def test_a_short_pause_is_not_worth_a_line() -> None:
    assert lines(told(after=1.2), told(after=1.4, state="over")) == [None, None]


def test_an_outage_is_said_in_the_finding_s_own_words() -> None:
    down = told("unreachable", after=8, summary="Nothing gets through to Tinker for 8 s: 3 attempts broke.", step=None)

    assert lines(down) == ["Nothing gets through to Tinker for 8 s: 3 attempts broke"]


def test_any_other_finding_is_said_once() -> None:
    assert lines(told("slow-service", after=1), told("slow-service", after=9)) == ["It is slow (step 14)", None]


def test_tail_shows_a_finding_with_its_cause_and_words() -> None:
    measured, metadata = told(after=12)
    event = Event(name="diagnosis.finding", measurements=measured, metadata=metadata, time_ns=0, monotonic_ns=0)

    assert event_text(event).plain.endswith("capacity-pause  open  It is slow.  step=14")


@pytest.fixture
def service() -> Iterator[sim.Sim]:
    scenario = Scenario(
        compute_s=dict.fromkeys(("CreateModel", "OptimStep"), 0.01),
        poll_hold_s=0.2,
        pauses=(Pause(request_type="OptimStep", nth=2, length_s=4.5),),
    )
    with sim.start(scenario) as running:
        yield running


def run_on_a_terminal(script: Path, directory: Path, **more: str) -> tuple[int, str, str]:
    """Status, stdout and what the terminal that is stderr has shown."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*TINKERTAPE, "run", str(script)],
        env=environment(directory, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # the last who had it open is gone
        pass
    os.close(leader)
    stdout, _ = process.communicate(timeout=60)
    return process.returncode, stdout, shown.decode().replace("\r\n", "\n")


def test_on_a_terminal_a_pause_is_said_before_it_is_over_and_elsewhere_nothing(
    service: sim.Sim, directory: Path, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    settings = {"TINKER_BASE_URL": service.url, "TINKER_API_KEY": "tml-test", "TINKER_TELEMETRY": "0"}

    status, stdout, shown = run_on_a_terminal(script, directory, **settings)

    assert (status, stdout) == (0, "")
    paused = r"^done 1\ntinkertape: paused for capacity since [2-4] s \(step 2\)\n"
    over = r"(done 2\n)?(done 3\n)?(tinkertape: goes on, after [45] s paused for capacity.*\n)?"  # if it looked in time
    assert re.match(paused + over, shown), shown

    piped = call([*TINKERTAPE, "run", str(script)], directory, **settings)
    assert piped.stderr.startswith("done 1\ndone 2\ndone 3\n") and "paused for capacity since" not in piped.stderr
