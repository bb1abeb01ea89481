"""`start(watch=True)`: the real SDK against the simulated service, diagnosed while it runs."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
import tinker
from tests.diagnosis.builder import training_run
from tests.diagnosis.test_live import execute
from tests.waiting import wait_until
from tinker import types

import tinkertape
from tinkertape import sim
from tinkertape.bus import default_bus
from tinkertape.sim import Pause, Scenario
from tinkertape.telemetry import Telemetry

ADAM = types.AdamParams(learning_rate=1e-3)
PAUSE_S = 3.5
Told = SimpleQueue[tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[sim.Sim]:
    monkeypatch.setenv("TINKER_TELEMETRY", "0")
    scenario = Scenario(
        compute_s=dict.fromkeys(("CreateModel", "OptimStep"), 0.01),
        poll_hold_s=0.2,
        pauses=(Pause(request_type="OptimStep", nth=2, length_s=PAUSE_S),),
    )
    with sim.start(scenario) as running:
        yield running


@pytest.fixture
def watched() -> Iterator[Telemetry]:
    with tinkertape.start("watched", watch=True) as telemetry:
        yield telemetry


@pytest.fixture
def told() -> Iterator[Told]:
    """Every finding, as it is told."""
    queue: Told = SimpleQueue()
    tinkertape.attach("told", "diagnosis.finding", lambda _, measured, metadata, __: queue.put((measured, metadata)))
    yield queue
    tinkertape.detach("told")


def watchers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tinkertape-watcher"]


def test_a_pause_is_told_while_it_lasts_and_when_it_is_over(service: sim.Sim, watched: Telemetry, told: Told) -> None:
    with tinker.ServiceClient(base_url=service.url, api_key="tml-test") as client:
        training = client.create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=8).result()
        training.optim_step(ADAM).result()
        held = training.optim_step(ADAM).future()
        measured, metadata = told.get(timeout=30)
        lasts = not held.done()
        held.result(30)
        last = metadata
        while last["state"] == "open":
            measured_last, last = told.get(timeout=30)

    assert lasts
    assert (metadata["cause"], metadata["owner"], metadata["state"]) == ("capacity-pause", "service", "open")
    assert metadata["step"] == 2 and 1e9 <= measured["cost"] < PAUSE_S * 1e9
    assert abs(measured_last["cost"] / 1e9 - PAUSE_S) < 0.5

    watched.close()
    taped = tinkertape.diagnose(watched.tape)
    assert [finding.cause for finding in taped] == ["capacity-pause"]
    lines = [json.loads(line) for path in watched.tape.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    recorded = [line["metadata"]["state"] for line in lines if line.get("event_name") == "diagnosis.finding"]
    assert recorded[0] == "open" and recorded[-1] == "over"
    assert taped.report.events == sum("event_name" in line for line in lines)


def test_a_replayed_run_is_told_and_not_recorded_into_this_one(watched: Telemetry, told: Told) -> None:
    execute(default_bus, training_run([100.0] * 6, pauses={3: (0, 3000)}, hold=200).events())
    _, metadata = told.get(timeout=30)
    watched.close()

    assert metadata["cause"] == "capacity-pause"
    assert not any(b"diagnosis.finding" in path.read_bytes() for path in watched.tape.glob("*.jsonl"))


def test_without_watch_there_is_no_watcher() -> None:
    with tinkertape.start("plain", instrument=False) as telemetry:
        assert telemetry.watcher is None and watchers() == []


def test_closing_ends_the_thread_and_leaves_no_handler(watched: Telemetry) -> None:
    assert watchers() == ["tinkertape-watcher"]

    watched.close()

    assert watchers() == []
    assert [handler.id for handler in default_bus.list_handlers() if "tinkertape.diagnosis" in str(handler.id)] == []


def test_closing_does_not_wait_for_whoever_was_told_and_hangs(watched: Telemetry) -> None:
    go_on, called = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        called.set()
        go_on.wait(60)

    tinkertape.attach("hang", "diagnosis.finding", hang)
    execute(default_bus, training_run([100.0] * 6, pauses={3: (0, 3000)}, hold=200).events())
    assert called.wait(30)
    closing = threading.Thread(target=watched.close)
    closing.start()
    closing.join(30)

    assert not closing.is_alive() and watchers() == ["tinkertape-watcher"]
    go_on.set()
    tinkertape.detach("hang")
    wait_until(lambda: watchers() == [])


def test_a_forked_child_is_recorded_and_not_watched(watched: Telemetry) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        heard = default_bus.handlers_of("tinker.request.start")
        said = {"threads": watchers(), "handlers": [str(handler.id) for handler in heard]}
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    said = json.loads(os.read(reading, 65536))
    os.close(reading)

    assert said == {"threads": [], "handlers": ["tinkertape.recorder"]}
    assert watchers() == ["tinkertape-watcher"] and len(default_bus.handlers_of("tinker.request.start")) == 2
