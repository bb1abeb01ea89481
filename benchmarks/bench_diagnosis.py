"""What does a diagnosis cost an event, and a request: the fold, the cuts of what is settled, the detectors?

The events are real: the tape of the SDK training and sampling against a simulated service. The peer is reading them:
the decoding of each line that any reader of a tape does first. Passes alternate in one process; what is shown is the
CPU time of the least disturbed one of each. Wanted: all of it at most as much as reading.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import tinker
from tinker import types

import tinkertape
from tinkertape import sim
from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.diagnoser import Diagnoser
from tinkertape.diagnosis.fold import Fold
from tinkertape.sim import healthy_scenario
from tinkertape.tape.format import decode_line

ROUNDS = 15
STEPS, SAMPLES = 40, 400
WANTED = 1.0


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
    print(f"\nall of it {ratio:.2f} x decoding; wanted {WANTED}")
    return int(ratio > WANTED)


def fed(feed: Callable[[Event], object], events: Sequence[Event]) -> None:
    for event in events:
        feed(event)


def cpu_ns(run: Callable[[], object]) -> int:
    began_ns = time.process_time_ns()
    run()
    return time.process_time_ns() - began_ns


def record(directory: str) -> Path:
    """Train and sample with the real SDK; its tape comes back."""
    os.environ.update(TINKER_API_KEY="tml-bench", TINKER_TELEMETRY="0", NO_PROXY="127.0.0.1")
    scenario = healthy_scenario(0)
    scenario = msgspec.structs.replace(scenario, compute_s=dict.fromkeys(scenario.compute_s, 0.005))
    with sim.start(scenario) as service, tinkertape.start("bench", directory=directory) as telemetry:
        os.environ["TINKER_BASE_URL"] = service.url
        with tinker.ServiceClient() as client:
            training = client.create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=8).result()
            for _ in range(STEPS):
                step(training)
            sampler = training.save_weights_and_get_sampling_client().result()
            prompt, params = types.ModelInput.from_ints(list(range(40, 60))), types.SamplingParams(max_tokens=4, seed=1)
            futures = [sampler.sample(prompt, num_samples=1, sampling_params=params) for _ in range(SAMPLES)]
            for future in futures:
                future.result()
        return telemetry.tape


def step(client: tinker.TrainingClient) -> None:
    tokens = list(range(32, 96))
    inputs = {"target_tokens": tokens[1:], "weights": [1.0] * 63}
    datum = types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs)
    done = (
        client.forward_backward([datum] * 4, "cross_entropy"),
        client.optim_step(types.AdamParams(learning_rate=1e-3)),
    )
    for future in done:
        future.result()


if __name__ == "__main__":
    sys.exit(main())
