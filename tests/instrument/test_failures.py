"""What goes wrong: the program sees the same exception, and the events say what it was and whose."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest
import tinker
from tests.instrument.watching import MODEL, QUICK, SECRET, Events, adam, batch, service_client
from tests.waiting import wait_until

from tinkertape.instrument.tinker import in_flight
from tinkertape.sim import FutureFault, Sim, SubmitFault

Connect = Callable[..., tinker.ServiceClient]


def test_a_failed_request_is_the_users_when_the_service_says_so(connect: Connect, events: Events) -> None:
    service = connect(future_faults=(FutureFault(nth=1, category="user", message="bad datum"),))
    training = service.create_lora_training_client(base_model=MODEL).result()

    with pytest.raises(tinker.RequestFailedError, match="bad datum"):
        training.forward_backward(batch(), "cross_entropy").result()

    failed = events.one("tinker.training.forward_backward.exception")
    request = events.one("tinker.request.exception")
    for event in (failed, request):
        assert event.metadata["error_type"] == "RequestFailedError" and event.metadata["status"] == "error"
        assert (event.metadata["fault_owner"], event.metadata["is_user_error"]) == ("user", True)
        assert event.metadata["error_category"] == "user" and "bad datum" in event.metadata["reason"]
    assert events.named("tinker.future.poll.stop", operation="forward_backward")[-1].metadata["outcome"] == "failed"
    assert events.one("tinker.claim.exception").metadata["error_type"] == "RequestFailedError"
    assert not [event for event in events if SECRET in repr(event)]


def test_a_refused_submission_ends_all_that_it_began(connect: Connect, events: Events) -> None:
    service = connect(submit_faults=(SubmitFault(nth=1, status=422, message="too long"),))
    training = service.create_lora_training_client(base_model=MODEL).result()

    with pytest.raises(tinker.UnprocessableEntityError):
        training.forward_backward(batch(), "cross_entropy").result()

    operation = events.one("tinker.training.forward_backward.exception")
    submit = events.one("tinker.submit.exception")
    assert operation.metadata["status_code"] == 422 and operation.metadata["fault_owner"] == "user"
    assert submit.metadata["status_code"] == 422 and submit.measurements["attempts"] == 1
    assert operation.metadata["request_ids"] == [] and in_flight() == 0


def test_a_call_that_raises_ends_where_it_raised(connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()

    with pytest.raises(ValueError, match="No data"):
        training.forward_backward([], "cross_entropy")

    failed = events.one("tinker.training.forward_backward.exception")
    assert failed.metadata["error_type"] == "ValueError" and failed.measurements["datum_count"] == 0
    assert failed.measurements["call_duration"] == failed.measurements["duration"]


class Unwilling:
    """Raises as soon as it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError(name)


@pytest.mark.parametrize("data", [[object()], iter([object()]), None, 3, "text", [Unwilling()]])
def test_a_mistake_in_the_arguments_stays_the_sdks_to_report(data: Any, connect: Connect, events: Events) -> None:
    training = connect().create_lora_training_client(base_model=MODEL).result()

    with pytest.raises((AttributeError, TypeError)):
        training.forward_backward(data, "cross_entropy")

    failed = events.one("tinker.training.forward_backward.exception")
    assert failed.measurements.get("token_count", 0) == 0  # and the fixture finds no failure of ours


def test_a_wait_that_times_out_is_a_failed_claim_and_the_operation_goes_on(connect: Connect, events: Events) -> None:
    service = connect(compute_s={**QUICK["compute_s"], "OptimStep": 0.3})
    training = service.create_lora_training_client(base_model=MODEL).result()
    pending = training.optim_step(adam())

    with pytest.raises(TimeoutError):
        pending.result(timeout=0.01)
    assert events.one("tinker.claim.exception").metadata["error_type"] == "TimeoutError"
    assert in_flight() == 1
    pending.result(timeout=10)

    assert events.one("tinker.training.optim_step.stop").metadata["status"] == "success"
    assert len(events.named("tinker.claim.start", operation="optim_step")) == 2


def test_a_cancelled_call_ends_as_cancelled(connect: Connect, events: Events) -> None:
    service = connect(compute_s={**QUICK["compute_s"], "OptimStep": 5.0})
    training = service.create_lora_training_client(base_model=MODEL).result()
    pending = training.optim_step(adam())
    wait_until(lambda: events.named("tinker.http.request.start", operation="optim_step", pool="retrieve_promise"))

    assert pending.future().cancel()

    with pytest.raises(concurrent.futures.CancelledError):
        pending.result()
    ended = events.one("tinker.training.optim_step.exception")
    assert ended.metadata["error_type"] == "CancelledError" and ended.measurements["duration"] < 4_000_000_000
    assert (ended.metadata["fault_owner"], ended.metadata["is_user_error"]) == ("unknown", False)
    wait_until(lambda: events.named("tinker.request.exception"))
    assert in_flight() == 0


async def test_an_await_that_times_out_cancels_the_call(connect: Connect, events: Events) -> None:
    service = connect(compute_s={**QUICK["compute_s"], "OptimStep": 5.0})
    training = await service.create_lora_training_client(base_model=MODEL)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(training.optim_step(adam()), 0.05)

    wait_until(lambda: events.named("tinker.training.optim_step.exception"))
    assert events.one("tinker.claim.exception").metadata["error_type"] == "CancelledError"


def test_a_service_that_is_gone_is_told_by_its_heartbeat(
    start_service: Callable[..., Sim], events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", "0")  # it would try for a minute to reach the service that is gone
    sim = start_service()
    holder = service_client(sim).create_lora_training_client(base_model=MODEL).result().holder

    async def beat() -> None:
        with holder.aclient("session") as client:  # type: ignore[arg-type]
            await client.service.session_heartbeat(session_id="alone", max_retries=0, timeout=2)

    sim.close()
    with pytest.raises(tinker.APIConnectionError):
        holder.run_coroutine_threadsafe(beat()).result()
    holder.close()

    heartbeat = events.one("tinker.session.heartbeat.exception")
    exchange = events.one("tinker.http.request.exception")
    assert heartbeat.metadata["session_id"] == "alone" and exchange.metadata["operation_id"] is None
    assert exchange.metadata["error"] and "status_code" not in exchange.metadata
