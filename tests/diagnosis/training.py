"""A program that trains against simulated services, recorded; run as a process of its own.

It reads one JSON object a line from stdin, {"url", "directory", "steps", "pipelined", "samples", "last_only"}, trains,
samples so many at once, and answers one line: {"tape", "failed", "left_open"}. With "last_only" it waits for
the last call of a step alone; with "program" it runs one of `programs.py`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import tinker
from tests.diagnosis.programs import PROGRAMS, sampler, service_client, trainer
from tinker import types
from tinker.lib.retryable_exception import RetryableException

import tinkertape

FAILURES = (tinker.TinkerError, RetryableException, ValueError)  # whatever a service does to it, it goes on


class Starvation:
    """Writes down, in a thread, how long this process was kept from running, in total: its threads by a busy machine,
    as the kernel counts it; or all of them at once, by a collection of garbage, say, as the sleep that ends late tells.
    """

    every_s = 0.005
    late_ns: float = 7_000_000  # a sleep that long was kept from ending

    def __init__(self) -> None:
        self._by_thread: dict[str, int] = {}
        self._total, self._looked_ns = 0, time.perf_counter_ns()
        self.samples: list[tuple[int, int]] = [self._sample()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _sample(self) -> tuple[int, int]:
        now_ns, waited_ns = time.perf_counter_ns(), 0
        slept_ns = now_ns - self._looked_ns
        for task in Path("/proc/self/task").iterdir():
            try:
                waited = int((task / "schedstat").read_text().split()[1])
            except (OSError, IndexError):
                continue  # the thread has just ended
            waited_ns += max(0, waited - self._by_thread.get(task.name, 0))
            self._by_thread[task.name] = waited
        stood_ns = slept_ns if slept_ns > self.late_ns else 0  # at some time since the last look
        self._total += max(waited_ns, stood_ns)
        self._looked_ns = time.perf_counter_ns()
        return now_ns, self._total

    def _run(self) -> None:
        while not self._over.wait(self.every_s):
            self.samples.append(self._sample())

    def end(self) -> list[tuple[int, int]]:
        self._over.set()
        self._thread.join()
        self.samples.append(self._sample())
        return self.samples


def batch() -> list[types.Datum]:
    tokens = list(range(32, 96))
    inputs = {"target_tokens": tokens[1:], "weights": [1.0] * 63}
    return [types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs) for _ in range(4)]


def train(client: tinker.TrainingClient, steps: int, pipelined: bool, last_only: bool) -> list[str]:
    """The errors that it met, by their names."""
    failed: list[str] = []
    adam = types.AdamParams(learning_rate=1e-3)
    for _ in range(steps):
        first = client.forward_backward(batch(), "cross_entropy")
        second = client.optim_step(adam) if pipelined else None
        try:
            if not last_only:
                first.result()
            (second or client.optim_step(adam)).result()
        except FAILURES as error:
            failed.append(type(error).__name__)
    return failed


def sample(service: tinker.ServiceClient, count: int) -> None:
    sampling = sampler(service)
    prompt, params = types.ModelInput.from_ints([97]), types.SamplingParams(max_tokens=4)
    for future in [sampling.sample(prompt, 1, params) for _ in range(count)]:
        future.result()


def run(order: dict[str, object]) -> dict[str, object]:
    os.environ.pop("TINKERTAPE_RUN", None)  # each order is a run of its own
    failed: list[str] = []
    telemetry = tinkertape.start("truth", directory=str(order["directory"]))
    try:
        with service_client(str(order["url"]), quick_beats=order["program"] == "heartbeats") as service:
            if order["program"]:
                PROGRAMS[str(order["program"])](service)
            if order["steps"]:
                failed = train(
                    trainer(service), int(str(order["steps"])), bool(order["pipelined"]), bool(order["last_only"])
                )
            if order["samples"]:
                sample(service, int(str(order["samples"])))
    finally:
        telemetry.close()
    left_open = not hasattr(tinker.ServiceClient, "close")  # SDKs before 0.27: its heartbeats go on
    return {"tape": str(telemetry.tape), "failed": failed, "left_open": left_open}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
