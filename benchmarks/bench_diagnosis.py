"""What does a diagnosis cost an event, and a request: the fold, the cuts of what is settled, the detectors? And what
does it cost a program to be watched while it runs?

The events are real: the tape of the SDK training and sampling against a simulated service. The peer is reading them:
the decoding of each line that any reader of a tape does first. Passes alternate in one process; what is shown is the
CPU time of the least disturbed one of each. Wanted: all of it at most as much as reading.

Watched, a program pays one append an event, and the CPU of the watcher's thread, which is read from its own clock while
the SDK trains and samples as fast as it can. Wanted: at most half a percent of a processor, whatever the program does.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import tempfile
import time
import timeit
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import tinker
from tinker import types

import tinkertape
from tinkertape import sim
from tinkertape.bus import Bus
from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.diagnoser import Diagnoser
from tinkertape.diagnosis.fold import Fold
from tinkertape.diagnosis.live import LiveDiagnoser
from tinkertape.diagnosis.watcher import Watcher
from tinkertape.sim import healthy_scenario
from tinkertape.tape.format import decode_line

ROUNDS = 15
STEPS, SAMPLES = 40, 400
WANTED = 1.0
WATCHED_S = 6.0
SHARE_WANTED = 0.005


def main() -> int:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as directory:
        tape = record(directory)
        lines = [
            line for path in tape.glob("*.jsonl") for line in path.read_bytes().splitlines() if b'"tape"' not in line
        ]
        events = [event for event in map(decode_line, lines) if isinstance(event, Event)]
    requests = sum(event.name == "tinker.request.start" for event in events)
    passes: dict[str, Callable[[], object]] = {
        "decode the line": lambda: [decode_line(line) for line in lines],
        "fold": lambda: fed(Fold().feed, events),
        "fold, and cut what is settled": lambda: fed(Book().feed, events),
        "all: the detectors, too": lambda: fed(Diagnoser().feed, events),
        "live: what is settled forgotten": lambda: fed(LiveDiagnoser().feed, events),
    }
    gc.collect()
    gc.freeze()  # the events themselves are no work of the fold's
    least = dict.fromkeys(passes, 1 << 62)
    for _ in range(ROUNDS):
        for name, run in passes.items():
            least[name] = min(least[name], cpu_ns(run))
    print(f"{len(events)} events of {requests} requests")
    for name, ns in least.items():
        us, ratio = ns / 1e3, ns / least["decode the line"]
        each = f"{us / len(events):6.2f} us an event {us / requests:8.1f} us a request"
        print(f"  {name:32} {each}   {ratio:5.2f} x decoding")
    ratio = least["all: the detectors, too"] / least["decode the line"]
    print(f"\nall of it {ratio:.2f} x decoding; wanted {WANTED}")
    append()
    share = max(watched("train", 0.01), watched("sample", 0.0))
    print(f"\nthe watcher's thread {share:.2%} of a processor; wanted {SHARE_WANTED:.1%}")
    return int(ratio > WANTED or share > SHARE_WANTED)


def append() -> None:
    """What an event costs the thread that executes it, with a watcher and without."""
    bus, measured = Bus(), {"duration": 123_456, "monotonic_time": 99_999_999_999}
    metadata = {"operation_id": 7, "operation": "sample", "submission_id": 7, "request_id": "7d9d53d9:7"}
    took = {}
    for name in ("nobody listens", "watched"):
        if name == "watched":
            watcher = Watcher(bus)
        timer = timeit.Timer(lambda: bus.execute("tinker.submit.stop", measured, metadata))
        took[name] = min(timer.repeat(15, 1000)) / 1000 * 1e9
    watcher.close()
    print(f"\nexecute, ns: {took['nobody listens']:.0f} where nobody listens, {took['watched']:.0f} watched")


def watched(kind: Literal["train", "sample"], compute_s: float) -> float:
    """The share of a processor that the watcher's thread takes while the program does one thing for `WATCHED_S`."""
    with tempfile.TemporaryDirectory() as directory, service_of(compute_s), tinker.ServiceClient() as client:
        training = client.create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=8).result()
        sampler = training.save_weights_and_get_sampling_client().result()
        with tinkertape.start("bench", directory=directory, watch=True) as telemetry:
            watcher = telemetry.watcher
            assert watcher is not None and watcher.thread is not None
            clock = time.pthread_getcpuclockid(watcher.thread.ident or 0)
            calls, began, began_cpu = 0, time.perf_counter(), time.clock_gettime(clock)
            while time.perf_counter() - began < WATCHED_S:
                calls += step(training) if kind == "train" else samples(sampler, 16)
            took, cpu = time.perf_counter() - began, time.clock_gettime(clock) - began_cpu
    per_call = f"{cpu / calls * 1e6:.0f} us a call, {watcher.thinned} events left out"
    print(f"  {kind:8} {calls / took:5.0f} calls/s: {cpu / took:.2%} of a processor, {per_call}")
    return cpu / took


def fed(feed: Callable[[Event], object], events: Sequence[Event]) -> None:
    for event in events:
        feed(event)


def cpu_ns(run: Callable[[], object]) -> int:
    began_ns = time.process_time_ns()
    run()
    return time.process_time_ns() - began_ns


def record(directory: str) -> Path:
    """Train and sample with the real SDK; its tape comes back."""
    with service_of(0.005), tinkertape.start("bench", directory=directory) as telemetry:
        with tinker.ServiceClient() as client:
            training = client.create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=8).result()
            for _ in range(STEPS):
                step(training)
            samples(training.save_weights_and_get_sampling_client().result(), SAMPLES)
        return telemetry.tape


@contextlib.contextmanager
def service_of(compute_s: float) -> Iterator[None]:
    """A simulated service, and the SDK's settings for it."""
    scenario = healthy_scenario(0)
    scenario = msgspec.structs.replace(scenario, compute_s=dict.fromkeys(scenario.compute_s, compute_s))
    with sim.start(scenario) as service:
        os.environ.update(TINKER_BASE_URL=service.url, TINKER_API_KEY="tml-bench", TINKER_TELEMETRY="0")
        os.environ["NO_PROXY"] = "127.0.0.1"
        yield


def step(client: tinker.TrainingClient) -> int:
    """One step of training; how many calls that is."""
    tokens = list(range(32, 96))
    inputs = {"target_tokens": tokens[1:], "weights": [1.0] * 63}
    datum = types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs)
    done = (
        client.forward_backward([datum] * 4, "cross_entropy"),
        client.optim_step(types.AdamParams(learning_rate=1e-3)),
    )
    for future in done:
        future.result()
    return 2


def samples(client: tinker.SamplingClient, number: int) -> int:
    """So many samples at once."""
    prompt, params = types.ModelInput.from_ints(list(range(40, 60))), types.SamplingParams(max_tokens=4, seed=1)
    for future in [client.sample(prompt, num_samples=1, sampling_params=params) for _ in range(number)]:
        future.result()
    return number


if __name__ == "__main__":
    sys.exit(main())
