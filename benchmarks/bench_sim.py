"""The simulated service: is it, or its client, the bottleneck at 200 samples at once, and with 20 that train?

The service is a process of its own, the client the real SDK in this one, both on the same processors: the two compete,
and who uses more of them is what holds the other up. Compute is 50 ms whatever is asked. Beside processor time an
exchange, the service's own truth says how late it was: a submission from its last byte to its acceptance, a result from
ready to the answer of a poll that was waiting for it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import tinker
from tinker import types

from tinkertape.sim import read_truth

BASE = "simulated/bytes-bigram"
SCENARIO = """
poll_hold_s = 5.0
compute_s = { Sample = 0.05, ForwardBackward = 0.05, OptimStep = 0.05 }
"""
SAMPLES, TRAINERS = 200, 20
TICKS_S = 1 / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """A service in a process of its own: its address, its process, its truth."""
    (folder / "scenario.toml").write_text(SCENARIO)
    truth = folder / "truth.jsonl"
    given = ["--scenario", str(folder / "scenario.toml"), "--truth", str(truth)]
    command = [sys.executable, "-m", "tinkertape.sim", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["listening"], process.pid, truth
        process.terminate()


def processor_s(process: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICKS_S


def sample(client: tinker.ServiceClient, rounds: int) -> None:
    """200 samples at once, again and again."""
    sampler = client.create_sampling_client(base_model=BASE).result()
    prompt, params = types.ModelInput.from_ints([97] * 32), types.SamplingParams(max_tokens=16)
    for _ in range(rounds):
        for future in [sampler.sample(prompt, 1, params) for _ in range(SAMPLES)]:
            future.result()


def train(client: tinker.ServiceClient, rounds: int) -> None:
    """20 clients, each in a thread, steps pipelined."""
    tokens = [32 + number % 64 for number in range(64)]
    inputs: Any = {"target_tokens": tokens, "weights": [1.0] * 64}
    data = [types.Datum(model_input=types.ModelInput.from_ints(tokens), loss_fn_inputs=inputs)] * 4

    def steps(_: int) -> None:
        training = client.create_lora_training_client(base_model=BASE, rank=8).result()
        for _ in range(rounds):
            first = training.forward_backward(data, "cross_entropy")
            training.optim_step(types.AdamParams(learning_rate=1e-3)).result()
            first.result()

    with ThreadPoolExecutor(TRAINERS) as pool:
        list(pool.map(steps, range(TRAINERS)))


def late_ms(truth: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """How long submissions were read, and results held, where a poll was waiting for them."""
    ready = {line["request_id"]: line["at_ns"] for line in truth if line["what"] == "ready"}
    taken = [(line["at_ns"] - line["body_ns"]) / 1e6 for line in truth if line["what"] == "accepted"]
    polls = [line for line in truth if line["what"] == "exchange" and "retrieve" in line["path"]]
    waiting = [line for line in polls if line["body_ns"] < ready.get(line["request_id"], 0)]
    return taken, [(line["at_ns"] - ready[line["request_id"]]) / 1e6 for line in waiting]


def measure(name: str, work: Callable[[tinker.ServiceClient, int], None], rounds: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        service(Path(folder)) as (url, process, truth_path),
        tinker.ServiceClient(base_url=url, api_key="tml-anything") as client,
    ):
        work(client, 1)
        before, began = len(read_truth(truth_path)), time.perf_counter()
        used = processor_s(process), time.process_time()
        work(client, rounds)
        theirs, ours = processor_s(process) - used[0], time.process_time() - used[1]
        wall, truth = time.perf_counter() - began, read_truth(truth_path)[before:]
    count = sum(line["what"] == "exchange" for line in truth)
    taken, held = (quantiles(late, n=100) for late in late_ms(truth))
    print(f"{name}: {count} exchanges in {wall:.1f} s, {count / wall:.0f}/s")
    print(f"  processor time an exchange: service {theirs / count * 1e6:.0f} us, client {ours / count * 1e6:.0f} us,")
    print(f"  {ours / theirs:.1f} times as much; the service used {theirs / wall:.0%} of one processor")
    print(f"  taken after {taken[49]:.1f} ms, p99 {taken[98]:.1f}")
    print(f"  answered {held[49]:.1f} ms after ready, p99 {held[98]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of 200 samples, and steps of each of 20 that train")
    rounds = parser.parse_args().rounds
    os.environ["TINKER_TELEMETRY"] = "0"
    measure(f"{SAMPLES} samples at once", sample, rounds)
    measure(f"{TRAINERS} clients that train", train, rounds)


if __name__ == "__main__":
    main()
