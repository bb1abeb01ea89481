"""The scenarios and the faults that have a name. Every placement and amount moves with the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from tinkertape.sim.faults import (
    ConnectionFault,
    Expiry,
    FutureFault,
    How,
    Latency,
    LostSession,
    Outage,
    Part,
    Pause,
    RequestType,
    Slow,
    StatusRate,
    SubmitFault,
)
from tinkertape.sim.scenario import Scenario, load_scenario

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
    last = first + SLOW_STEPS - 1
    slow = Slow(first=first, last=last, factor=round(rng.uniform(2.5, 3.0), 2))
    free = [step for step in range(3, DEMO_STEPS) if not first - 1 <= step <= last + 1]
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
Faults = dict[str, tuple[Part, ...]]


def _far(rng: random.Random) -> Faults:
    return {"latency": (Latency(one_way_s=round(rng.uniform(0.04, 0.1), 3), distribution="uniform"),)}


def _slow(rng: random.Random) -> Faults:
    return {"slow": (Slow(first=_later(rng), factor=round(rng.uniform(2.5, 3.0), 2)),)}


def _capacity_pause(rng: random.Random) -> Faults:
    return {"pauses": (Pause(nth=_early(rng), length_s=2.0, text=rng.choice(PAUSE_TEXTS)),)}


def _rate_limit_pause(rng: random.Random) -> Faults:
    return {"pauses": (Pause(nth=_later(rng), length_s=2.0, reason="rate_limit", text="slow down"),)}


def _errors(_rng: random.Random) -> Faults:
    submits = StatusRate(status=503, share=0.1, retry_after_s=0.2)
    return {"status_rates": (submits, StatusRate(status=502, share=0.1, on="poll"))}


def _broken(how: How) -> Callable[[random.Random], Faults]:
    """Two submits and a poll within a few steps."""

    def of(rng: random.Random) -> Faults:
        first = _early(rng)
        submits = (ConnectionFault(nth=first, how=how, length_s=2.0), ConnectionFault(nth=first + 2, how=how))
        return {"connection_faults": (*submits, ConnectionFault(nth=first + 1, how=how, on="poll", length_s=2.0))}

    return of


def _failed_request(rng: random.Random) -> Faults:
    return {"future_faults": (FutureFault(nth=_early(rng)),)}


def _expired_promise(rng: random.Random) -> Faults:
    return {"expiries": (Expiry(nth=_early(rng)), Expiry(nth=1, request_type="Sample"))}


def _lost_session(rng: random.Random) -> Faults:
    return {"lost_sessions": (LostSession(nth=_later(rng)),)}


def _billing(rng: random.Random) -> Faults:
    return {"submit_faults": (SubmitFault(nth=_early(rng), status=402, message="this account owes money"),)}


def _outage(how: Literal["refused", "silent", "restarted"]) -> Callable[[random.Random], Faults]:
    return lambda rng: {"outages": (Outage(nth=_later(rng), length_s=2.0, after_s=0.02, how=how),)}


def _early(rng: random.Random) -> int:
    return rng.randint(3, 6)


def _later(rng: random.Random) -> int:
    return rng.randint(10, 14)


FAULTS: dict[str, Callable[[random.Random], Faults]] = {
    "far": _far,
    "slow": _slow,
    "capacity-pause": _capacity_pause,
    "rate-limit-pause": _rate_limit_pause,
    "errors": _errors,
    "resets": _broken("reset"),
    "half-answers": _broken("half"),
    "hanging": _broken("hang"),
    "garbled": _broken("garbled"),
    "failed-request": _failed_request,
    "expired-promise": _expired_promise,
    "lost-session": _lost_session,
    "billing": _billing,
    "outage": _outage("refused"),
    "silence": _outage("silent"),
    "restart": _outage("restarted"),
}


def choose_scenario(name: str, seed: int | None = None) -> Scenario:
    """A scenario by its name, or of the faults that are named, with commas between, or else read from the TOML file of
    that name; a seed that is given replaces the file's.

    Raises `SimError`, one line.
    """
    if name in SCENARIOS:
        return SCENARIOS[name](seed or 0)
    if all(fault in FAULTS for fault in name.split(",")):
        return _faulty(name, seed or 0)
    scenario = load_scenario(Path(name))
    return scenario if seed is None else msgspec.structs.replace(scenario, seed=seed)


def _faulty(names: str, seed: int) -> Scenario:
    """Healthy but for these faults."""
    faults: Faults = {}
    for name in names.split(","):
        for kind, more in FAULTS[name](random.Random(f"{name}/{seed}")).items():
            faults[kind] = faults.get(kind, ()) + more
    return msgspec.structs.replace(healthy_scenario(seed), name=names, **faults)
