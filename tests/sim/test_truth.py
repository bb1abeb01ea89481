from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest
import tinker
from tests.sim.client import INSTANT, of_kind, train, trainer

from tinkertape.sim import Pause, Scenario, Sim, Slow, start

LATE_NS = 1_000_000_000  # a loaded machine wakes late; never early


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    """Six steps with a slow stretch and a pause, and all that the service wrote of them."""
    scenario = Scenario(
        compute_s=INSTANT | {"ForwardBackward": 0.05},
        slow=(Slow(first=4, last=5, factor=3.0),),
        pauses=(Pause(nth=3, length_s=0.2),),
    )
    with start(scenario, truth=tmp_path_factory.mktemp("trained") / "truth.jsonl") as sim:
        service = tinker.ServiceClient(base_url=sim.url, api_key="tml-anything")
        train(trainer(service), 6)
        service.close("success").result()
        yield sim


def test_every_request_is_accepted_started_ready_and_answered_in_this_order(trained):
    for line in of_kind(trained, "accepted"):
        ends = [of_kind(trained, what, request_id=line["request_id"]) for what in ("started", "ready", "answered")]
        instants = [line["headers_ns"], line["body_ns"], line["at_ns"], *(only["at_ns"] for [only] in ends)]
        assert instants == sorted(instants)


def test_compute_is_what_was_scheduled(trained):
    for started in of_kind(trained, "started"):
        [ready] = of_kind(trained, "ready", request_id=started["request_id"])
        assert ready["at_ns"] - started["at_ns"] == ready["compute_ns"]
        assert 0 <= ready["compute_ns"] - started["scheduled_ns"] < LATE_NS


def test_queue_behind_and_compute_add_up_to_the_whole(trained):
    for ready in of_kind(trained, "ready"):
        [accepted] = of_kind(trained, "accepted", request_id=ready["request_id"])
        parts = [ready["queue_ns"], ready["behind_ns"], ready["compute_ns"]]
        assert sum(parts) == ready["total_ns"] == ready["at_ns"] - accepted["at_ns"]
        assert min(parts) >= 0


def test_training_is_computed_one_at_a_time_in_the_order_of_seq(trained):
    started = [line for line in of_kind(trained, "started") if line["model_id"] is not None]
    ready = {line["seq"]: line["at_ns"] for line in of_kind(trained, "ready") if line["model_id"] is not None}

    assert [line["seq"] for line in started] == list(range(13))
    assert all(ready[line["seq"] - 1] <= line["at_ns"] for line in started[1:])


def test_slow_requests_say_what_was_usual(trained):
    slow = of_kind(trained, "slow", request_type="ForwardBackward")

    assert [line["nth"] for line in slow] == [4, 5]
    for line in slow:
        [started] = of_kind(trained, "started", request_id=line["request_id"])
        assert line["usual_s"] * line["factor"] == pytest.approx(line["scheduled_s"], rel=1e-4)
        assert started["scheduled_ns"] == pytest.approx(line["scheduled_s"] * 1e9)


def test_the_paused_request_was_held_for_the_pause(trained):
    [paused], [resumed] = of_kind(trained, "paused"), of_kind(trained, "resumed")
    [ready] = of_kind(trained, "ready", request_id=paused["request_id"])

    assert ready["queue_ns"] == resumed["duration_ns"] == resumed["at_ns"] - paused["at_ns"]
    assert 0 <= resumed["duration_ns"] - 200_000_000 < LATE_NS


def test_every_exchange_is_written_down(trained):
    submits = of_kind(trained, "exchange", path="/api/v1/forward_backward")

    assert [line["status"] for line in submits] == [200] * 6
    ids = [line["request_id"] for line in of_kind(trained, "accepted", request_type="ForwardBackward")]
    assert [line["request_id"] for line in submits] == ids
    for line in submits:
        assert line["headers_ns"] <= line["body_ns"] <= line["handled_ns"] <= line["at_ns"]
        assert line["request_bytes"] > 100 and line["response_bytes"] > 10


def test_the_file_begins_with_the_scenario_ends_with_ended_and_is_private(sim_of):
    sim = sim_of(Scenario(name="mine"))

    sim.close()

    first, last = sim.truth_lines()
    assert (first["what"], first["scenario"]["name"], last["what"]) == ("began", "mine", "ended")
    assert stat.S_IMODE(sim.truth.stat().st_mode) == 0o600


def test_latency_is_outside_of_what_the_service_calls_its_own(service_of):
    sim, service = service_of(Scenario(compute_s=INSTANT, latency_s=0.05))

    train(trainer(service), 1)

    for line in of_kind(sim, "exchange", path="/api/v1/optim_step"):
        [accepted] = of_kind(sim, "accepted", request_id=line["request_id"])
        assert accepted["at_ns"] - line["body_ns"] >= 50_000_000
        assert line["at_ns"] - line["handled_ns"] >= 50_000_000
