"""A training process that is killed: what it had recorded is stored by the collector that is started next."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.processes import Collector, recorded, run_below
from tests.waiting import wait_until

from tinkertape.sim import Scenario, Sim

WITHIN_NS = 100_000_000
PROGRAMS = 3
ENOUGH = 400  # events logged before the kill

# Trains, and writes down what it logged and when: a line is printed after `log` came back.
TRAINS = """
import threading, time
import tinker
from tinker import types
import tinkertape

def log_all():
    telemetry = tinkertape.get_telemetry()
    pause = threading.Event()
    for number in range(1_000_000):
        assert telemetry.log("my.event", {"number": number})
        print(f"{number} {time.monotonic_ns()}", flush=True)
        pause.wait(0.001)

service = tinker.ServiceClient()
client = service.create_lora_training_client(base_model="simulated/bytes-bigram", rank=8).result()
threading.Thread(target=log_all, daemon=True).start()
tokens = list(range(64))
data = [types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs={"target_tokens": tokens[1:],
        "weights": [1.0] * 63})]
while True:
    client.forward_backward(data, "cross_entropy").result()
    client.optim_step(types.AdamParams(learning_rate=1e-3)).result()
"""


@pytest.mark.timeout(180)
def test_what_a_killed_training_process_recorded_100_ms_before_is_stored_after_the_next_start_of_serve(
    collector: Collector, sim_of: Callable[[Scenario], Sim], tmp_path: Path
) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINS)
    service = sim_of(Scenario(poll_hold_s=0.5))
    homes = [tmp_path / f"home-{number}" for number in range(PROGRAMS)]
    programs = [recorded(script, directory=home, service=service.url) for home in homes]
    logged: list[list[int]] = []  # for each process, when each number was logged
    killed: list[int] = []
    for program in programs:
        assert program.stdout is not None and program.stderr is not None
        lines = list(itertools.islice(program.stdout, ENOUGH))
        killed.append(time.monotonic_ns())
        program.kill()
        lines += [line for line in program.stdout if line.endswith("\n")]
        assert program.stderr.read() == ""
        program.wait(30)
        logged.append([int(line.split()[1]) for line in lines])
        assert len(logged[-1]) >= ENOUGH

    runs = [run_below(home) for home in homes]
    for home, run in zip(homes, runs, strict=True):  # three machines' tapes in the collector's own folder
        collector.tapes.mkdir(mode=0o700, exist_ok=True)
        (home / "tapes" / run).rename(collector.tapes / run)
    collector.start()

    for run, times, kill in zip(runs, logged, killed, strict=True):
        wait_until(lambda run=run: collector.state(run) == "killed", within_s=60, otherwise=collector.runs)
        wait_until(
            lambda run=run: collector.ledger(run)["pending"] == 0, otherwise=lambda run=run: collector.ledger(run)
        )
        events = collector.events(run)
        logs = [line.get("event_data", line.get("metadata")) for line in events if line["event_name"] == "my.event"]
        numbers = [data["number"] for data in logs]
        due = sum(at <= kill - WITHIN_NS for at in times)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= due > 0, f"{len(numbers)} of {due} due, {len(times)} logged"
        assert any(line["event_name"] == "tinker.training.forward_backward.stop" for line in events)
        assert [line["event_session_index"] for line in events] == list(range(len(events)))
        ledger = collector.ledger(run)
        assert ledger["recorded"] == ledger["stored"] == len(events), ledger
