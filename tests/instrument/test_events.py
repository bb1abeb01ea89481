"""The events agree with one another, with the catalogue and with what the service says it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import tinker
from tests.instrument.watching import MODEL, SECRET, Events, adam, batch, ends, prompt, service_client
from tests.waiting import wait_until
from tinker import types

from tinkertape.events import catalogue
from tinkertape.guard import failures
from tinkertape.instrument.tinker import attempts, polls, requests, sessions
from tinkertape.sim import Pause, PollFault, Sim, SubmitFault

Connect = Callable[..., tinker.ServiceClient]


def train_and_sample(service: tinker.ServiceClient, steps: int = 3) -> None:
    training = service.create_lora_training_client(base_model=MODEL).result()
    for _ in range(steps):
        forward_backward = training.forward_backward(batch(), "cross_entropy")
        optim_step = training.optim_step(adam())
        forward_backward.result()
        optim_step.result()
    sampling = training.save_weights_and_get_sampling_client().result()
    sampling.sample(prompt(), 1, types.SamplingParams(max_tokens=3)).result()
    training.save_state("checkpoint").result()


def test_every_start_has_one_end_and_begins_when_its_end_says(connect: Connect, events: Events) -> None:
    train_and_sample(connect(compute_s={"OptimStep": 0.3}, poll_hold_s=0.2))

    polls = [end for end in ends(events) if end.name.startswith("tinker.future.poll.")]
    firsts = Counter("tinker.future.poll" for poll in polls if poll.measurements["iteration"] == 0)
    starts = Counter(e.name.removesuffix(".start") for e in events if e.name.endswith(".start"))
    assert starts + firsts == Counter(e.name.rpartition(".")[0] for e in ends(events))
    assert starts["tinker.future.poll"] >= 3
    begun = {(e.name.removesuffix(".start"), e.measurements["monotonic_time"]) for e in events if ".start" in e.name}
    for end in ends(events):
        began = end.measurements["monotonic_time"] - end.measurements["duration"]
        told_by = "tinker.http.request" if end in polls else end.name.rpartition(".")[0]  # a first poll's, by it alone
        assert (told_by, began) in begun
        assert end.metadata["status"] in ("success", "error")


def test_every_key_is_declared_in_the_catalogue(connect: Connect, events: Events) -> None:
    train_and_sample(connect(pauses=(Pause(nth=2, length_s=0.5),), submit_faults=(SubmitFault(nth=1, status=503),)))

    declared = {event.name: event for event in catalogue()}
    metrics = {"loss:sum", "tokens:sum", "grad_norm:mean"}
    for event in events:
        known = declared[event.name]
        at_the_end = declared.get(event.name.replace(".start", ".stop"), known)  # a start tells early what it knows
        assert set(event.measurements) - metrics <= {*known.measurements, *at_the_end.measurements}, event
        assert set(event.metadata) <= set(known.metadata), event


def test_requests_joined_by_id_say_what_the_service_says(start_service: Callable[..., Sim], events: Events) -> None:
    sim = start_service()

    service = service_client(sim)
    train_and_sample(service)
    service.close("success").result()

    truth = sim.truth_lines()
    accepted = {line["request_id"]: line["request_type"] for line in truth if line["what"] == "accepted"}
    told = {e.metadata["request_id"]: e.metadata["request_type"] for e in events.named("tinker.request.stop")}
    assert told == accepted
    for request_id in accepted:
        request = events.one("tinker.request.stop", request_id=request_id)
        submit = events.one("tinker.submit.stop", request_id=request_id)
        ready = events.one("tinker.result.ready", request_id=request_id)
        polls = events.named("tinker.future.poll.stop", request_id=request_id)
        assert request.metadata["operation_id"] == submit.metadata["operation_id"] == ready.metadata["operation_id"]
        assert [poll.metadata["outcome"] for poll in polls][-1] == "ready"
        assert request.measurements["iterations"] == len(polls)
        true_ready = next(line["at_ns"] for line in truth if line["what"] == "ready" and _is(line, request_id))
        # one clock for both, on one machine: a result cannot be told before it was there
        assert true_ready <= polls[-1].measurements["monotonic_time"]


def _is(line: dict[str, object], request_id: str) -> bool:
    return line.get("request_id") == request_id


def test_a_pause_is_told_once_with_bounds_around_the_truth(start_service: Callable[..., Sim], events: Events) -> None:
    sim = start_service(pauses=(Pause(nth=2, length_s=0.7, text="no machine"),))
    service = service_client(sim)
    training = service.create_lora_training_client(base_model=MODEL).result()
    for _ in range(2):
        training.forward_backward(batch(), "cross_entropy").result()
    service.close("success").result()

    pause = events.one("tinker.queue.pause")
    resume = events.one("tinker.queue.resume")
    assert pause.metadata["reason"] == "capacity" and pause.metadata["reason_text"] == "no machine"
    assert pause.metadata["operation"] == "forward_backward"
    true_pause = next(line for line in sim.truth_lines() if line["what"] == "paused")
    submit = events.named("tinker.submit.stop", operation="forward_backward")[1]  # accepted, and seen to be
    since = pause.measurements["since"] - submit.measurements["duration"]
    assert since <= true_pause["at_ns"] <= pause.measurements["monotonic_time"]
    assert resume.measurements["duration_min"] <= 700_000_000 <= resume.measurements["duration_max"]
    operation = events.named("tinker.training.forward_backward.stop")[1]
    assert operation.measurements["pause_duration"] == resume.measurements["duration"]


def test_refused_submissions_are_attempts_and_retries_of_one_submission(connect: Connect, events: Events) -> None:
    service = connect(submit_faults=(SubmitFault(nth=1, status=503, times=1),))
    training = service.create_lora_training_client(base_model=MODEL).result()

    training.forward_backward(batch(), "cross_entropy").result()

    retry = events.one("tinker.retry")
    stop = events.one("tinker.submit.stop", operation="forward_backward")
    exchanges = events.named("tinker.http.request.stop", submission_id=stop.metadata["submission_id"])
    assert [exchange.metadata["status_code"] for exchange in exchanges] == [503, 200]
    assert [exchange.measurements["attempt"] for exchange in exchanges] == [0, 1]
    assert retry.metadata["layer"] == "http" and retry.metadata["status_code"] == 503
    assert retry.metadata["submission_id"] == stop.metadata["submission_id"]
    assert stop.measurements["attempts"] == 2 and stop.measurements["duration"] > retry.measurements["delay"]
    assert events.one("tinker.training.forward_backward.stop").measurements["retry_count"] == 1


def test_the_outer_back_off_is_a_new_attempt_of_the_same_submission(connect: Connect, events: Events) -> None:
    service = connect(submit_faults=(SubmitFault(nth=1, status=503, request_type="SaveWeights"),))
    training = service.create_lora_training_client(base_model=MODEL).result()

    training.save_state("checkpoint").result()  # the SDK lets only its outer layer repeat it

    failed = events.one("tinker.submit.exception")
    accepted = events.one("tinker.submit.stop", operation="save_state")
    retry = events.one("tinker.retry")
    assert failed.metadata["submission_id"] == accepted.metadata["submission_id"]
    assert failed.metadata["error_type"] == "InternalServerError" and failed.metadata["status_code"] == 503
    assert (failed.measurements["attempt"], accepted.measurements["attempt"]) == (1, 2)
    assert retry.metadata["layer"] == "submit" and retry.measurements["delay"] >= 1_000_000_000


def test_sampling_that_is_told_to_hold_back_waits_on_the_sampling_layer(connect: Connect, events: Events) -> None:
    service = connect(submit_faults=(SubmitFault(nth=1, status=429, request_type="Sample"),))
    sampling = service.create_sampling_client(base_model=MODEL).result()

    sampling.sample(prompt(), 1, types.SamplingParams(max_tokens=2)).result()

    retry = events.one("tinker.retry")
    assert retry.metadata["layer"] == "sampling" and retry.metadata["status_code"] == 429
    assert retry.measurements["delay"] >= 900_000_000
    assert events.one("tinker.submit.exception").metadata["error_type"] == "RateLimitError"


def test_a_promise_that_expired_is_submitted_anew(connect: Connect, events: Events) -> None:
    service = connect(poll_faults=(PollFault(nth=1, status=410, request_type="Sample"),))
    sampling = service.create_sampling_client(base_model=MODEL).result()

    sampling.sample(prompt(), 1, types.SamplingParams(max_tokens=2)).result()

    lost = events.one("tinker.request.exception")
    submits = events.named("tinker.submit.stop", operation="sample")
    assert lost.metadata["error_type"] == "RetryableException"
    assert len({submit.metadata["submission_id"] for submit in submits}) == 1 and len(submits) == 2
    assert events.one("tinker.retry").metadata["layer"] == "sampling"
    assert len(events.one("tinker.sampling.sample.stop").metadata["request_ids"]) == 2


def test_a_poll_that_was_told_to_wait_is_a_retry_of_the_poll_layer(connect: Connect, events: Events) -> None:
    service = connect(poll_faults=(PollFault(nth=1, status=429),))
    training = service.create_lora_training_client(base_model=MODEL).result()

    training.forward_backward(batch(), "cross_entropy").result()

    outcomes = [e.metadata["outcome"] for e in events.named("tinker.future.poll.stop", operation="forward_backward")]
    assert outcomes[0] == "error" and outcomes[-1] == "ready"
    assert events.one("tinker.retry").metadata["layer"] == "poll"


def test_background_traffic_belongs_to_no_call(connect: Connect, events: Events) -> None:
    train_and_sample(connect(), steps=1)

    background = [e for e in events.named("tinker.http.request.stop") if "/client/" in e.metadata["path"]]
    assert background and all(e.metadata["operation_id"] is None for e in background)
    assert not [e for e in events.named("tinker.submit.start") if e.metadata["operation_id"] is None]


def test_a_session_is_told_from_its_begin_to_its_end(connect: Connect, events: Events) -> None:
    service = connect()
    service.create_lora_training_client(base_model=MODEL).result()
    service.close("errored").result()

    created = events.one("tinker.session.create")
    finished = events.one("tinker.session.finish")
    assert created.metadata["session_id"] == finished.metadata["session_id"]
    assert created.metadata["sdk_version"] == tinker.__version__ and finished.metadata["status"] == "success"


UNREADABLE = (b"<html>", b'{"session_id": "\xff"}', b'{"detail": ' + b"[" * 50_000)


@pytest.mark.parametrize("answer", [*UNREADABLE, b"[1]", b'{"session_id": 5}', b"{}", b"", None])
def test_an_answer_that_names_no_session_is_an_error_and_no_failure_of_ours(
    answer: bytes | None, events: Events
) -> None:
    sessions.created(1, 3, answer)

    told = events.one("tinker.session.create")
    assert (told.metadata["session_id"], told.metadata["status"], failures()) == (None, "error", {})


@pytest.mark.parametrize("answer", UNREADABLE)
def test_an_answer_that_cannot_be_read_says_nothing_of_a_request(answer: bytes) -> None:
    assert polls._read(200, answer) == polls._NOTHING
    assert attempts._request_id(answer) is None


def test_a_submit_that_is_answered_with_null_is_no_failure_of_ours(events: Events) -> None:
    requests._began(SimpleNamespace(untyped_future=None))

    assert (events, failures()) == ([], {})


def test_a_heartbeat_belongs_to_the_session_and_to_no_call(
    connect: Connect, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = connect()
    training = service.create_lora_training_client(base_model=MODEL).result()
    holder = training.holder

    async def beat() -> None:
        for _ in range(2):  # what the SDK's own task does each 10 s
            with holder.aclient("session") as client:  # type: ignore[arg-type]
                await client.service.session_heartbeat(session_id=holder.get_session_id(), max_retries=0, timeout=10)

    holder.run_coroutine_threadsafe(beat()).result()

    first, second = events.named("tinker.session.heartbeat.stop")
    assert first.metadata["session_id"] == second.metadata["session_id"] == holder.get_session_id()
    assert "gap" not in first.measurements and second.measurements["gap"] > 0


def test_what_the_sdk_logs_itself_is_told_without_any_secret(connect: Connect, events: Events) -> None:
    service = connect(poll_faults=(PollFault(nth=1, status=404),))
    training = service.create_lora_training_client(base_model=MODEL).result()

    with pytest.raises(ValueError, match="404"):
        training.forward_backward(batch(), "cross_entropy").result()

    wait_until(lambda: bool(events.named("tinker.sdk.event", event="SESSION_END")), within_s=35)
    [leak] = events.named("tinker.sdk.event", event_name="APIFuture.result_async.api_status_error")
    assert "x-api-key" not in leak.metadata["data"]["request_headers"]
    assert leak.metadata["data"]["status_code"] == 404 and leak.metadata["accepted"] is True
    assert not [event for event in events if SECRET in repr(event)]


def test_a_result_without_metrics_of_its_own_still_ends_its_operation(connect: Connect, events: Events) -> None:
    service = connect()
    training = service.create_lora_training_client(base_model=MODEL).result()

    training.save_weights_for_sampler("sampler").result()

    assert events.one("tinker.training.save_weights_for_sampler.stop").metadata["status"] == "success"
