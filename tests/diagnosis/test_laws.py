"""Laws that hold for any events: sums, bounds, and that a look in between changes nothing."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.diagnosis.builder import MS, USER, Script, training_run
from tests.diagnosis.test_operations import cut_of

from tinkertape.context import Event
from tinkertape.diagnosis import Diagnoser, diagnose
from tinkertape.diagnosis.report import as_dict

NAMES = (
    "tinker.training.forward_backward",
    "tinker.training.optim_step",
    "tinker.sampling.sample",
    "tinker.submit",
    "tinker.http.request",
    "tinker.future.poll",
    "tinker.request",
    "tinker.claim",
)
SINGLE = (
    "tinker.result.ready",
    "tinker.queue.pause",
    "tinker.queue.resume",
    "process.loop.busy",
    "clock.tick",
    "tinker.retry",
    "process.thread.wait",
)
METHODS = ("threading.Thread.join", "queue.Queue.get", "concurrent.futures.wait", "asyncio")
seeds = st.integers(0, 2**32)


def any_events(seed: int) -> list[Event]:
    """Events of random kinds about random calls, their stamps in no sensible relation to each other."""
    rng = random.Random(seed)
    script = Script()
    names = [f"{each}.{end}" for each in NAMES for end in ("start", "stop", "exception")] + list(SINGLE)
    for _ in range(rng.randint(1, 80)):
        name = rng.choice(names)
        measured: dict[str, object] = {
            "duration": rng.randint(0, 900) * MS,
            "headers_duration": rng.randint(0, 900) * MS,
        }
        if rng.random() < 0.5:
            measured["call_duration"] = rng.randint(0, 900) * MS
        metadata: dict[str, object] = {
            "operation_id": rng.randint(1, 5),
            "operation": name.split(".")[2] if name.count(".") == 3 else "sample",
            "thread": rng.randint(1, 2),
            "loop": rng.choice([None, 7]),
            "submission_id": rng.randint(1, 6),
            "http_id": rng.randint(1, 9),
            "request_id": f"r{rng.randint(1, 6)}",
            "claim_id": rng.randint(1, 6),
            "owner": rng.choice(["sdk", "user"]),
            "outcome": rng.choice(["pending", "ready", "failed", "metadata", "error"]),
            "queue_state": rng.choice(["active", "paused_capacity", "paused_rate_limit", "paused", ""]),
            "reason": rng.choice(["capacity", "rate_limit", "unknown"]),
            "status_code": rng.choice([200, 408, 429, 503]),
            "wait_id": rng.randint(1, 6),
            "goes_on": rng.random() < 0.3,
            "method": rng.choice(METHODS),
            "path": rng.choice(["/api/v1/asample", "/api/v1/retrieve_future", "/api/v1/optim_step"]),
        }
        script.event(name, rng.randint(0, 2000), measured, metadata)
    return script.events()


def any_run(seed: int, calls: int | None = None) -> list[Event]:
    """Calls of several threads, as they overlap in life: pipelined, paused, claimed early, late or never."""
    rng = random.Random(seed)
    script = Script()
    script.start(0)
    at = 5.0
    sampled: dict[int, float] = {}
    few = rng.randint(2, 14)
    for number in range(calls or few):
        paused = (0.0, rng.uniform(300, 900)) if rng.random() < 0.15 else None
        name, family = rng.choice(
            [("forward_backward", "training"), ("optim_step", "training"), ("sample", "sampling")]
        )
        thread = rng.choice([USER, USER, USER + 1])
        call = script.call(
            name,
            at,
            family=family,
            compute=rng.uniform(5, 300),
            hold=rng.choice([100, 250, 2000]),
            paused=paused,
            send=rng.uniform(1, 40),
            thread=thread,
            step=number // 3 if seed % 2 else None,
        )
        if rng.random() < 0.25:  # in the place of a claim
            waited = max(sampled.get(thread, 0.0), at + rng.uniform(1, 50))
            sampled[thread] = max(waited + 15, call.ended + rng.choice([0.5, 0.5, -60, 90]))
            grown = rng.uniform(waited, sampled[thread]) if rng.random() < 0.3 else None
            number = script.wait(waited, grown, thread=thread, goes_on=True) if grown is not None else None
            script.wait(waited, sampled[thread], rng.choice(METHODS), thread=thread, number=number)
        elif rng.random() < 0.9:
            claimed = at + rng.uniform(1, 400)
            ended = max(claimed, call.ended) + rng.uniform(0.1, 5)
            script.claim(call, claimed, ended, loop=rng.choice([None, 7]), thread=thread)
        if rng.random() < 0.3:
            began = at + rng.uniform(0, 50)
            script.busy(began, began + rng.uniform(5, 60), owner=rng.choice(["sdk", "user"]), loop=7)
        at += rng.choice([2, 30, 300])
    return script.events()


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_the_parts_sum_to_the_wall_whatever_happened(seed: int) -> None:
    for events in (any_events(seed), any_run(seed)):
        diagnoser = Diagnoser()
        for event in events:
            diagnoser.feed(event)

        view = diagnoser.view()

        assert view is not None
        assert sum(view.total.parts.values()) == view.ended_ns - view.began_ns
        assert sum(partition.wall_ns for partition in view.partitions) == view.total.wall_ns
        for partition in view.partitions:
            assert sum(partition.parts.values()) == partition.wall_ns
            assert all(value >= 0 for value in partition.parts.values())
            assert partition.covered_ns <= partition.wall_ns
            assert all(partition.bounds_ns(part)[0] <= value for part, value in partition.parts.items())
        for operation in view.process.order:
            segments = view.cutter.cut(operation).segments
            assert all(one.ended_ns == two.began_ns for one, two in pairwise(segments))
            assert all(segment.ended_ns > segment.began_ns for segment in segments)
            if segments:
                ended = view.now_ns if operation.ended_ns is None else operation.ended_ns
                assert (segments[0].began_ns, segments[-1].ended_ns) == (operation.began_ns, ended)


@settings(max_examples=50, deadline=None)
@given(seeds)
@example(10)  # what stands behind such a pause
@example(323)  # a wait that was told when its step was cut
@example(918290)  # a pause cut before there was a history to split it by
def test_looks_at_a_live_run_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    looked, whole = Diagnoser(), Diagnoser()
    wall = 0
    for event in any_run(seed):
        looked.feed(event)
        whole.feed(event)
        if rng.random() < 0.2:
            report = looked.report()
            assert round(sum(part.seconds for part in report.parts) - report.wall_s, 9) == 0
            view = looked.view()
            assert view is not None
            assert view.ended_ns >= wall
            wall = view.ended_ns

    assert as_dict(looked.report()) == as_dict(whole.report())


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_nothing_costs_more_than_the_wall(seed: int) -> None:
    for events in (any_events(seed), any_run(seed)):
        report = diagnose(events).report

        for finding in report.findings:
            assert finding.cost_s is None or report.wall_s == 0 or 0 <= finding.cost_s <= report.wall_s
            assert finding.share is None or 0 <= finding.share <= 1
        assert report.wall_s == 0 or report.over_s <= report.wall_s


@settings(max_examples=100, deadline=None)
@given(
    compute=st.floats(20, 3000),
    hold=st.sampled_from([200, 400, 2000, 30_000]),
    paused=st.one_of(st.none(), st.floats(1.05, 3)),
    begins=st.floats(0, 0.9),
    known=st.booleans(),
)
def test_the_truth_lies_within_the_bounds(
    compute: float, hold: float, paused: float | None, begins: float, known: bool
) -> None:
    """A pause of at least one poll, begun at any moment of the compute, with and without a history."""
    script = Script()
    if known:
        script.call("forward_backward", 0, compute=compute * 0.9, hold=hold)
    pause = (compute * begins, compute * begins + paused * hold) if paused is not None else None
    call = script.call("forward_backward", 100_000, compute=compute, hold=hold, paused=pause)
    script.tick(1_000_000)

    cut = cut_of(script.events(), call.operation_id)

    for part, truth in (("compute", compute), ("queue:capacity", pause[1] - pause[0] if pause else 0)):
        value = cut.nanoseconds(part)
        less, more = cut.doubt_ns(part)
        assert value - less - MS <= truth * MS <= value + more + MS, (part, value / MS, less / MS, more / MS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 20))
def test_a_run_without_faults_is_healthy_and_its_steps_tile_it(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    script = training_run([150 * rng.uniform(0.8, 1.2) for _ in range(steps)], optim=60 * rng.uniform(0.8, 1.2))

    diagnosis = diagnose(script.events())

    assert diagnosis.healthy, [finding.summary for finding in diagnosis]
    rows = diagnosis.report.steps
    assert [row.step for row in rows] == list(range(1, steps + 1))
    assert all(one.ended_s == two.began_s for one, two in pairwise(rows))
