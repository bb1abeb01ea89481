"""The program that `bench_overhead` runs, recorded or not: prints its wall and processor seconds, as JSON.

Arguments: the service's address, "off" or a folder for the tape, the kind of loop, how many turns.
"""

from __future__ import annotations

import json
import logging
import sys
import time

import tinker
from tinker import types

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


def main(url: str, tape: str, kind: str, turns: int) -> None:
    logging.disable()
    telemetry = None
    if tape != "off":
        import tinkertape  # noqa: PLC0415 - a program that is not recorded does not import it

        telemetry = tinkertape.start("overhead", directory=tape)
    with tinker.ServiceClient(base_url=url, api_key="tml-made-up") as service:
        if kind == "steps":
            client = service.create_lora_training_client(base_model="simulated/bytes-bigram", rank=8).result()
            loop = steps
        else:
            client = service.create_sampling_client(base_model="simulated/bytes-bigram").result()
            loop = samples if kind == "samples" else burst
        loop(client, WARM)
        wall, processor = time.perf_counter(), time.process_time()
        loop(client, turns)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    if telemetry is not None:
        telemetry.close()
    print(json.dumps({"wall_s": wall, "processor_s": processor}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
