"""What public programs do with the SDK (issue threads, cookbooks): recorded as they mean it, and left as it is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import tinker
from tests.instrument.watching import MODEL, SECRET, Events, adam, batch, prompt, service_client
from tests.waiting import wait_until
from tinker import types

from tinkertape.diagnosis import diagnose
from tinkertape.instrument.tinker import in_flight
from tinkertape.sim import Expiry, LostSession, Sim, SubmitFault
from tinkertape.tape import open_tape

Connect = Callable[..., tinker.ServiceClient]
StartService = Callable[..., Sim]
PARAMS = types.SamplingParams(max_tokens=2)
GATHERED = int(os.environ.get("TINKERTAPE_TESTS_GATHERED", "100"))  # thousands take as many times longer


def operations(events: Events) -> Counter[str]:
    """How often each operation was recorded, by its name."""
    families = ("tinker.service.", "tinker.training.", "tinker.sampling.", "tinker.rest.")
    return Counter(e.name.split(".")[2] for e in events if e.name.startswith(families) and e.name.endswith(".start"))


def test_a_pending_client_that_is_used_as_the_client_is_one_operation_a_call(connect: Connect, events: Events) -> None:
    pending = connect().create_lora_training_client(base_model=MODEL)  # and never .result()
    assert operations(events) == {"create_lora_training_client": 1}

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pending.forward_backward(batch(), "cross_entropy").result()
        pending.optim_step(adam()).result()

    assert operations(events) == {"create_lora_training_client": 1, "forward_backward": 1, "optim_step": 1}
    stops = [events.one(f"tinker.training.{name}.stop") for name in ("forward_backward", "optim_step")]
    assert {stop.metadata["model_id"] for stop in stops} == {pending.result().model_id}
    lines = {
        warning.filename for warning in told if warning.category is not ResourceWarning
    }  # of what others left open
    assert lines == {__file__}  # the SDK's, at the caller's line


def test_a_gather_of_many_samples_is_as_many_operations_and_none_stays_open(connect: Connect, events: Events) -> None:
    sampling = connect().create_sampling_client(base_model=MODEL).result()

    async def gather() -> list[types.SampleResponse]:
        return await asyncio.gather(*(sampling.sample(prompt(), 1, PARAMS) for _ in range(GATHERED)))

    responses = asyncio.run(gather())

    wait_until(lambda: in_flight() == 0)
    stops = events.named("tinker.sampling.sample.stop", status="success")
    assert len(responses) == len(stops) == GATHERED
    assert len({stop.metadata["request_ids"][0] for stop in stops}) == GATHERED
    assert sum(stop.measurements["sampled_tokens"] for stop in stops) == 2 * GATHERED
    assert len(events.named("tinker.claim.stop", operation="sample")) == GATHERED


def test_checkpoints_that_are_kept_rolling_and_resumed_from_are_operations_of_rest(
    connect: Connect, events: Events
) -> None:
    service = connect()
    training, rest = service.create_lora_training_client(base_model=MODEL).result(), tinker.RestClient(service.holder)
    for number in range(4):
        training.save_state(f"step-{number}").result()
        kept = rest.list_checkpoints(training.model_id).result().checkpoints
        for old in kept[:-2]:
            rest.delete_checkpoint(training.model_id, old.checkpoint_id).result()

    newest = rest.list_checkpoints(training.model_id).result().checkpoints[-1]
    resumed = service.create_training_client_from_state_with_optimizer(newest.tinker_path).result()

    assert newest.checkpoint_id == "weights/step-3" and resumed.model_id != training.model_id
    told = operations(events)
    assert (told["save_state"], told["list_checkpoints"], told["delete_checkpoint"]) == (4, 5, 2)
    assert told["create_training_client_from_state_with_optimizer"] == 1
    assert {e.metadata["path"] for e in events.named("tinker.http.request.stop", method="DELETE")} == {
        "/api/v1/training_runs/{id}/checkpoints/{id}"
    }


def test_two_sessions_in_one_process_are_kept_apart(start_service: StartService, events: Events) -> None:
    clients = [service_client(start_service()) for _ in range(2)]
    trainings = [client.create_lora_training_client(base_model=MODEL).result() for client in clients]

    for training in trainings:
        training.optim_step(adam()).result()
    for client in clients:
        client.close("success").result()

    sessions = [training.holder.get_session_id() for training in trainings]
    assert len(set(sessions)) == 2
    assert [e.metadata["session_id"] for e in events.named("tinker.session.create")] == sessions
    assert sorted(e.metadata["session_id"] for e in events.named("tinker.session.finish")) == sorted(sessions)
    models = [stop.metadata["model_id"] for stop in events.named("tinker.training.optim_step.stop")]
    assert models == [training.model_id for training in trainings]


def test_a_training_call_whose_promise_expired_fails_of_the_service(connect: Connect, events: Events) -> None:
    training = connect(expiries=(Expiry(nth=1),)).create_lora_training_client(base_model=MODEL).result()

    with pytest.raises(Exception, match="expired"):
        training.forward_backward(batch(), "cross_entropy").result()
    training.forward_backward(batch(), "cross_entropy").result()

    failed = events.one("tinker.training.forward_backward.exception")
    assert (failed.metadata["fault_owner"], failed.metadata["status_code"]) == ("service", 410)
    assert len(events.named("tinker.training.forward_backward.stop")) == 1


def test_a_session_that_is_over_refuses_what_comes_and_hands_over_what_it_took(
    connect: Connect, events: Events
) -> None:
    training = connect(lost_sessions=(LostSession(nth=1),)).create_lora_training_client(base_model=MODEL).result()

    training.forward_backward(batch(), "cross_entropy").result()
    with pytest.raises(tinker.APIStatusError, match="is over"):
        training.optim_step(adam()).result()

    failed = events.one("tinker.training.optim_step.exception")
    assert (failed.metadata["fault_owner"], failed.metadata["status_code"]) == ("service", 410)
    assert events.one("tinker.submit.exception").metadata["status_code"] == 410


def test_a_billing_hold_is_one_submission_with_a_wait_and_no_failure(
    connect: Connect, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = (SubmitFault(nth=1, status=402, request_type="OptimStep", message="unpaid"),)
    training = connect(submit_faults=faults).create_lora_training_client(base_model=MODEL).result()
    asleep = asyncio.sleep
    monkeypatch.setattr("tinker.lib.internal_client_holder.asyncio.sleep", lambda s, *a: asleep(min(s, 0.05), *a))

    training.optim_step(adam()).result()

    exchanges = events.named("tinker.http.request.stop", path="/api/v1/optim_step")
    assert [exchange.metadata["status_code"] for exchange in exchanges] == [402, 200]
    assert events.one("tinker.training.optim_step.stop").metadata["status"] == "success"


WORKERS = """
import json, multiprocessing, sys
import tinkertape

