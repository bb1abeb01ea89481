"""Short scenarios for whole runs: the demo's, cut to a few steps and moved by a seed, and one for each poll hold."""

from __future__ import annotations

import random

import msgspec

from tinkertape.sim import (
    FutureFault,
    Outage,
    Pause,
    Scenario,
    Slow,
    demo_scenario,
    healthy_scenario,
    user_error_scenario,
)
from tinkertape.sim.faults import RequestType

STEPS = 14
SLOW_STEPS = 4
COMPUTE_S: dict[RequestType, float] = {
    "CreateModel": 0.03,
    "ForwardBackward": 0.07,
    "OptimStep": 0.03,
    "SaveWeights": 0.03,
    "SaveWeightsForSampler": 0.03,
    "Sample": 0.05,
}
HELD_STEPS = 5
SEEDS = range(20)
HOLDS_S = (0.4, 2.0, 30.0)
PAUSE_MIN_S = 1.0  # what `capacity-pause` begins with
HEALTHY_SEED, USER_ERROR_SEED = 0, 1


def seed_name(seed: int) -> str:
    return f"seed-{seed}"


def held_name(hold_s: float) -> str:
    return f"hold-{hold_s:g}"


def scenario_of(seed: int) -> Scenario:
    """Seed 0 has no fault, seed 1 only a user's; every other one all of the demo's, some with a failed request or an
    outage more.
    """
    if seed == HEALTHY_SEED:
        return shortened(healthy_scenario(seed), seed)
    if seed == USER_ERROR_SEED:
        return shortened(user_error_scenario(seed), seed)
    return shortened(demo_scenario(seed), seed)


def shortened(scenario: Scenario, seed: int) -> Scenario:
    """The same faults in `STEPS` steps: a slow stretch after six usual ones at least, the others on steps apart from it
    and from each other.
    """
    rng = random.Random(f"short/{seed}")
    slow = tuple(_slow(each, rng) for each in scenario.slow)
    free = [step for step in range(2, STEPS + 1) if not any(s.first - 1 <= step <= s.last + 1 for s in slow)]
    rng.shuffle(free)
    pauses = tuple(
        msgspec.structs.replace(pause, nth=free.pop(), length_s=round(rng.uniform(1.1, 1.6), 2))
        for pause in scenario.pauses
    )
    if pauses:
        free = [step for step in free if abs(step - pauses[0].nth) > 1]
    refused = tuple(msgspec.structs.replace(fault, nth=free.pop()) for fault in scenario.submit_faults)
    failed = tuple(msgspec.structs.replace(fault, nth=free.pop()) for fault in scenario.future_faults)
    if scenario.name == "demo" and seed % 4 == 2 and free:
        failed = (FutureFault(nth=free.pop(), category="server" if seed % 8 == 2 else "user"),)
    outages: tuple[Outage, ...] = ()
    if scenario.name == "demo" and seed % 5 == 3 and free:
        length_s, after_s = round(rng.uniform(1.2, 2.5), 2), round(rng.uniform(0.0, 0.1), 3)
        if seed % 10 == 3:  # at once: the next request meets nobody
            after_s = 0.0
        outages = (Outage(nth=free.pop(), length_s=length_s, after_s=after_s),)
    return msgspec.structs.replace(
        scenario,
        name=seed_name(seed),
        compute_s=COMPUTE_S,
        poll_hold_s=rng.choice((0.3, 0.5, 2.0)),
        slow=slow,
        pauses=pauses,
        submit_faults=refused,
        future_faults=failed,
        outages=outages,
    )


def _slow(slow: Slow, rng: random.Random) -> Slow:
    first = rng.randint(7, STEPS - SLOW_STEPS - 1)
    return msgspec.structs.replace(slow, first=first, last=first + SLOW_STEPS - 1)


def held_scenario(hold_s: float) -> Scenario:
    """One pause, and polls that are held for so long."""
    return msgspec.structs.replace(
        healthy_scenario(7),
        name=held_name(hold_s),
        poll_hold_s=hold_s,
        compute_s={**COMPUTE_S, "ForwardBackward": 0.45},
        pauses=(Pause(nth=4, length_s=1.3),),
    )
