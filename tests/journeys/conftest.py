"""One collector for all journeys, and every training run that they look at, made side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
import pytest
from tests.cli.conftest import environment
from tests.faults.processes import KEY, Collector
from tests.journeys.seeds import HELD_STEPS, HOLDS_S, SEEDS, STEPS, held_scenario, scenario_of
from tests.journeys.trained import Trained, judged
from tests.journeys.training import Starved

from tinkertape import sim
from tinkertape.sim import Scenario, read_truth

SIDE_BY_SIDE = 4  # they wait most of their time


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector with its page, as people start it. Each journey has runs of its own in it."""
    made = Collector(tmp_path_factory.mktemp("journeys") / "collector").start()
    yield made
    made.end()


class Trainer:
    """A process that trains, for one scenario after the other. What goes wrong in it is in `wrong`."""

    def __init__(self, work: SimpleQueue[Scenario], collector: Collector, folder: Path) -> None:
        self._work, self._collector, self._folder = work, collector, folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.journeys.training"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(folder, TINKER_API_KEY=KEY, TINKER_TELEMETRY="0"),
        )
        self.made: dict[str, Trained] = {}
        self.wrong: list[str] = []
        self._thread = threading.Thread(target=self._train_all, daemon=True)
        self._thread.start()

    def _train_all(self) -> None:
        while True:
            try:
                scenario = self._work.get_nowait()
            except Empty:
                return
            try:
                self.made[scenario.name] = self._train(scenario)
            except (OSError, ValueError, AssertionError) as error:
                self.wrong.append(f"{scenario.name}: {error!r}")
                return

    def _train(self, scenario: Scenario) -> Trained:
        truth = self._folder / f"{scenario.name}.truth.jsonl"
        with sim.start(scenario, truth=truth) as service:
            order = {
                "name": scenario.name,
                "service": service.url,
                "collector": self._collector.url,
                "directory": str(self._folder / scenario.name),
                "steps": HELD_STEPS if scenario.name.startswith("hold-") else STEPS,
            }
            answer = self._ask(order)
        assert answer["failed"] == ""
        starved = [(at, waited) for at, waited in answer["starved"]]
        return Trained(scenario, answer["run"], read_truth(truth), [starved])

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._thread.join(240)
        self._process.communicate(timeout=60)


@pytest.fixture(scope="session")
def trained(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Every scenario's run, with what the collector says of it, by the scenario's name."""
    work: SimpleQueue[Scenario] = SimpleQueue()
    for hold_s in sorted(HOLDS_S, reverse=True):
        work.put(held_scenario(hold_s))
    for seed in SEEDS:
        work.put(scenario_of(seed))
    folder = tmp_path_factory.mktemp("trained")
    os.environ.pop("TINKERTAPE_RUN", None)
    here = Starved()  # the services are threads of this process
    trainers = [Trainer(work, collector, folder) for _ in range(SIDE_BY_SIDE)]
    for trainer in trainers:
        trainer.close()
    starved = here.end()
    assert [wrong for trainer in trainers for wrong in trainer.wrong] == []
    made = {name: each for trainer in trainers for name, each in trainer.made.items()}
    return {
        name: judged(msgspec.structs.replace(each, starved=[*each.starved, starved]), collector)
        for name, each in made.items()
    }
