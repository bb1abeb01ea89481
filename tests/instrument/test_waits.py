"""Your code waits where no claim sees it: which waits are seen, what they are called, and when nobody looks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import tinker
from tests.instrument.watching import MODEL, QUICK, Events, Heard, adam, prompt
from tests.waiting import wait_until
from tinker import types

from tinkertape import bus
from tinkertape.events import operation_events
from tinkertape.guard import disabled, failures, forget_failures
from tinkertape.instrument import tinker as source
from tinkertape.instrument.tinker import flight, waits

WAIT = "process.thread.wait"
OPTIM_S = 0.12
MS = 1_000_000

Connect = Callable[..., tinker.ServiceClient]


@pytest.fixture
def training(connect: Connect, events: Events) -> tinker.TrainingClient:
    """A client whose optimiser takes its time."""
    service = connect(compute_s={**QUICK["compute_s"], "OptimStep": OPTIM_S, "SaveWeights": OPTIM_S, "Sample": OPTIM_S})
    return service.create_lora_training_client(base_model=MODEL).result()


def step(training: tinker.TrainingClient) -> concurrent.futures.Future[Any]:
    return training.optim_step(adam()).future()


def wait(training: tinker.TrainingClient) -> None:
    concurrent.futures.wait([step(training)])


def as_completed(training: tinker.TrainingClient) -> None:
    list(concurrent.futures.as_completed([step(training)]))


def mapped(training: tinker.TrainingClient) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: step(training).result(), range(2)))


def left(training: tinker.TrainingClient) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pool.submit(lambda: step(training).result())


def joined(training: tinker.TrainingClient) -> None:
    worker = threading.Thread(target=lambda: step(training).result())
    worker.start()
    worker.join()


def called_back(training: tinker.TrainingClient) -> None:
    results: queue.Queue[Any] = queue.Queue()
    step(training).add_done_callback(results.put)
    results.get()


def told(training: tinker.TrainingClient) -> None:
    done = threading.Event()
    step(training).add_done_callback(lambda _: done.set())
    done.wait()


def wrapped(training: tinker.TrainingClient) -> None:
    async def main() -> None:
        await asyncio.wrap_future(step(training))

    asyncio.run(main())


def wrapped_on_uvloop(training: tinker.TrainingClient) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        await asyncio.wrap_future(step(training))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize(
    ("way", "method"),
    [
        (wait, "concurrent.futures.wait"),
        (as_completed, "concurrent.futures.as_completed"),
        (mapped, "concurrent.futures.Executor.map"),
        (left, "concurrent.futures.Executor.shutdown"),
        (joined, "threading.Thread.join"),
        (called_back, "queue.Queue.get"),
        (told, "threading.Event.wait"),
        (wrapped, "asyncio"),
        (wrapped_on_uvloop, "asyncio"),
    ],
)
def test_a_wait_that_no_claim_sees_is_sampled(
    way: Callable[[tinker.TrainingClient], None], method: str, training: tinker.TrainingClient, events: Events
) -> None:
    way(training)

    seen = events.one(WAIT, method=method)
    thread = {"thread": threading.get_ident(), "thread_name": threading.current_thread().name, "goes_on": False}
    assert {key: seen.metadata[key] for key in thread} == thread
    done = max(stop.measurements["monotonic_time"] for stop in events.named("tinker.training.optim_step.stop"))
    ended, unsure = seen.measurements["monotonic_time"], seen.measurements["uncertainty_end"]
    assert ended - seen.measurements["duration"] < done - OPTIM_S * 1e9 / 2 and done < ended + unsure + 20 * MS


def test_a_claim_is_not_told_twice(training: tinker.TrainingClient, events: Events) -> None:
    training.optim_step(adam()).result()
    step(training).result()

    wait_until(lambda: waits._sampler.is_asleep)
    assert len(events.named("tinker.claim.stop", operation="optim_step")) == 2
    assert events.named(WAIT) == []


def test_other_threads_are_not_told_of(training: tinker.TrainingClient, events: Events) -> None:
    """The SDK's loop, even where a callback calls the SDK on it; threads that never did; workers without work."""
    sampling = training.save_weights_and_get_sampling_client().result()
    parameters = types.SamplingParams(max_tokens=2)
    threading.Thread(target=threading.Event().wait, daemon=True).start()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: sampling.sample(prompt(), 1, parameters).result(), range(4)))
        first = step(training)
        first.add_done_callback(lambda _: step(training))
        concurrent.futures.wait([first])
        concurrent.futures.wait([step(training)])

    assert len(events.named("tinker.training.optim_step.start")) == 3
    assert {event.metadata["thread"] for event in events.named(WAIT)} == {threading.get_ident()}