def work(sampler):
    tinkertape.start()  # in a worker: it finds the run in its environment
    import tinker
    tokens = tinker.ModelInput.from_ints([1, 2, 3])
    return len(sampler.sample(tokens, 1, tinker.SamplingParams(max_tokens=2)).result().sequences[0].tokens)

if __name__ == "__main__":
    telemetry = tinkertape.start("workers")
    import tinker
    service = tinker.ServiceClient()
    sampler = service.create_sampling_client(base_model="simulated/bytes-bigram").result()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        done = pool.map(work, [sampler] * 2, chunksize=1)
    print(json.dumps([str(telemetry.tape), done]))
"""


def ran(program: str, sim: Sim, folder: Path) -> str:
    """What a program prints; it has a folder for its tapes."""
    script, tapes = folder / "program.py", folder / "tapes"
    script.write_text(program)
    tapes.mkdir(mode=0o700)
    environment = {**os.environ, "TINKER_API_KEY": SECRET, "TINKER_BASE_URL": sim.url, "TINKER_TELEMETRY": "0"}
    environment["TINKERTAPE_DIRECTORY"] = str(tapes)
    done = subprocess.run(
        [sys.executable, str(script), str(tapes)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_a_sampler_pickled_into_a_spawned_worker_is_recorded_into_the_run_of_a_program_that_closes_nothing(
    start_service: StartService, tmp_path: Path
) -> None:
    sim = start_service()

    tape, done = json.loads(ran(WORKERS, sim, tmp_path))

    _assert_ended(Path(tape))
    accepted = {line["request_id"] for line in sim.truth_lines() if line["what"] == "accepted"}
    events = list(open_tape(Path(tape)))
    stops = [event for event in events if event.name == "tinker.sampling.sample.stop"]
    assert done == [2] * 2
    assert {event.metadata["request_ids"][0] for event in stops} == accepted and len(accepted) == 2
    parent = next(event.process for event in events if event.name == "tinker.service.create_sampling_client.stop")
    assert {event.run for event in events} == {events[0].run}
    assert parent not in {event.process for event in stops}


def _assert_ended(tape: Path) -> None:
    """The program closed nothing, and is recorded to its end."""
    assert not [event for event in open_tape(tape) if event.name == "tinker.session.finish"]
    report = diagnose(tape).report
    assert (report.state, len(report.findings)) == ("ended", 0)
