"""What recording takes from a program that trains and samples: the same loop, recorded and not, in turns.

Each turn is a process of its own with the real SDK, against the simulated service in another; either goes first. Wall
times tell what a user would notice, and are noisy on a busy machine; processor times tell what we do, and are not.
Wanted: < 0.5 % of the wall at steps of 50 ms; <= 2 % of a client-bound loop's, which is about 60 us of processor a
request; < 2 % for 1 000 samples at once.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tinkertape import sim
from tinkertape.sim import Scenario

CLIENT = Path(__file__).with_name("overhead_client.py")
REQUESTS = {"samples": 2, "burst": 2, "steps": 4}  # a turn: each call is sent, and asked for
QUICK = Scenario(compute_s=dict.fromkeys(("CreateModel", "Sample"), 0.0))
STEPS = Scenario(compute_s={"CreateModel": 0.0, "ForwardBackward": 0.03, "OptimStep": 0.02})


def once(url: str, kind: str, turns: int, *, recorded: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(CLIENT), url, folder if recorded else "off", kind, str(turns)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def pairs(scenario: Scenario, kind: str, turns: int, count: int) -> None:
    walls, processors, rates = [], [], []
    with sim.start(scenario) as service:
        for number in range(count):
            order = (True, False) if number % 2 else (False, True)
            found = {recorded: once(service.url, kind, turns, recorded=recorded) for recorded in order}
            walls.append(found[True]["wall_s"] / found[False]["wall_s"])
            requests = REQUESTS[kind] * turns
            processors.append((found[True]["processor_s"] - found[False]["processor_s"]) / requests * 1e6)
            rates.append(requests / found[False]["wall_s"])
    print(
        f"{kind:8} {turns} turns, {statistics.median(rates):.0f} requests/s: wall x {statistics.median(walls):.3f}"
        f" ({min(walls):.3f} to {max(walls):.3f}), processor {statistics.median(processors):+.0f} us a request"
        f" ({min(processors):+.0f} to {max(processors):+.0f}), {count} pairs"
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    pairs(QUICK, "samples", 600, count)
    pairs(QUICK, "burst", 1_000, count)
    pairs(STEPS, "steps", 60, count)


if __name__ == "__main__":
    main()
