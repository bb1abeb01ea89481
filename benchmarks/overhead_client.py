"""The program that `bench_overhead` runs, recorded or not: each line that it reads is a number of turns, which it does.

It prints their wall and processor seconds, the latter by thread too, and its peak of memory, as JSON.

Arguments: the service's address; how much is on (`PARTS`); a folder for the tape; the kind of loop.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tinker
from tinker import types

PARTS = ("off", "hooks", "monitors", "tape")
"""Nothing; the hooks in the SDK, with a handler that does nothing; the monitors of stalls and the poller too; all.
"timed" is all, and each hook is timed; "counted" is all, and what of ours runs is counted; "executed" is all but what
is done because something lasts.
"""
PROMPT, PARAMS = types.ModelInput.from_ints([97]), types.SamplingParams(max_tokens=4)
WARM = 20


def samples(sampler: tinker.SamplingClient, turns: int) -> None:
    """One after the other."""
    for _ in range(turns):
        sampler.sample(PROMPT, 1, PARAMS).result()


def burst(sampler: tinker.SamplingClient, turns: int) -> None:
    """All at once."""
    for future in [sampler.sample(PROMPT, 1, PARAMS) for _ in range(turns)]:
        future.result()


def steps(trainer: tinker.TrainingClient, turns: int) -> None:
    tokens = list(range(32, 96))
    inputs = {"target_tokens": tokens[1:], "weights": [1.0] * 63}
    batch = [types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs) for _ in range(4)]
    for _ in range(turns):
        first = trainer.forward_backward(batch, "cross_entropy")
        second = trainer.optim_step(types.AdamParams(learning_rate=1e-3))
        first.result()
        second.result()


def record(parts: str, folder: str, leave: ExitStack) -> None:
    """A program that is not recorded does not import tinkertape."""
    if parts == "timed":
        import hook_times  # noqa: PLC0415

        hook_times.watch()
    if parts in ("tape", "counted", "timed", "executed"):
        import tinkertape  # noqa: PLC0415

        leave.callback(tinkertape.start("overhead", directory=folder).close)
        if parts == "executed":
            import own_work  # noqa: PLC0415

            own_work.put_off()
    elif parts != "off":
        from tinkertape.bus import attach_all  # noqa: PLC0415
        from tinkertape.instrument import process, tinker  # noqa: PLC0415

        attach_all("nothing", nothing)
        tinker.install()
        if parts == "monitors":
            process.install()
            leave.callback(process.uninstall)


def nothing(event: str, measurements: Any, metadata: Any, config: Any) -> None:
    """Hears every event."""


def processor_s() -> Counter[str]:
    """What each thread has used, by name; those that are not Python's are the transport's."""
    names = {thread.native_id: thread.name.partition(" (")[0] for thread in threading.enumerate()}
    used: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            used[names.get(int(task.name), "transport")] += int((task / "schedstat").read_bytes().split()[0]) / 1e9
    return used


def main(url: str, parts: str, folder: str, kind: str) -> None:
    logging.disable()
    if parts == "counted":
        import own_work  # noqa: PLC0415  only where it is asked for, as in `record`

        own_work.watch()
    with ExitStack() as leave, tinker.ServiceClient(base_url=url, api_key="tml-made-up") as service:
        record(parts, folder, leave)
        if kind == "steps":
            client = service.create_lora_training_client(base_model="simulated/bytes-bigram", rank=8).result()
            loop = steps
        else:
            client = service.create_sampling_client(base_model="simulated/bytes-bigram").result()
            loop = samples if kind == "samples" else burst
        loop(client, WARM)
        if parts == "timed":
            sys.modules["hook_times"].take()
        for line in sys.stdin:
            if parts == "counted":
                sys.modules["own_work"].begin()
            threads, wall, processor = processor_s(), time.perf_counter(), time.process_time()
            loop(client, int(line))
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            threads = processor_s() - threads
            hooks = sys.modules["hook_times"].take() if parts == "timed" else {}
            counts = sys.modules["own_work"].take() if parts == "counted" else {}
            peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
            took = {
                "wall_s": wall,
                "processor_s": processor,
                "threads": threads,
                "hooks": hooks,
                "counts": counts,
                "peak": peak,
            }
            print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:5])
