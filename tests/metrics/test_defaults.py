"""The default set listens to events that exist, and counts what a real run does."""

from __future__ import annotations

import pytest
import tinker
from tests.instrument.watching import MODEL, adam, batch, prompt, scenario, service_client
from tests.metrics.reading import values
from tests.waiting import wait_until
from tinker import types

from tinkertape import sim
from tinkertape.events import catalogue
from tinkertape.instrument import tinker as source
from tinkertape.metrics import Aggregate, default

DECLARED = {event.name: event for event in catalogue()}


@pytest.mark.parametrize("metric", default(), ids=lambda metric: f"{metric.kind}-{metric.name}")
def test_every_default_metric_matches_an_event_that_is_declared(metric):
    event = DECLARED[metric.event_name]

    assert set(metric.tags) <= set(event.metadata)
    assert metric.kind == "counter" or metric.measurement in event.measurements
    assert metric.description


def test_names_are_told_once():
    names = [metric.name for metric in default()]

    assert sorted(set(names)) == sorted(names)


def test_the_specifications_metrics_are_all_there():
    """Its names with tinker for tinkex; those of the virtual machine are the process's."""
    named = {(metric.kind, metric.name) for metric in default()}

    assert named >= {
        ("counter", "tinker.http.request.count"),
        ("distribution", "tinker.http.request.duration"),
        ("counter", "tinker.training.forward_backward.count"),
        ("distribution", "tinker.training.forward_backward.duration"),
        ("counter", "tinker.sampling.sample.count"),
        ("distribution", "tinker.sampling.sample.duration"),
        ("counter", "tinker.future.poll.count"),
        ("distribution", "tinker.future.poll.iterations"),
        ("counter", "tinker.retry.count"),
        ("last_value", "process.memory.rss"),
        ("last_value", "process.run_queue.total"),
        ("last_value", "process.run_queue.cpu"),
    }


def test_durations_are_in_milliseconds_with_the_specifications_buckets():
    durations = [metric for metric in default() if metric.measurement == "duration"]

    assert {metric.unit for metric in durations} == {"millisecond"}
    assert {metric.buckets for metric in durations if "http" in metric.name} == {(10, 100, 500, 1_000, 5_000, 10_000)}


@pytest.fixture
def service(tmp_path):
    with_faults = scenario(submit_faults=(sim.SubmitFault(nth=2, status=503),))
    running = sim.start(with_faults, truth=tmp_path / "truth.jsonl")
    source.install()
    client = service_client(running)
    yield client
    client.close("success").result(10)
    source.uninstall()
    running.close()


def test_a_real_run_is_counted_and_nothing_of_it_is_skipped(service: tinker.ServiceClient):
    with Aggregate(default()) as aggregate:
        training = service.create_lora_training_client(base_model=MODEL).result()
        for _ in range(2):
            forward_backward = training.forward_backward(batch(), "cross_entropy")
            training.optim_step(adam()).result()
            forward_backward.result()
        sampling = training.save_weights_and_get_sampling_client().result()
        sampling.sample(prompt(), 1, types.SamplingParams(max_tokens=3)).result()

        def found(name):
            [place] = [place for place, metric in enumerate(default()) if metric.name == name]
            return values(aggregate, place)

        wait_until(lambda: found("tinker.sampling.sample.count"), within_s=5)
        assert found("tinker.training.forward_backward.count") == {("cross_entropy",): 2}
        assert found("tinker.training.optim_step.count") == {(): 2}
        assert found("tinker.training.forward_backward.duration")["cross_entropy",].min >= 20
        assert found("tinker.sampling.sample.count") == {(): 1}
        assert found("tinker.retry.count") == {("InternalServerError",): 1}
        assert found("tinker.http.request.count")["POST", "/api/v1/forward_backward", "success"] >= 2
        assert found("tinker.future.poll.count")["success", "ready"] >= 5
        assert found("tinker.future.poll.iterations")[()].count >= 5
        assert aggregate.skipped() == {}
