"""Two training clients of the real SDK in one program: each has its own rhythm, and one of them is the run's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tinker
from tests.diagnosis.training import batch
from tinker import types

import tinkertape
from tinkertape import sim
from tinkertape.diagnosis import Report, diagnose
from tinkertape.sim import Scenario

ADAM = types.AdamParams(learning_rate=1e-3)
SCENARIO = Scenario(name="two models", compute_s={"ForwardBackward": 0.02, "OptimStep": 0.01, "CreateModel": 0.01})

Program = Callable[[tinker.TrainingClient, tinker.TrainingClient], None]
ReportOf = Callable[[Program], Report]


@pytest.fixture
def report_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReportOf]:
    """Runs a program with two training clients, recorded, and says what came of it."""
    monkeypatch.setenv("TINKER_TELEMETRY", "0")
    with sim.start(SCENARIO) as service:

        def run(program: Program) -> Report:
            with (
                tinkertape.record("two", directory=tmp_path) as telemetry,
                tinker.ServiceClient(base_url=service.url, api_key="tml-made-up") as client,
            ):
                base = "simulated/bytes-bigram"
                made = [client.create_lora_training_client(base_model=base, rank=8) for _ in range(2)]
                program(made[0].result(), made[1].result())
            return diagnose(telemetry.tape).report

        yield run


def one_step(client: tinker.TrainingClient) -> None:
    client.forward_backward(batch(), "cross_entropy").result()
    client.optim_step(ADAM).result()


def test_two_threads_are_two_rhythms(report_of: ReportOf) -> None:
    def program(first: tinker.TrainingClient, second: tinker.TrainingClient) -> None:
        def loop(client: tinker.TrainingClient, steps: int) -> None:
            for _ in range(steps):
                one_step(client)

        threads = [threading.Thread(target=loop, args=each) for each in ((first, 10), (second, 6))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    report = report_of(program)

    assert [step.step for step in report.steps] == list(range(1, 11))
    assert [(model.steps, model.is_main) for model in report.models] == [(10, True), (6, False)]
    assert {row.operation: row.count for row in report.operations}["optim_step"] == 16


def test_two_models_in_turns_are_one_step_a_turn(report_of: ReportOf) -> None:
    def program(actor: tinker.TrainingClient, critic: tinker.TrainingClient) -> None:
        for _ in range(8):
            one_step(actor)
            one_step(critic)

    report = report_of(program)

    assert len(report.steps) == 8
    assert [(model.steps, model.is_main) for model in report.models] == [(8, True), (8, False)]
    assert sum(part.seconds for part in report.parts) == pytest.approx(report.wall_s, abs=1e-9)


def test_accumulated_gradients_are_one_step_and_evaluation_is_none(report_of: ReportOf) -> None:
    def program(client: tinker.TrainingClient, evaluated: tinker.TrainingClient) -> None:
        for _ in range(4):
            for future in [client.forward_backward(batch(), "cross_entropy") for _ in range(3)]:
                future.result()
            client.optim_step(ADAM).result()
            evaluated.forward_backward(batch(), "cross_entropy").result()

    report = report_of(program)

    assert len(report.steps) == 4
    assert [model.steps for model in report.models] == [4]