def test_a_child_process_is_not_waited_for_by_a_loop(training: tinker.TrainingClient, events: Events) -> None:
    pending = training.optim_step(adam())
    subprocess.run([sys.executable, "-c", "input()"], input="\n", text=True, capture_output=True, check=True)
    pending.result()

    assert events.named(WAIT) == []


def test_it_looks_only_while_something_is_in_flight(
    training: tinker.TrainingClient, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    flying: list[int] = []
    look = waits._look
    monkeypatch.setattr(waits, "_look", lambda: flying.append(source.in_flight()) or look())

    for _ in range(3):
        wait(training)
        wait_until(lambda: waits._sampler.is_asleep)
        looked = len(flying)
        assert waits._sampler._thread is not None and waits._sampler._thread.is_alive()
    assert len(flying) == looked > 30 and sum(number == 0 for number in flying) <= 3


def named_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tinkertape-waits"]


def test_the_thread_comes_with_the_first_call_and_goes_with_uninstall(connect: Connect, events: Events) -> None:
    service = connect()
    assert named_threads() == []  # installed, and nothing called

    service.create_lora_training_client(base_model=MODEL).result()
    assert len(named_threads()) == 1

    source.uninstall()
    assert named_threads() == []


def test_uninstall_tells_of_the_wait_under_way(training: tinker.TrainingClient, events: Events) -> None:
    def uninstall() -> None:
        wait_until(lambda: time.perf_counter_ns() - started > 60 * MS)
        source.uninstall()

    started = time.perf_counter_ns()
    pending = step(training)
    other = threading.Thread(target=uninstall)
    other.start()
    other.join()

    assert len(events.named(WAIT, method="threading.Thread.join")) == 1
    pending.result()


def test_nobody_listens_and_nothing_is_sampled(connect: Connect) -> None:
    source.install()
    connect().create_lora_training_client(base_model=MODEL).result()

    assert named_threads() == []
    source.uninstall()


@pytest.fixture
def heard() -> Iterator[Events]:
    """Nothing but the sampler, and what it tells."""
    found = Events()
    forget_failures()
    bus.attach("waits", WAIT, found.hear)
    yield found
    waits.stop()
    flight.forget_all()
    bus.detach("waits")
    forget_failures()


def operation() -> flight.Operation:
    """A call that is under way, made by hand."""
    events = operation_events("training", "optim_step")
    made = flight.Operation("optim_step", events, 0, threading.get_ident(), is_coroutine=False)
    waits.watch(threading.get_ident())
    return made


def block(event: threading.Event, long_ns: int) -> None:
    """Wait for so long, and say when it is over."""
    timer = threading.Timer(long_ns / 1e9, event.set)
    timer.start()
    event.wait()
    timer.join()


def test_what_a_thread_holds_is_let_go_of_at_once(heard: Events) -> None:
    class Batch:
        pass

    def work() -> None:
        batch = Batch()
        kept.append(weakref.ref(batch))
        waits.watch(threading.get_ident())
        block(threading.Event(), 40 * MS)

    kept: list[weakref.ref[Batch]] = []
    flying = operation()
    gc.collect()
    gc.disable()
    try:
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        assert kept[0]() is None
    finally:
        gc.enable()
    flying.close()


def test_a_child_of_a_fork_samples_on_its_own(heard: Events) -> None:
    operation()
    block(threading.Event(), 30 * MS)
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:  # nothing of the parent's is under way here, and no thread of its
        heard.clear()
        alone = named_threads() == [] and source.in_flight() == 0
        operation().close()
        flying = operation()
        block(threading.Event(), 60 * MS)
        flying.close()
        waits.stop()
        os.write(writing, b"told" if alone and heard and len(named_threads()) == 0 else b"lost")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 4) == b"told"
    os.close(reading)
    os.close(writing)


def test_a_thread_inside_a_public_call_is_left_out(heard: Events) -> None:
    flying = operation()
    waits.cover(threading.get_ident())
    block(threading.Event(), 40 * MS)
    flying.close()
    waits.stop()  # no look comes after it
    waits.uncover(threading.get_ident())

    assert heard == []


