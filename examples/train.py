"""Train a LoRA adapter on a short text, one byte a token, and let it write.

    export TINKER_API_KEY=tml-...
    python examples/train.py --steps 30

Bytes as tokens need no tokenizer and no download. A real base model takes them, too, but prefers its own.
"""

from __future__ import annotations

import argparse
import random

import tinker
from tinker import types

TEXT = """\
The night train leaves the harbour at ten. It carries letters, apples and a few people who like the dark better than
the day. The driver knows every bridge by the sound that it makes. Near the river he slows the train down, because the
track is old there, and the old track talks. A child at the third window counts the lights of the other shore. There
are nineteen of them, and one that moves. In the morning the train stands in the hills, and the apples smell of rain.
Somebody reads a letter twice and laughs. Then the doors are closed, the whistle is blown, and the train goes back to
the harbour, slower than it came, since nobody is waiting there before the evening.
"""
LENGTH = 64  # tokens in one example
PROMPT = "The train "


def batch_of(text: bytes, size: int, rng: random.Random) -> list[types.Datum]:
    """Some stretches of the text, each with the byte that follows as the target of every byte."""
    batch = []
    for _ in range(size):
        start = rng.randrange(len(text) - LENGTH - 1)
        tokens = list(text[start : start + LENGTH + 1])
        batch.append(
            types.Datum(
                model_input=types.ModelInput.from_ints(tokens[:-1]),
                loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * LENGTH},
            )
        )
    return batch


def train(client: tinker.TrainingClient, steps: int, batch_size: int, learning_rate: float) -> None:
    rng = random.Random(0)
    text = TEXT.encode()
    adam = types.AdamParams(learning_rate=learning_rate)
    for step in range(1, steps + 1):
        batch = batch_of(text, batch_size, rng)
        # Submit both before waiting for either: the service goes from one to the other without a round trip.
        forward_backward = client.forward_backward(batch, "cross_entropy")
        optim_step = client.optim_step(adam)
        try:
            loss = forward_backward.result().metrics["loss:sum"] / (batch_size * LENGTH)
            optim_step.result()
        except tinker.RequestFailedError as error:
            print(f"step {step}/{steps} failed, going on without its batch: {error}", flush=True)
            continue
        print(f"step {step}/{steps} loss {loss:.2f}", flush=True)


def write_samples(client: tinker.SamplingClient, count: int) -> None:
    prompt = types.ModelInput.from_ints(list(PROMPT.encode()))
    params = types.SamplingParams(max_tokens=60, temperature=0.7, seed=1)
    response = client.sample(prompt, num_samples=count, sampling_params=params).result()
    for sequence in response.sequences:
        written = bytes(token for token in sequence.tokens if token < 256).decode(errors="replace")
        print(f"sample: {PROMPT}{written!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--base-model", default="Qwen/Qwen3-8B")
    given = parser.parse_args()

    with tinker.ServiceClient() as service:
        client = service.create_lora_training_client(base_model=given.base_model, rank=32).result()
        train(client, given.steps, given.batch_size, given.learning_rate)
        checkpoint = client.save_state("after-training").result()
        print(f"checkpoint: {checkpoint.path}")
        write_samples(client.save_weights_and_get_sampling_client().result(), count=3)


if __name__ == "__main__":
    main()
