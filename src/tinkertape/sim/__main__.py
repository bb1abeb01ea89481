"""`python -m tinkertape.sim`: the simulated service as a program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tinkertape.sim.errors import SimError
from tinkertape.sim.scenarios import FAULTS, SCENARIOS, choose_scenario
from tinkertape.sim.server import serve


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tinkertape.sim", description="A simulated Tinker service, on loopback."
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any that is free")
    parser.add_argument("--seed", type=int, help="moves every fault and amount (default: 0, or the file's)")
    names = f"{', '.join(SCENARIOS)}; any of {', '.join(FAULTS)}, with commas between; or a TOML file"
    parser.add_argument("--scenario", default="demo", help=f"{names} (default: %(default)s)")
    parser.add_argument("--truth", type=Path, help="write what really happens to this file, as JSON lines")
    parser.add_argument("--state", type=Path, help="a folder to keep in, and read from, what clients make")
    given = parser.parse_args(arguments)
    try:
        scenario = choose_scenario(given.scenario, given.seed)
        serve(scenario, host=given.host, port=given.port, truth=given.truth, state=given.state)
    except SimError as error:
        sys.stderr.write(f"tinkertape: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
