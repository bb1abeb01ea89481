"""What it costs to watch the process: the poller's measurements, the stalls' monitor, its stacks; and what it finds.

Wanted: the monitor under 0.1 % of a processor always, under 0.25 % with stacks. A thread that does nothing but sleep
50 ms at a time is timed beside it: on a busy or virtual machine that alone costs most of it.
`--crash` adds what is the reason for our own timers: how many dumps of `faulthandler.dump_traceback_later` an ordinary
program survives, and how many of ours.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import tinkertape
from tinkertape.events import operation_events
from tinkertape.instrument import pauses
from tinkertape.instrument.stalls import monitor
from tinkertape.instrument.stalls.timers import cpu_clock
from tinkertape.instrument.tinker import loop
from tinkertape.instrument.tinker.flight import Operation

ROUNDS, SECONDS = 5, 3.0
THREADS = 10


def share_of(thread: threading.Thread) -> float:
    """Per cent of a processor that a thread uses."""
    assert thread.native_id is not None
    clock = cpu_clock(thread.native_id)
    began_ns = time.clock_gettime_ns(clock)
    time.sleep(SECONDS)
    return (time.clock_gettime_ns(clock) - began_ns) / SECONDS / 1e7


def sleeper() -> float:
    lock = threading.Lock()
    lock.acquire()
    over = threading.Event()

    def sleep() -> None:
        while not over.is_set():
            lock.acquire(timeout=0.05)

    thread = threading.Thread(target=sleep)
    thread.start()
    share = share_of(thread)
    over.set()
    thread.join()
    return share


def monitored(stacks: bool) -> float:
    watching = monitor.Monitor(stacks)
    watching.start()
    share = share_of(watching._thread)
    watching.stop()
    return share


def in_flight() -> float:
    operation = Operation("sample", operation_events("sampling", "sample"), 0, 0, is_coroutine=False)
    share = monitored(True)
    operation.close()
    return share


def shares(title: str) -> None:
    kinds: dict[str, Callable[[], float]] = {
        "a thread that only sleeps 50 ms": sleeper,
        "the monitor, durations alone": lambda: monitored(False),
        "the monitor with stacks": lambda: monitored(True),
        "the same, something in flight": in_flight,
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, measure in kinds.items():
            found[name].append(measure())
    print(f"\n{title}, {THREADS} threads, load {os.getloadavg()[0]:.1f}: % of a processor, median (least to greatest)")
    for name, values in found.items():
        print(f"  {name:34} {statistics.median(values):6.3f} ({min(values):.3f} to {max(values):.3f})")


def measurements() -> None:
    poller = tinkertape.Poller(["memory", "cpu", "counts", "gc", "run_queue"])
    tinkertape.attach_all("bench", lambda *_: None, prefix="process")
    print("\none measurement, us of processor time (each ten seconds)")
    for name in [polled.name for polled in poller.list()]:
        poller.collect(name)
        began_ns = time.thread_time_ns()
        for _ in range(50):
            poller.collect(name)
        print(f"  {name:34} {(time.thread_time_ns() - began_ns) / 50 / 1e3:6.0f}")
    tinkertape.detach("bench")


def collections() -> None:
    def allocate() -> float:
        began_ns = time.thread_time_ns()
        kept: list[list[int]] = []
        for number in range(300_000):
            kept.append([number])
            if len(kept) > 10_000:
                kept.clear()
        return (time.thread_time_ns() - began_ns) / 1e6

    plain, timed = [], []
    for _ in range(ROUNDS * 3):
        plain.append(allocate())
        pauses.watch()
        timed.append(allocate())
        pauses.unwatch()
    ratio = statistics.median(mine / theirs for mine, theirs in zip(timed, plain, strict=True))
    print(f"\ncode that only makes containers, with the pauses of gc timed: {(ratio - 1) * 100:+.1f} %")


def turns() -> None:
    async def spin() -> float:
        began_ns = time.thread_time_ns()
        for _ in range(20_000):
            await asyncio.sleep(0)
        return (time.thread_time_ns() - began_ns) / 20_000

    async def both() -> tuple[float, float]:
        running = asyncio.get_running_loop()
        plain, watched = [], []
        for _ in range(ROUNDS * 2):
            plain.append(await spin())
            loop.watch(running, threading.get_ident(), "user")
            await asyncio.sleep(0)
            watched.append(await spin())
            loop.unwatch()
            await asyncio.sleep(0)
        return statistics.median(plain), statistics.median(watched)

    plain, watched = asyncio.run(both())
    print(f"\none turn of an event loop: {plain:.0f} ns, watched {watched:.0f} ns, {watched - plain:+.0f} ns")


def finds() -> None:
    told: list[dict[str, Any]] = []
    tinkertape.attach(
        "bench", "process.stall", lambda _n, measured, metadata, _c: told.append({**measured, **metadata})
    )
    pattern, many = re.compile(r"(a+)+b"), [random.random() for _ in range(1_000_000)]

    def regex() -> int:
        return len(pattern.findall("a" * 23))

    def sort() -> int:
        return len(sorted(many))

    def power() -> int:
        return len([7**1_200_000])

    watching = monitor.Monitor(stacks=True)
    watching.start()
    print("\nten stalls each: found, its function in the stack, written during it; length told / real, median")
    for guilty in (regex, sort, power):
        found = named = during = 0
        ratios = []
        for _ in range(10):
            time.sleep(0.2)
            told.clear()
            began_ns = time.perf_counter_ns()
            guilty()
            took_ns = time.perf_counter_ns() - began_ns
            time.sleep(0.15)
            seen = [stall for stall in told if stall["thread_name"] == "MainThread"]
            found += bool(seen)
            named += any(f" in {guilty.__name__}" in line for stall in seen for line in stall["stack"])
            during += any(stall["stack_taken"] == "during" for stall in seen)
            ratios.append(sum(stall["duration"] for stall in seen) / took_ns)
        print(f"  {guilty.__name__:10} {found:3} {named:3} {during:3}   {statistics.median(ratios):.2f}")
    told.clear()
    time.sleep(5)
    idle = len(told)  # of any cause: on a full machine some have the GIL and no processor
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        sum(number * number for number in range(1000))
    print(f"  five seconds idle: {idle}; five seconds busy in Python: {len(told) - idle}")
    watching.stop()
    tinkertape.detach("bench")


ORDINARY = """
import asyncio, json, re, threading, time
def text():
    data = {"a": [{"b": n, "c": str(n)} for n in range(50)]}
    while True: re.sub("a", "b", json.dumps(json.loads(json.dumps(data, indent=1)), indent=1))
