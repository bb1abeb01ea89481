"""A collector that is killed in the middle of a training run and started again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import TINKERTAPE, call
from tests.faults.processes import EXAMPLE, Collector, ended, lines_on, recorded, run_below
from tests.waiting import wait_until

from tinkertape.sim import Scenario, Sim

SCENARIO = Scenario(compute_s={"ForwardBackward": 0.05, "OptimStep": 0.02}, poll_hold_s=0.5)
KILLS = 2
GROWTH = 150  # events stored between two kills, of each run: they come 500 at a time, or once a second
TRAINS = f"""
import pathlib, runpy, sys
import tinker
example = runpy.run_path({str(EXAMPLE)!r})
enough = pathlib.Path(sys.argv[1])
with tinker.ServiceClient() as service:
    client = service.create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=32).result()
    while not enough.exists():
        example["train"](client, 2, 4, 1e-3)
    example["write_samples"](client.save_weights_and_get_sampling_client().result(), count=2)
"""


@pytest.mark.timeout(180)
def test_a_collector_killed_in_the_middle_of_a_training_run_loses_nothing_and_stores_nothing_twice(
    collector: Collector, sim_of: Callable[[Scenario], Sim], tmp_path: Path
) -> None:
    """Two runs: one on the collector's own machine, whose tape it reads and is sent as well, and one elsewhere."""
    collector.start()
    homes = [collector.folder, tmp_path / "elsewhere"]
    script, enough = tmp_path / "training.py", tmp_path / "enough"
    script.write_text(TRAINS)
    service = sim_of(SCENARIO)
    programs = [
        recorded(script, str(enough), directory=home, service=service.url, TINKERTAPE_URL=collector.url)
        for home in homes
    ]
    runs = [run_below(home) for home in homes]
    seen = {run: 0 for run in runs}

    def grown() -> bool:
        return all(collector.stored(run) > seen[run] + GROWTH for run in runs)

    for _ in range(KILLS):
        wait_until(grown, within_s=60, otherwise=lambda: [collector.ledger(run) for run in runs])
        seen = {run: collector.stored(run) for run in runs}
        collector.kill()
        collector.start()
    wait_until(grown, within_s=60, otherwise=lambda: [collector.ledger(run) for run in runs])
    assert [program.poll() for program in programs] == [None, None]
    enough.touch()
    ends = [ended(program) for program in programs]

    assert [(status, complained) for status, _, complained in ends] == [(0, ""), (0, "")]
    for home, run in zip(homes, runs, strict=True):
        count = lines_on(home / "tapes" / run)
        pushed = call([*TINKERTAPE, "push", run, "--url", collector.url], home)  # an exit waits 2 s at most
        assert pushed.returncode == 0, pushed.stderr
        ledger = collector.settled(run, count, within_s=60)
        assert ledger == {"recorded": count, "stored": count, "pending": 0, "rejected": 0, "dropped": {}}
        assert list(collector.indexes(run).values()) == [list(range(count))]
        assert count > seen[run]
    whole = collector.ledger()
    assert (whole["recorded"], whole["pending"]) == (whole["stored"], 0)
    for run in runs:
        wait_until(lambda run=run: collector.state(run) == "ended", within_s=30, otherwise=collector.runs)
