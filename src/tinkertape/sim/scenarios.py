"""The scenarios that the demo and the tests use. Every placement and amount moves with the seed."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from tinkertape.sim.scenario import FutureFault, Pause, RequestType, Scenario, Slow, SubmitFault, load_scenario

DEMO_STEPS = 30
DEMO_COMPUTE_S: dict[RequestType, float] = {
    "CreateModel": 0.2,
    "ForwardBackward": 0.12,
    "OptimStep": 0.05,
    "SaveWeights": 0.12,
    "SaveWeightsForSampler": 0.12,
    "Sample": 0.08,
}
PAUSE_TEXTS = (
    "no machine is free for this model",
    "the cluster is at capacity",
    "waiting for an accelerator",
    "more runs than machines just now",
)
SLOW_STEPS = 6


def healthy_scenario(seed: int = 0) -> Scenario:
    """Nothing is wrong: the demo's compute times, and no fault."""
    return Scenario(name="healthy", seed=seed, compute_s=DEMO_COMPUTE_S, poll_hold_s=0.5)


def demo_scenario(seed: int = 0) -> Scenario:
    """30 steps with one slow stretch, one pause for capacity and one request refused with 503 before it is taken.

    The stretch begins after at least 8 ordinary steps, so that there is something to compare it with; the three never
    fall on the same step, nor on neighbours.
    """
    rng = random.Random(f"demo/{seed}")
    first = rng.randint(9, 15)
    slow = Slow(first=first, last=first + SLOW_STEPS - 1, factor=round(rng.uniform(2.5, 3.0), 2))
    free = [step for step in range(3, DEMO_STEPS) if not slow.first - 1 <= step <= slow.last + 1]
    paused = rng.choice(free)
    refused = rng.choice([step for step in free if abs(step - paused) > 1])
    return msgspec.structs.replace(
        healthy_scenario(seed),
        name="demo",
        slow=(slow,),
        pauses=(Pause(nth=paused, length_s=round(rng.uniform(2.0, 3.0), 2), text=rng.choice(PAUSE_TEXTS)),),
        submit_faults=(
            SubmitFault(
                nth=refused,
                status=503,
                times=rng.choice((1, 2, 2)),
                request_type=rng.choice(("ForwardBackward", "OptimStep")),
            ),
        ),
    )


def user_error_scenario(seed: int = 0) -> Scenario:
    """One forward_backward fails because of what it was given (category user); nothing else is wrong."""
    rng = random.Random(f"user-error/{seed}")
    tokens = rng.randint(33_000, 90_000)
    fault = FutureFault(
        nth=rng.randint(4, DEMO_STEPS - 3),
        category="user",
        message=f"datum {rng.randint(0, 7)} has {tokens} tokens, more than the 32768 that this model takes",
    )
    return msgspec.structs.replace(healthy_scenario(seed), name="user-error", future_faults=(fault,))


SCENARIOS = {"healthy": healthy_scenario, "demo": demo_scenario, "user-error": user_error_scenario}


def choose_scenario(name: str, seed: int | None = None) -> Scenario:
    """A scenario by its name, or else read from the TOML file of that name; a seed that is given replaces the file's.

    Raises `SimError`, one line.
    """
    if name in SCENARIOS:
        return SCENARIOS[name](seed or 0)
    scenario = load_scenario(Path(name))
    return scenario if seed is None else msgspec.structs.replace(scenario, seed=seed)
