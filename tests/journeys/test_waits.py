"""Programs that wait in every other way than `result()`: the real SDK, and the service's own record of what it did."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tinker
from tinker import types

import tinkertape
from tinkertape import sim
from tinkertape.diagnosis import Diagnosis, Finding
from tinkertape.diagnosis.words import THIN
from tinkertape.sim import Pause, Scenario, read_truth

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("machine")]

MODEL = "simulated/bytes-bigram"
COMPUTE_S = 0.3
WITHIN_S = 0.015
HOLD_S = 0.2
KEY = "tml-made-up"


class Program:
    """A program with clients of a service that behaves as told; `run` records a part of it."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self._folder = folder
        self._truth = folder / "truth.jsonl"
        self.sim = sim.start(scenario, truth=self._truth)
        self.service = tinker.ServiceClient(base_url=self.sim.url, api_key=KEY)
        self.training = self.service.create_lora_training_client(base_model=MODEL).result()
        self.sampling = self.service.create_sampling_client(base_model=MODEL).result()

    def step(self) -> concurrent.futures.Future[Any]:
        return self.training.optim_step(types.AdamParams(learning_rate=1e-3)).future()

    def sample(self, _: object = None) -> Any:
        prompt = types.ModelInput.from_ints([1, 2, 3])
        return self.sampling.sample(prompt, 1, types.SamplingParams(max_tokens=2)).result()

    def train(self, steps: int) -> None:
        inputs = {"target_tokens": [2, 3, 4], "weights": [1.0, 1.0, 1.0]}
        datum = types.Datum(model_input=types.ModelInput.from_ints([1, 2, 3]), loss_fn_inputs=inputs)
        for _ in range(steps):
            self.training.forward_backward([datum], "cross_entropy").result()
            self.step().result()

    def run(self, body: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
        monkeypatch.delenv("TINKERTAPE_RUN", raising=False)  # each is a run of its own
        with tinkertape.start("waits", directory=str(self._folder)) as telemetry:
            body()
        return tinkertape.diagnose(telemetry.tape)

    def truth(self, what: str) -> list[dict[str, Any]]:
        return [line for line in read_truth(self._truth) if line["what"] == what]

    def close(self) -> None:
        self.service.close("success").result(10)
        self.sim.close()


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """Calls take 0.3 s; a test may ask for a scenario of its own."""
    compute = {"CreateModel": 0.0, "OptimStep": COMPUTE_S, "Sample": COMPUTE_S}
    made = Program(tmp_path, getattr(request, "param", None) or Scenario(compute_s=compute, poll_hold_s=2.0))
    yield made
    made.close()


def wait(program: Program) -> None:
    concurrent.futures.wait([program.step()])


def as_completed(program: Program) -> None:
    list(concurrent.futures.as_completed([program.step()]))


def mapped(program: Program) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(program.sample, range(4)))


def wrapped(program: Program) -> None:
    async def main() -> None:
        await asyncio.wrap_future(program.step())

    asyncio.run(main())


def joined(program: Program) -> None:
    worker = threading.Thread(target=program.sample)
    worker.start()
    worker.join()


@pytest.mark.parametrize("way", [wait, as_completed, mapped, wrapped, joined])
def test_a_wait_that_no_claim_sees_is_tinkers_time(
    way: Callable[[Program], None], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnosis = program.run(lambda: way(program), monkeypatch)

    computed = max(line["compute_ns"] for line in program.truth("ready")[-4:]) / 1e9  # side by side
    told_late = max(line["held_ns"] for line in program.truth("answered")[-4:]) / 1e9  # by the service: unseen here
    parts = {part.part: part for part in diagnosis.report.parts}
    compute, yours = parts["compute"], parts.get("your_code")
    assert compute.min_s - WITHIN_S - told_late <= computed <= compute.max_s + WITHIN_S
    assert (compute.quality, yours is None or yours.min_s < WITHIN_S) == ("inferred", True)
    assert sum(part.seconds for part in parts.values()) == pytest.approx(diagnosis.report.wall_s, abs=1e-9)


ONE_PAUSE = Scenario(
    compute_s={"CreateModel": 0.0, "ForwardBackward": 0.1, "OptimStep": 0.05, "Sample": 0.1},
    poll_hold_s=HOLD_S,
    pauses=(Pause(nth=3, length_s=1.3, request_type="Sample"),),
)


def only(diagnosis: Diagnosis) -> Finding:
    [finding] = diagnosis
    assert finding.cause == "capacity-pause" and finding.share is not None
    assert 0 <= finding.share <= 1
    return finding


def paused_s(program: Program) -> float:
    [resumed] = program.truth("resumed")
    return float(resumed["duration_ns"]) / 1e9


@pytest.mark.parametrize("program", [ONE_PAUSE], indirect=True)
def test_a_pause_in_threads_that_main_joins_costs_its_length_once(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        workers = [threading.Thread(target=program.sample, name=f"sampler-{number}") for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    diagnosis = program.run(body, monkeypatch)
    finding = only(diagnosis)

    assert finding.cost_s == pytest.approx(paused_s(program), abs=HOLD_S + 0.05)
    assert finding.evidence.figures["own_thread_s"] == pytest.approx(finding.cost_s, abs=HOLD_S + 0.05)
    assert "It paused this run for" in diagnosis.report.verdict.sentence


@pytest.mark.parametrize("program", [ONE_PAUSE], indirect=True)
def test_a_pause_in_an_executor_costs_what_was_waited_for_it(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(program.sample, range(12)))

    diagnosis = program.run(body, monkeypatch)
    finding = only(diagnosis)

    assert finding.cost_s == pytest.approx(paused_s(program), abs=HOLD_S + 0.05)
    assert finding.severity == "warning"
    assert diagnosis.partition["queue:capacity"] > 0.5


@pytest.mark.parametrize("program", [ONE_PAUSE], indirect=True)
def test_a_pause_beside_the_training_is_said_to_have_held_its_own_thread(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        worker = threading.Thread(target=lambda: [program.sample() for _ in range(4)], name="sampler")
        worker.start()
        program.train(steps=16)
        worker.join()

    diagnosis = program.run(body, monkeypatch)
    finding = only(diagnosis)

    assert finding.cost_s == pytest.approx(paused_s(program), abs=HOLD_S + 0.05)
    assert (finding.evidence.figures["own_thread_s"], finding.evidence.figures["waited_by"]) == (0, ["sampler"])
    assert diagnosis.partition.get("queue:capacity", 0) == 0
    assert diagnosis.report.verdict.sentence.replace(THIN, " ").endswith("that only thread `sampler` waited for.")
