"""A program that trains with `examples/train.py`, recorded and delivered, once for each line that it reads.

A line of stdin is one JSON object: {"name", "service", "collector", "directory", "steps"}. It answers one
line, {"run", "starved", "failed"}; `starved` is how long this process's threads waited for a processor, as
[perf_counter_ns, ns so far] about every 20 ms.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import runpy
import sys
import traceback
from typing import Any

import tinker
from tests.diagnosis.training import Starvation
from tests.faults.processes import EXAMPLE

import tinkertape


class Starved(Starvation):
    """Looks less often, and at the kernel's count alone: four processes are watched for as long as all runs take, and
    what keeps a program from running in itself is its own."""

    every_s = 0.02
    late_ns = math.inf


def run(order: dict[str, Any]) -> dict[str, Any]:
    os.environ.pop("TINKERTAPE_RUN", None)  # each order is a run of its own
    os.environ["TINKER_BASE_URL"] = order["service"]
    sys.argv = [EXAMPLE.name, "--steps", str(order["steps"]), "--batch-size", "4"]
    starvation = Starved()
    said, failed = io.StringIO(), ""
    telemetry = tinkertape.start(order["name"], url=order["collector"], directory=order["directory"])
    try:
        with contextlib.redirect_stdout(said), telemetry:
            runpy.run_path(str(EXAMPLE), run_name="__main__")
    except tinker.TinkerError:
        failed = said.getvalue() + traceback.format_exc()
    return {"run": telemetry.run, "starved": starvation.end(), "failed": failed}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