async def one():
    for _ in range(100): await asyncio.sleep(0)
async def many():
    while True: await asyncio.gather(*[one() for _ in range(50)])
for work in (text, lambda: asyncio.run(many())):
    threading.Thread(target=work, daemon=True).start()
"""
THEIRS = """
import faulthandler, sys
file = open("/dev/null", "wb")
for n in range(2000):
    print(n, flush=True)
    faulthandler.dump_traceback_later(0.0005, file=file)
    time.sleep(0.003)
"""
OURS = """
from tinkertape.instrument.stalls import timers
timers.BUDGET_NS = 2_000_000
made = timers.make_timers()
threads = [thread.native_id for thread in threading.enumerate()[1:]]
written = n = 0
while n < 2000:
    print(n, flush=True)
    made.put_off(threads, threads)
    time.sleep(0.006)
    n += max(1, len(made.take()))
"""


def crashes() -> None:
    print(
        "\nan ordinary program, dumped while it runs (not stalled), 2000 times at most: dumps survived, five programs"
    )
    for name, dumps in (("faulthandler's timer", THEIRS), ("ours", OURS)):
        survived = []
        for _ in range(5):
            done = subprocess.run([sys.executable, "-c", ORDINARY + dumps], capture_output=True, text=True, check=False)
            survived.append(f"{done.stdout.split()[-1]}{'' if done.returncode == 0 else ' †'}")
        print(f"  {name:34} {', '.join(survived)}")


def main() -> int:
    for _ in range(THREADS):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    gc.collect()
    shares("idle")
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(1000))

    busy = threading.Thread(target=spin)
    busy.start()
    shares("busy in Python")
    over.set()
    busy.join()
    measurements()
    collections()
    turns()
    finds()
    if "--crash" in sys.argv[1:]:
        crashes()
    return 0


if __name__ == "__main__":
    sys.exit(main())
