"""The example script, as a user would run it, against the simulated service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.sim.client import INSTANT, of_kind

from tinkertape.sim import FutureFault, Scenario

SCRIPT = Path(__file__).parents[2] / "examples" / "train.py"


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TINKER_API_KEY": "tml-anything", "TINKER_BASE_URL": url}
    command = [sys.executable, "-W", "error::FutureWarning", "-W", "error::DeprecationWarning", str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_it_trains_keeps_a_checkpoint_and_writes_samples_without_a_warning(sim_of):
    sim = sim_of(Scenario(compute_s=INSTANT))

    ran = run(sim.url)

    assert (ran.returncode, ran.stderr) == (0, "")
    losses = [float(loss) for loss in re.findall(r"^step \d+/30 loss (\d+\.\d\d)$", ran.stdout, re.MULTILINE)]
    assert len(losses) == 30 and losses[-1] < losses[0] - 0.5
    assert "checkpoint: tinker://" in ran.stdout and ran.stdout.count("sample: ") == 3
    assert of_kind(sim, "exchange", method="POST", status=200)[-1]["path"].endswith(("/finish", "/telemetry"))
    assert {line["status"] for line in of_kind(sim, "exchange")} == {200}


def test_it_submits_both_requests_of_a_step_before_it_waits(sim_of):
    sim = sim_of(Scenario(compute_s=INSTANT | {"ForwardBackward": 0.3}))

    run(sim.url, "--steps", "2")

    for accepted in of_kind(sim, "accepted", request_type="OptimStep"):
        [ready] = of_kind(sim, "ready", request_type="ForwardBackward", seq=accepted["seq"] - 1)
        assert accepted["at_ns"] < ready["at_ns"]


def test_a_failed_batch_is_told_and_left_behind(sim_of):
    fault = FutureFault(nth=2, category="user", message="datum 3 is too long")
    sim = sim_of(Scenario(compute_s=INSTANT, future_faults=(fault,)))

    ran = run(sim.url, "--steps", "4", "--batch-size", "2")

    assert ran.returncode == 0
    assert "step 2/4 failed" in ran.stdout and "datum 3 is too long" in ran.stdout
    assert ran.stdout.count(" loss ") == 3
