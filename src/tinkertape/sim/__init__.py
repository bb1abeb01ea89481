"""A simulated Tinker service: the real SDK trains and samples against it, on loopback, with no key, network or GPU.

It imports nothing else of ours: one misreading of the wire would otherwise pass every test. It is slow, pauses and
fails as a `Scenario` says, and writes the truth of what it did (`truth.py` says what each line means), so that a test
can compare.

    with tinkertape.sim.start(demo_scenario(seed=7), truth=path) as sim:
        ...  # TINKER_API_KEY=tml-anything TINKER_BASE_URL=sim.url python train.py

scenario.py, scenarios.py   what goes wrong, and when · the ones of the demo and the tests
model.py, sampling.py       a bigram model that learns (pure)
bodies.py, payloads.py      requests as the wire has them · results, as protobuf or JSON
network.py                  connections that break, outages
lines.py, service.py        promises and their order, pauses, compute by schedule · submits and polls
completions.py              polls for a whole sampling session
routes.py, …_routes.py      the HTTP interface; exchange.py: around every exchange; server.py: starting and stopping
"""

from __future__ import annotations

from tinkertape.sim.errors import SimError
from tinkertape.sim.scenario import (
    ConnectionFault,
    FutureFault,
    Outage,
    Pause,
    PollFault,
    Scenario,
    Slow,
    SubmitFault,
    load_scenario,
)
from tinkertape.sim.scenarios import SCENARIOS, choose_scenario, demo_scenario, healthy_scenario, user_error_scenario
from tinkertape.sim.server import Sim, serve, start
from tinkertape.sim.truth import read_truth

__all__ = [
    "SCENARIOS",
    "ConnectionFault",
    "FutureFault",
    "Outage",
    "Pause",
    "PollFault",
    "Scenario",
    "Sim",
    "SimError",
    "Slow",
    "SubmitFault",
    "choose_scenario",
    "demo_scenario",
    "healthy_scenario",
    "load_scenario",
    "read_truth",
    "serve",
    "start",
    "user_error_scenario",
]
