"""What recording takes from a program that trains and samples: the same loop, recorded and not, in turns.

Each program is a process of its own with the real SDK, against the simulated service in another; all live side by side
and take turns, so that a busy machine disturbs them alike. Wall times tell what a user would notice, and are noisy;
processor times tell what we do. Wanted: < 0.5 % of the wall at steps of 50 ms; <= 2 % of a client-bound loop's, which
is about 60 us of processor a request; < 2 % for 1 000 samples at once, and < 20 MB of memory.

`./tt bench overhead [--pairs PAIRS]` the three loops, everything on against off
`./tt bench overhead --split [TURNS]` samples one by one: of which part of us and in which thread it is
`./tt bench overhead --beside SOURCE [ROUNDS]` samples one by one: recorded by this tree, and by that (a copy of `src`)
`./tt bench overhead --hooks [TURNS]` samples one by one: what each hook takes, where it runs
`./tt bench overhead --executed [TURNS]` samples one by one: the processor's instructions, under valgrind (20 s each)
`./tt bench overhead --count [TURNS]` samples, and steps: what of ours runs, counted; a busy machine changes nothing
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

from executed import Executed, executed
from overhead_client import PARTS
from own_work import CLOCKS
from tinkertape import sim
from tinkertape.sim import Scenario

CLIENT = Path(__file__).with_name("overhead_client.py")
REQUESTS = {"samples": 2, "burst": 2, "steps": 4}  # a turn: each call is sent, and asked for
QUICK = Scenario(compute_s=dict.fromkeys(("CreateModel", "Sample"), 0.0))
STEPS = Scenario(compute_s={"CreateModel": 0.0, "ForwardBackward": 0.03, "OptimStep": 0.02})
SPLIT_TURNS = 25
Used = dict[str, float]  # microseconds a request: "wall", "processor", and by thread
COUNTED = ("MainThread", "Thread-1", "tinkertape-writer")
WAKES = ("sleep", "acquire")  # of C: what our threads wait in
SHOWN = int(os.environ.get("SHOWN", "8"))  # functions of each thread
THREADS = {"Thread-1": "the SDK's loop", "MainThread": "the caller", "transport": "the transport"}


class Program:
    """One of the programs, alive and waiting."""

    def __init__(self, process: subprocess.Popen[str], requests: int) -> None:
        self._process, self._requests = process, requests
        self.peak = 0
        self.hooks: dict[str, tuple[int, float]] = {}  # of the last turn: calls, and microseconds of one
        self.counts: dict[str, dict[str, dict[str, int]]] = {}  # of the last turn: by thread, kind and function

    def turn(self, turns: int) -> Used:
        """Have it do so many turns; microseconds a request."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(turns, file=self._process.stdin, flush=True)
        found = json.loads(self._process.stdout.readline())
        self.peak, self.hooks, self.counts = found["peak"], found["hooks"], found["counts"]
        scale = 1e6 / turns / self._requests
        threads = {name: used * scale for name, used in found["threads"].items()}
        return {"wall": found["wall_s"] * scale, "processor": found["processor_s"] * scale, **threads}


@contextmanager
def programs(
    scenario: Scenario, kind: str, parts: Sequence[str], sources: Mapping[str, str] = MappingProxyType({})
) -> Iterator[dict[str, Program]]:
    """`sources`: of a part that is another tree's, the tree; such a part records all."""
    with ExitStack() as stack:
        service = stack.enter_context(sim.start(scenario))
        found = {}
        for name in parts:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            source = sources.get(name)
            command = [sys.executable, str(CLIENT), service.url, "tape" if source else name, folder, kind]
            variables = {**os.environ, "PYTHONPATH": source} if source else None
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables)
            stack.enter_context(process)
            found[name] = Program(process, REQUESTS[kind])
        yield found


def taken(
    scenario: Scenario,
    kind: str,
    parts: Sequence[str],
    turns: int,
    rounds: int,
    sources: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, list[dict[str, float]]]:
    """What each program used, round by round; the order changes."""
    used: dict[str, list[Used]] = {name: [] for name in parts}
    with programs(scenario, kind, parts, sources) as found:
        for number in range(rounds):
            for name in parts if number % 2 else reversed(parts):
                used[name].append(found[name].turn(turns))
        peaks = {name: program.peak for name, program in found.items()}
    print(f"{kind}: peak of memory " + ", ".join(f"{name} {peak / 1e6:.0f} MB" for name, peak in peaks.items()))
    return used


def pairs(scenario: Scenario, kind: str, turns: int, count: int) -> None:
    used = taken(scenario, kind, ("off", "tape"), turns, count)
    both = list(zip(used["tape"], used["off"], strict=True))
    walls = [on["wall"] / off["wall"] for on, off in both]
    processors = [on["processor"] - off["processor"] for on, off in both]
    rate = 1e6 / statistics.median(off["wall"] for off in used["off"])
    print(
        f"{kind:8} {turns} turns, {rate:.0f} requests/s: wall x {statistics.median(walls):.3f}"
        f" ({min(walls):.3f} to {max(walls):.3f}), processor {statistics.median(processors):+.0f} us a request"
        f" ({min(processors):+.0f} to {max(processors):+.0f}), {count} pairs"
    )


