"""`--state DIR`: what clients made survives the service's end, a restart and a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tinker
from tests.sim.client import INSTANT, datum, train, trainer
from tinker import types

from tinkertape.sim import Scenario, SimError, start
from tinkertape.sim.model import BigramModel, base_logits
from tinkertape.sim.shelf import Shelf
from tinkertape.sim.state import State

QUICK = Scenario(compute_s=INSTANT)
PROMPT = types.ModelInput.from_ints(list(b"the "))
PARAMS = types.SamplingParams(max_tokens=20, seed=3)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "tml-anything")
    monkeypatch.setenv("TINKER_TELEMETRY", "0")


@pytest.mark.usefixtures("key")
def test_a_client_trains_on_after_a_restart_as_if_there_had_been_none(tmp_path: Path):
    with start(QUICK) as other:
        unbroken = train(trainer(tinker.ServiceClient(base_url=other.url)), 6)
    with start(QUICK, state=tmp_path / "state") as sim:
        port, service = int(sim.url.rsplit(":", 1)[1]), tinker.ServiceClient(base_url=sim.url)
        client = trainer(service)
        losses = train(client, 3)
        path = client.save_state("three").result().path
        sampler = client.save_weights_and_get_sampling_client().result()
        sampled = sampler.sample(PROMPT, 1, PARAMS).result().sequences[0].tokens

    with start(QUICK, port=port, state=tmp_path / "state"):
        losses += train(client, 3)
        again = sampler.sample(PROMPT, 1, PARAMS).result().sequences[0].tokens
        resumed = service.create_training_client_from_state_with_optimizer(path).result()
        rest = tinker.RestClient(service.holder)

        assert losses == unbroken
        assert list(again) == list(sampled)
        assert train(resumed, 3) == losses[3:]
        assert client.model_id in {run.training_run_id for run in rest.list_training_runs().result().training_runs}
        service.close("success").result()


PROGRAM = [sys.executable, "-m", "tinkertape.sim", "--scenario", "healthy"]


@pytest.mark.usefixtures("key")
def test_what_was_answered_before_a_kill_is_there_after_it(tmp_path: Path):
    def program(port: int = 0) -> tuple[subprocess.Popen[str], str]:
        command = [*PROGRAM, "--port", str(port), "--state", str(tmp_path / "state")]
        started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert started.stdout is not None
        return started, json.loads(started.stdout.readline())["listening"]

    first, url = program()
    service = tinker.ServiceClient(base_url=url)
    client = trainer(service)
    before = client.forward_backward([datum()], "cross_entropy").result().metrics["loss:sum"]
    client.optim_step(types.AdamParams(learning_rate=1e-2)).result()
    first.send_signal(signal.SIGKILL)
    first.communicate()

    second, _ = program(int(url.rsplit(":", 1)[1]))
    after = client.forward([datum()], "cross_entropy").result().metrics["loss:sum"]
    service.close("success").result()
    second.terminate()
    second.communicate()

    assert after < before - 1  # the step was taken, and not lost
    assert not list((tmp_path / "state").glob("*.new"))


def test_a_folder_that_holds_something_else_is_one_line(tmp_path: Path):
    (tmp_path / "shelf.json").write_text("[]")
    (tmp_path / "file").write_text("")

    for folder, says in ((tmp_path, "cannot read the state"), (tmp_path / "file", "cannot keep the state")):
        with pytest.raises(SimError, match=says) as raised:
            start(QUICK, state=folder)
        assert "\n" not in str(raised.value)


def test_files_that_nobody_names_any_more_are_removed(tmp_path: Path):
    shelf, base, state = Shelf(), base_logits(4), State(tmp_path)
    shelf.weights["tinker://a/weights/one"] = BigramModel(base)
    state.keep(shelf)
    for _ in range(3):
        shelf.weights["tinker://a/weights/one"].optim_step({})
        state.keep(shelf)

    assert len(list(tmp_path.glob("*.npz"))) == 1
    loaded = Shelf()
    State(tmp_path).load(loaded, base)
    assert loaded.weights["tinker://a/weights/one"].steps == 3
