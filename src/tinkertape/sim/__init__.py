"""A simulated Tinker service: the real SDK trains and samples against it, on loopback, with no key, network or GPU.

It imports nothing else of ours: one misreading of the wire would otherwise pass every test. It is slow, pauses and
fails as a `Scenario` says, and writes the truth of what it did (`truth.py` says what each line means), so that a test
can compare.

    with tinkertape.sim.start(demo_scenario(seed=7), truth=path) as sim:
        ...  # TINKER_API_KEY=tml-anything TINKER_BASE_URL=sim.url python train.py

faults.py, scenario.py      a kind of fault each · what goes wrong, and when
scenarios.py                those that have a name
model.py, sampling.py       a bigram model that learns (pure)
bodies.py, payloads.py      requests as the wire has them · results, as protobuf or JSON
network.py                  connections that break, outages
lines.py, service.py        promises and their order, pauses, compute by schedule · submits and polls
shelf.py, state.py          what clients have made · the same in a folder
completions.py              polls for a whole sampling session
routes.py, …_routes.py      the HTTP interface; exchange.py: around every exchange; server.py: starting and stopping
"""

from __future__ import annotations

from tinkertape.sim.errors import SimError
from tinkertape.sim.faults import (
    ConnectionFault,
    Expiry,
    FutureFault,
    Latency,
    LostSession,
    Outage,
    Pause,
    PollFault,
    Slow,
    StatusRate,
    SubmitFault,
)
from tinkertape.sim.scenario import Scenario, load_scenario
from tinkertape.sim.scenarios import (
    FAULTS,
    SCENARIOS,
    choose_scenario,
    demo_scenario,
    healthy_scenario,
    user_error_scenario,
)
from tinkertape.sim.server import Sim, serve, start
from tinkertape.sim.truth import read_truth

__all__ = [
    "FAULTS",
    "SCENARIOS",
    "ConnectionFault",
    "Expiry",
    "FutureFault",
    "Latency",
    "LostSession",
    "Outage",
    "Pause",
    "PollFault",
    "Scenario",
    "Sim",
    "SimError",
    "Slow",
    "StatusRate",
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
