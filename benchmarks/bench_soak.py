"""A day in ten minutes: 5 million events at 8 333 a second, recorded, rotated, compressed, and delivered to a collector
in a process of its own. The program's memory must stay flat within 10 MB, and every event must be stored, or counted:
what the exit left on the tape is counted there, and pushed.
The collector's is told by thirds of the time: what it keeps must not grow with what it received.

`--seconds S` says how long (60; 600 is the day), always at that rate. Before it, a burst: 100 000 events in a second at
most, with the default bound: nothing is lost, or exactly counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import tinkertape
from tinkertape.collector import serve
from tinkertape.delivery import push
from tinkertape.delivery.post import Collector
from tinkertape.delivery.segments import acknowledgement_of

RATE = 5_000_000 / 600  # events a second
BURST = 100_000
FLAT_MB = 10.0
WARM = 0.1  # of the time: until then buffers, caches and the allocator take what they need
TICKS = 50  # a second
SETTLES_S = 600


def resident_mb(pid: int) -> float:
    """What a process has in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def collector(folder: str, pipe: Any) -> None:
    """The serving process; it sees no tape of this machine's, only what is sent."""
    base = Path(folder)
    serve(f"chdb://{base / 'store'}", base / "inbox", base / "no-tapes", port=0, ready=pipe.send)


def burst(folder: Path) -> bool:
    """As many events as fit into a second, at once: how many were dropped, and is each of them counted?"""
    with tinkertape.start("burst", directory=folder, instrument=False) as telemetry:
        began_s = time.perf_counter()
        for number in range(BURST):
            telemetry.log("my.event", {"number": number, "loss": 1.25})
        took_s = time.perf_counter() - began_s
        telemetry.flush(60)
    tape = tinkertape.open_tape(telemetry.tape)
    there = sum(event.name == "my.event" for event in tape)
    ledger = tape.ledger()
    dropped = sum(ledger.dropped.values())
    print(f"burst: {BURST:,} events in {took_s:.2f} s, {there:,} on the tape, dropped {ledger.dropped or 'none'}")
    return ledger.balanced and there + dropped == BURST


def soak(folder: Path, url: str, collector_pid: int, seconds: float) -> bool:
    """Log at the rate for so long; the memory's least and most after the warm-up."""
    telemetry = tinkertape.start("soak", url=url, directory=folder, instrument=False, exit_timeout_s=60)
    sizes: list[float] = []
    theirs: list[float] = []
    pause = threading.Event()
    began_s = time.perf_counter()
    logged = ticks = 0
    while (now_s := time.perf_counter() - began_s) < seconds:
        while logged < now_s * RATE:
            telemetry.log("train.step", {"step": logged, "loss": 1.25, "model": "llama", "tokens": 4096})
            logged += 1
        if now_s > WARM * seconds and ticks % TICKS == 0:
            sizes.append(resident_mb(os.getpid()))
            theirs.append(resident_mb(collector_pid))
        ticks += 1
        pause.wait(1 / TICKS)
    telemetry.close()
    left, pushed_s = pushed(telemetry.tape, url)
    ledger, took_s = settled(url, telemetry.run)
    print(
        f"soak: {logged:,} events in {seconds:.0f} s; memory {min(sizes):.1f} to {max(sizes):.1f} MB, at the end "
        f"{sizes[-1] - sizes[0]:+.1f} MB (wanted: within {FLAT_MB:g})"
    )
    third = max(1, len(theirs) // 3)
    spans = [theirs[:third], theirs[third:-third] or theirs[:1], theirs[-third:]]
    said = ", ".join(f"{min(span):.0f} to {max(span):.0f}" for span in spans)
    print(f"soak: the collector's memory by thirds: {said} MB; {resident_mb(collector_pid):.0f} when all is stored")
    print(f"soak: {left:,} events were pending on the tape when the program ended, and were pushed in {pushed_s:.0f} s")
    print(f"soak: ledger {ledger}; the last was stored {took_s:.0f} s after that")
    recorded = tinkertape.open_tape(telemetry.tape).ledger().recorded
    rest = ledger["stored"] + ledger["pending"] + ledger["rejected"] + sum(ledger["dropped"].values())
    return recorded == ledger["recorded"] == rest and recorded >= logged and max(sizes) - min(sizes) <= FLAT_MB


def pushed(tape: Path, url: str) -> tuple[int, float]:
    """How many events the tape had that the collector had not acknowledged, and how long it took to send them."""
    collector = Collector(url)
    acknowledged = sum(
        acknowledgement_of(segment).by(collector.address).events for segment in tinkertape.open_tape(tape).segments
    )
    there = tinkertape.open_tape(tape).ledger().pending
    began_s = time.perf_counter()
    push([tape], collector)
    return there - acknowledged, time.perf_counter() - began_s


def settled(url: str, run: str) -> tuple[dict[str, Any], float]:
    """The run's ledger once nothing is pending, and how long that took."""
    began_s = time.perf_counter()
    while True:
        ledger: dict[str, Any] = json.load(urllib.request.urlopen(f"{url}/api/v1/ledger?run={run}"))
        took_s = time.perf_counter() - began_s
        if ledger["pending"] == 0 or took_s > SETTLES_S:
            return ledger, took_s
        threading.Event().wait(1.0)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60.0)
    seconds = arguments.parse_args().seconds
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="tinkertape-bench-") as folder:
        good = burst(Path(folder) / "burst")
        ours, theirs = context.Pipe()
        serving = context.Process(target=collector, args=(folder, theirs))
        serving.start()
        assert serving.pid is not None
        good = soak(Path(folder) / "soak", ours.recv(), serving.pid, seconds) and good
        serving.terminate()
        serving.join()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
