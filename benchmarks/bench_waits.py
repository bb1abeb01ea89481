"""The sampler of waits (instrument.tinker.waits): how much of a processor does it take, and what does it slow down?

One call is in flight, made by hand, with no network: what is measured is the sampler alone, by the kernel's count for
its thread. The peer does the least that any sampler could: it sleeps for 5 ms and asks for the frames, again and again.
Each state is measured for a second right after it began, and for two seconds a while later, when the gaps have grown.
Linux only. Wanted: 0.5 % of a processor while the program waits for results, which is where a training loop is.
"""

from __future__ import annotations

import concurrent.futures
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tinkertape import bus
from tinkertape.events import operation_events
from tinkertape.instrument.tinker import flight, waits

WANTED = 0.005
Body = Callable[[float], object]


def used_ns(thread: threading.Thread) -> int:
    """The processor time of a thread so far."""
    return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])


def sampler() -> threading.Thread:
    return next(thread for thread in threading.enumerate() if thread.name == "tinkertape-waits")


def wait(seconds: float) -> None:
    """In `concurrent.futures.wait`."""
    done: concurrent.futures.Future[None] = concurrent.futures.Future()
    timer = threading.Timer(seconds, done.set_result, (None,))
    timer.start()
    concurrent.futures.wait([done])


def claim(seconds: float) -> None:
    """In `result()`: a claim tells of it."""
    waits.cover(threading.get_ident())
    time.sleep(seconds)
    waits.uncover(threading.get_ident())


def compute(seconds: float) -> int:
    """Pure Python all the while; how far it came."""
    end, turns = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        turns += 1
    return turns


def in_flight() -> flight.Operation:
    events = operation_events("training", "optim_step")
    made = flight.Operation("optim_step", events, time.perf_counter_ns(), threading.get_ident(), is_coroutine=False)
    waits.watch()
    return made


def share(thread: threading.Thread, body: Callable[[], object]) -> float:
    began, used = time.perf_counter_ns(), used_ns(thread)
    body()
    return (used_ns(thread) - used) / (time.perf_counter_ns() - began)


def shares(body: Body, others: int = 0) -> tuple[float, float]:
    """What the sampler takes in the first second of a state, and in seconds 4 and 5; `others` threads wait, too."""
    over = threading.Event()
    threads = [threading.Thread(target=lambda: (waits.watch(), over.wait()), daemon=True) for _ in range(others)]
    call = in_flight()
    for thread in threads:
        thread.start()
    found: list[float] = []

    def measure() -> None:
        found.append(share(sampler(), lambda: time.sleep(1)))
        time.sleep(2)
        found.append(share(sampler(), lambda: time.sleep(2)))

    measuring = threading.Thread(target=measure)
    measuring.start()
    body(5.2)
    measuring.join()
    call.close()
    over.set()
    return found[0], found[1]


def least_share() -> float:
    """What the least that a sampler could do takes."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            time.sleep(0.005)
            sys._current_frames()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    taken = share(thread, lambda: time.sleep(2))
    over.set()
    thread.join()
    return taken


def asleep_ns() -> int:
    """What it takes in a second with nothing in flight."""
    time.sleep(0.2)
    began = used_ns(sampler())
    time.sleep(1)
    return used_ns(sampler()) - began


def sampled_turns(seconds: float) -> int:
    """As `compute`, with a call in flight."""
    call = in_flight()
    turns = compute(seconds)
    call.close()
    time.sleep(0.05)
    return turns


def slowed(rounds: int = 24) -> list[float]:
    """How far pure Python comes in a quarter of a second while it is sampled, over how far without; either first."""
    ratios = []
    for number in range(rounds):
        if number % 2:
            sampled, alone = sampled_turns(0.25), compute(0.25)
        else:
            alone, sampled = compute(0.25), sampled_turns(0.25)
        ratios.append(sampled / alone)
    return ratios


if __name__ == "__main__":
    bus.attach("bench", "process.thread.wait", lambda *_: None)
    print(f"CPython {sys.version.split()[0]}; share of one processor")
    print(f"  {'a thread that sleeps 5 ms and asks for the frames':<52} {least_share():.2%}")
    claimed = shares(claim)
    rows: dict[str, tuple[float, float]] = {
        "main in a claim": claimed,
        "main in concurrent.futures.wait": shares(wait),
        "main runs pure Python": shares(compute),
        "main and 63 other threads wait": shares(wait, others=63),
    }
    for name, (first, later) in rows.items():
        print(f"  {name:<52} {first:.2%} in the first second, {later:.2%} later")
    print(f"  {'nothing in flight':<52} {asleep_ns()} ns in a second")
    ratios = slowed()
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"  pure Python, sampled over not: {statistics.median(ratios):.3f} (middle half {low:.3f} to {high:.3f})")
    waits.stop()
    sys.exit(claimed[1] > WANTED)
