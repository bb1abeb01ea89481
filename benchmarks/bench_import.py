"""`import tinkertape` beside a bare Python: how much longer does a program take to start that imports it?

Each round starts one interpreter of each kind, one after the other, in a folder without a `pyproject.toml`, and takes
its whole life: from the start of the process to its end. Wanted: 60 ms over bare Python at most, at the median. Said
for information: what it takes to have `tinkertape.start`, with everything that recording needs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

WANTED_MS = 60.0
ROUNDS = 15
PROGRAMS = {
    "bare Python": "pass",
    "import tinkertape": "import tinkertape",
    "tinkertape.start, not called": "import tinkertape; tinkertape.start",
}


def life_ms(program: str, folder: str) -> float:
    """How long a Python process lives that runs this program."""
    began = time.perf_counter_ns()
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    return (time.perf_counter_ns() - began) / 1e6


def bench() -> dict[str, list[float]]:
    """The lives of each kind, in turn."""
    lives: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        for program in PROGRAMS.values():
            life_ms(program, folder)  # writes its bytecode, and warms the disk
        for _ in range(ROUNDS):
            for name, program in PROGRAMS.items():
                lives[name].append(life_ms(program, folder))
    return lives


if __name__ == "__main__":
    print(f"CPython {sys.version.split()[0]}, {ROUNDS} processes each, in turn")
    lives = bench()
    bare = statistics.median(lives["bare Python"])
    for name, times in lives.items():
        middle = statistics.median(times)
        low, _, high = statistics.quantiles(times, n=4)
        over = "" if name == "bare Python" else f"   {middle - bare:+6.1f} ms over bare Python"
        print(f"  {name:<30} {middle:6.1f} ms  (middle half {low:.1f} to {high:.1f}){over}")
    found = statistics.median(lives["import tinkertape"]) - bare
    print(f"\nimport tinkertape: {found:.1f} ms over bare Python; wanted {WANTED_MS:.0f} ms at most")
    sys.exit(found > WANTED_MS)