def test_a_broken_look_is_counted_and_the_sampler_stays_off(heard: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a hook of ours is broken")

    monkeypatch.setattr(waits, "_look", broken)
    operation()

    wait_until(lambda: disabled("instrument.tinker.waits") and not named_threads())
    assert failures() == {("instrument.tinker.waits", "RuntimeError"): 5}
    block(threading.Event(), 20 * MS)
    assert heard == []


def test_where_the_system_gives_no_thread_the_call_goes_on_and_a_later_one_has_it(
    heard: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as few:
        few.setattr(threading.Thread, "start", refused)
        operation()
    assert failures() == {("instrument.tinker.waits", "RuntimeError"): 1}

    waits.watch(threading.get_ident())
    wait_until(lambda: len(named_threads()) == 1)


# The arithmetic of samples; the times are the test's.

JOIN, GET = "threading.Thread.join", "queue.Queue.get"


def looked(heard: Events, samples: list[tuple[float, str | None]], thread: int = 7) -> list[Heard]:
    """What is told of one thread that was seen so: (ms, where it waits)."""
    watching = waits.Waits(0)
    for at, method in samples:
        watching.look(round(at * MS), {} if method is None else {thread: method})
    return list(heard)


def test_consecutive_samples_are_one_wait_from_gap_to_gap(heard: Events) -> None:
    [told] = looked(heard, [(5, None), (10, JOIN), (15, JOIN), (35, JOIN), (45, None)])

    assert told.measurements == {
        "duration": 40 * MS - 7_500_000,
        "monotonic_time": 40 * MS,
        "uncertainty_begin": 2_500_000,
        "uncertainty_end": 5 * MS,
    }


def test_short_waits_and_single_samples_are_not_told(heard: Events) -> None:
    short: list[tuple[float, str | None]] = [(5, None), (10, JOIN), (15, JOIN), (20, None)]
    single: list[tuple[float, str | None]] = [(100, JOIN), (200, None)]

    assert looked(heard, short + single) == []


def test_a_wait_elsewhere_is_another_one(heard: Events) -> None:
    told = looked(heard, [(5 * n, JOIN if n < 10 else GET) for n in range(20)] + [(100, None)])

    assert [each.metadata["method"] for each in told] == [JOIN, GET]
    assert told[0].measurements["monotonic_time"] == 47_500_000
    assert told[1].measurements["duration"] == 97_500_000 - 47_500_000


def test_a_wait_begins_after_the_claim_before_it(heard: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(waits._uncovered_ns, 7, 96 * MS)

    [told] = looked(heard, [(50, None), (100, JOIN), (150, JOIN), (160, None)])

    assert told.measurements["duration"] == 155 * MS - 98 * MS
    assert told.measurements["uncertainty_begin"] == 2 * MS


def test_a_long_wait_is_told_as_it_grows(heard: Events) -> None:
    told = looked(heard, [(50 * n, JOIN) for n in range(1, 601)] + [(30_050, None)])

    assert [round(each.measurements["duration"] / 1e9) for each in told] == [1, 2, 4, 8, 17, 27, 30]
    assert [each.metadata["goes_on"] for each in told] == [True] * 6 + [False]
    assert len({each.metadata["wait_id"] for each in told}) == 1


def seen(*waiting: str, runs: bool = False, is_covered: bool = False) -> waits.Seen:
    return waits.Seen(dict(enumerate(waiting)), runs, is_covered, 0)


def looks(state: waits.Seen, until_ms: float) -> list[float]:
    """When it is looked, in ms, while nothing changes."""
    pace, at, out = waits.Pace(0), 0, [0.0]
    while at < until_ms * MS:
        period = pace.period_ns(at, state)
        if period is None:
            break
        at += period
        out.append(at / MS)
    return out


def test_the_gaps_grow_to_a_fiftieth_of_a_wait() -> None:
    times = looks(seen(JOIN), 10_000)

    assert times[:4] == [0, 5, 10, 15]
    assert all(two - one <= max(5, one / 50) + 1e-6 for one, two in pairwise(times))
    assert round(times[-1] - times[-2], 6) == 50
    assert len(times) < 400


def test_a_thread_that_runs_on_is_looked_at_less_often() -> None:
    times = looks(seen(runs=True), 5_000)

    gaps = [round(two - one, 6) for one, two in pairwise(times)]
    assert gaps[:8] == [5] * 5 + [20] * 3
    assert max(gaps) == 50


def test_nobody_looks_while_all_are_in_claims_for_long() -> None:
    assert looks(seen(is_covered=True), 5_000)[-1] == 200


def test_a_program_that_waits_in_one_claim_after_the_other_is_looked_at_less_often() -> None:
    pace, at, gaps = waits.Pace(0), 0, []
    for left in range(14):
        gaps.append(pace.period_ns(at, waits.Seen({}, False, True, left)) or 0)
        at += gaps[-1]
    assert gaps == [20 * MS] * 10 + [50 * MS] * 4

    assert pace.period_ns(at, seen(JOIN)) == 5 * MS
    assert pace.period_ns(at + 5 * MS, seen(is_covered=True)) == 20 * MS


def test_any_change_is_followed_closely() -> None:
    pace = waits.Pace(0)
    pace.period_ns(0, seen(JOIN))
    assert pace.period_ns(5_000 * MS, seen(JOIN)) == 50 * MS

    assert pace.period_ns(5_050 * MS, seen(GET)) == 5 * MS