def beside(source: str, rounds: int) -> None:
    """Three times with new programs, as what is laid out where in memory makes 20 us of difference."""
    for _ in range(3):
        used = taken(QUICK, "samples", ("off", "that", "tape"), SPLIT_TURNS, rounds, {"that": source})
        calmest = {name: calm([turn["processor"] for turn in turns]) for name, turns in used.items()}
        least = {name: min(turn["processor"] for turn in turns) for name, turns in used.items()}
        for name in ("that", "tape"):
            print(
                f"  {name}: {calmest[name] - calmest['off']:+.0f} us of processor a request in calm rounds,"
                f" {least[name] - least['off']:+.0f} in the least"
            )


def split(rounds: int) -> None:
    used = taken(QUICK, "samples", PARTS, SPLIT_TURNS, rounds)
    before: dict[str, float] = {}
    for name in PARTS:
        threads = {key: calm([turn.get(key, 0.0) for turn in used[name]]) for key in used[name][0] if key != "wall"}
        total = threads.pop("processor")
        told = [
            f"{THREADS.get(key, key)} {now - before.get(key, 0.0):+.0f}"
            for key, now in sorted(threads.items(), key=lambda each: -each[1])
            if abs(now - before.get(key, 0.0)) >= 1
        ]
        print(f"{name:8} {total:6.0f} us a request; since the line before: " + ", ".join(told))
        before = threads


def hooks(turns: int) -> None:
    """Each hook in the midst of the SDK's own work: the median of its calls, times how many there are a request."""
    with programs(QUICK, "samples", ("timed",)) as found:
        found["timed"].turn(turns)
        timed = found["timed"].hooks
    requests = turns * REQUESTS["samples"]
    each = {name: (calls / requests, took) for name, (calls, took) in timed.items() if calls > requests / 20}
    for name, (calls, took) in sorted(each.items(), key=lambda one: -one[1][0] * one[1][1]):
        print(f"  {name:32} {calls:5.2f} a request x {took:5.1f} us = {calls * took:5.1f} us")
    print(f"hooks: {sum(calls * took for calls, took in each.values()):.0f} us a request")


def counts(scenario: Scenario, kind: str, turns: int) -> None:
    """What of ours ran in the program's threads and in the writer's, a turn; how often the others woke."""
    with programs(scenario, kind, ("counted",)) as found:
        used = found["counted"].turn(turns)
        counted = found["counted"].counts
    wall_s = used["wall"] * turns * REQUESTS[kind] / 1e6
    for thread, kinds in sorted(counted.items()):
        called = kinds.get("c", {})
        wakes = sum(called.get(name, 0) for name in WAKES)
        if thread not in COUNTED:
            print(f"{kind}, {thread}: {wakes / wall_s:.0f} wakes a second")
            continue
        clocks = sum(often for name, often in called.items() if name in CLOCKS)
        functions, bytecodes, c = (sum(kinds.get(each, {}).values()) / turns for each in ("python", "bytecodes", "c"))
        print(
            f"{kind}, {THREADS.get(thread, thread)}: {functions:.1f} Python functions, {bytecodes:.0f} bytecodes,"
            f" {c:.1f} C functions ({clocks / turns:.1f} clocks) a turn"
        )
        for name, often in sorted(kinds.get("bytecodes", {}).items(), key=lambda each: -each[1])[:SHOWN]:
            print(f"  {name:48} {kinds['python'].get(name, 0) / turns:6.2f} x, {often / turns:7.1f} bytecodes")


def instructions(turns: int) -> None:
    """Of the program, recorded and not: the same at any load, and what we make slower in others' code is in it."""
    before = (Executed(0, 0), Executed(0, 0))
    for part in ("off", "executed"):
        with sim.start(QUICK) as service, tempfile.TemporaryDirectory() as folder:
            found = executed([str(CLIENT), service.url, part, folder, "samples"], turns, Path(folder))
        requests = turns * REQUESTS["samples"]
        for name, now, then in zip(("the caller", "the SDK's loop"), found, before, strict=True):
            new = Executed(*((each - known) // requests for each, known in zip(now, then, strict=True)))
            print(f"{part:8} {name}: {new.instructions:+,} instructions a request, {new.cycles:+,} cycles as guessed")
        before = found


def calm(figures: list[float]) -> float:
    """Their second quarter's mean: the quiet rounds, without the luckiest."""
    figures = sorted(figures)
    return statistics.mean(figures[len(figures) // 4 : len(figures) // 2 + 1])


def main() -> None:
    option = sys.argv[1] if sys.argv[1:] else "--pairs"
    number = int(sys.argv[2]) if sys.argv[2:] and option != "--beside" else 0
    if option == "--beside":
        return beside(sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else 60)
    if option == "--split":
        return split(number or 100)
    if option == "--hooks":
        return hooks(number or 300)
    if option == "--executed":
        return instructions(number or 80)
    if option == "--count":
        counts(QUICK, "samples", number or 50)
        return counts(STEPS, "steps", number or 50)
    count = number or 30
    pairs(QUICK, "samples", 600, count)
    pairs(QUICK, "burst", 1_000, count)
    pairs(STEPS, "steps", 60, count)


if __name__ == "__main__":
    main()
