"""Ingest: how many events a second does the collector acknowledge, on its disk, and how does that compare with merely
decoding the same bytes by `json.loads` in one thread? And the loader alone, beside msgspec's typed decode.

A collector in a process of its own, with its store and loader at work; a process that sends bodies of 100 events over
32 connections, on loopback and on the same cores; an event is counted when the answer to its body has come. Rounds of
sending and of decoding alternate. Then the same at half that rate, for the time an answer takes. At the end everything
that was acknowledged must be in the ledger. `--quick` has fewer rounds. `--phoenix PYTHON` beside it: the same events
as OTLP spans to a server of Arize Phoenix, of that interpreter's packages; how many a second are acknowledged, and how
many stored until all are.

Wanted: half of what `json.loads` decodes (mixed; 0.45 lifecycle), p99 under 100 ms at half the rate, RSS under 400 MB;
the loader a quarter (at least a fifth) of the typed decode, and 100 000 events a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ingest_load import Template, give_way, send_for
from ingest_peer import Phoenix, PhoenixMissing, Sent, post_all, spans_of
from tinkertape.collector import serve
from tinkertape.collector.inbox import Inbox
from tinkertape.collector.intake import take_in
from tinkertape.collector.loader import Loader, collect_less
from tinkertape.store import Store
from tinkertape.tape.format import EventLine
from tinkertape.wire import TELEMETRY_PATH

QUICK = "--quick" in sys.argv
SDK_FILE = Path(__file__).parents[1] / "tests" / "data" / "telemetry" / "sdk-0.38.0.jsonl"
BATCH = 100
ROUNDS = 2 if QUICK else 5
ROUND_S = 1.5
CONNECTIONS = 32
WANTED = {"lifecycle": 0.45, "mixed": 0.50}  # of json.loads
P99_MAX_MS, RSS_MAX_MB = 100.0, 400.0
LOADED = 100_000 if QUICK else 300_000  # events, by the loader alone
LOADER_WANTED, LOADER_MUST, LOADER_RATE = 0.25, 0.20, 100_000.0
PEER_BODIES = 50 if QUICK else 200  # to the collector and to Phoenix
RESERVED = 12  # digits of the number that makes each event one of its own


def body_of(kind: str) -> bytes:
    """A body as an SDK sends it; `@` runs of digits are filled in for each sending."""
    events = [event_of(kind, index) for index in range(BATCH)]
    body = {"events": events, "platform": "Linux", "sdk_version": "0.38.0", "session_id": f"session_{kind}"}
    text = json.dumps({**body, "process_uuid": "99554c8e-2f22-4b4d-b345-300632440c2f"})
    return text.replace('"#', "").replace('#"', "").encode()


def event_of(kind: str, index: int) -> dict[str, Any]:
    """Lifecycle: begins and ends of sessions. Mixed: what the SDK 0.38 sent in the tests, failures with tracebacks."""
    about = {
        "event_id": f"{'@' * RESERVED}-{index:04d}-4cc1-b88d-a49a93a1b721",
        "event_session_index": f"#1{'@' * RESERVED}{index:02d}#",  # goes on from body to body, as an SDK's
        "timestamp": f"2026-11-24T02:24:42.{796_715 - 7 * index:06d}Z",
    }
    if kind == "mixed":
        sent = [event for line in SDK_FILE.read_bytes().splitlines() for event in json.loads(line)["events"]]
        return {**sent[index % len(sent)], **about}
    if index % 2:
        return {"duration": f"0:00:07.{708_481 + index:06d}", "event": "SESSION_END", "severity": "INFO", **about}
    return {"event": "SESSION_START", "severity": "INFO", **about}


def filled(body: bytes, number: int) -> bytes:
    return body.replace(b"@" * RESERVED, b"%0*d" % (RESERVED, number))


def collector(folder: str, pipe: Any) -> None:
    """The serving process."""
    base = Path(folder)
    serve(f"chdb://{base / 'store'}", base / "inbox", base / "tapes", port=0, ready=pipe.send)


def sender(url: str, kind: str, pipe: Any) -> None:
    """A sending process: a round for each (seconds, bodies a second or 0 for as many as it can), until it is None."""
    give_way()
    body, counter = Template(body_of(kind), b"@" * RESERVED), iter(range(10**RESERVED))
    while task := pipe.recv():
        pipe.send(send_for(url, TELEMETRY_PATH, body, counter, *task, CONNECTIONS))


def decode_rate(body: bytes, round_s: float) -> float:
    """Events a second that `json.loads` decodes, one thread, nothing else going on."""
    text = filled(body, 0)
    began, decoded = time.perf_counter(), 0
    while time.perf_counter() - began < round_s:
        for _ in range(10):
            json.loads(text)
        decoded += 10 * BATCH
    return decoded / (time.perf_counter() - began)


def measure(kind: str, url: str) -> tuple[float, float, int]:
    """Print one kind's line; the ratio to json.loads, the p99 in ms and the events acknowledged come back."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    context.Process(target=sender, args=(url, kind, theirs), daemon=True).start()
    body = body_of(kind)
    rates: list[float] = []
    ratios: list[float] = []
    acknowledged = 0

    def round_of(rate: float) -> tuple[float, list[float]]:
        began_s = time.perf_counter()
        pipe.send((ROUND_S, rate))
        waits = pipe.recv()
        return len(waits) * BATCH / (time.perf_counter() - began_s), waits

    for _ in range(ROUNDS + 1):  # the first warms both up
        decoded = decode_rate(body, ROUND_S / 4)
        rate, waits = round_of(0.0)
        acknowledged += len(waits) * BATCH
        rates.append(rate)
        ratios.append(2 * rate / (decoded + decode_rate(body, ROUND_S / 4)))
    rates, ratios = rates[1:], ratios[1:]
    rate = statistics.median(rates)
    halves = [round_of(rate / 2 / BATCH)[1] for _ in range(ROUNDS)]
    acknowledged += sum(map(len, halves)) * BATCH
    pipe.send(None)
    p99s_ms = sorted(statistics.quantiles(waits, n=100)[98] * 1e3 for waits in halves)
    ratio = statistics.median(ratios)
    print(
        f"ingest, {kind:9} {len(body) / BATCH:4.0f} B an event: {rate:9,.0f} ev/s acknowledged on disk "
        f"({min(rates):,.0f} to {max(rates):,.0f}) · of json.loads {ratio:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}; wanted {WANTED[kind]}) · "
        f"p99 at half that rate {statistics.median(p99s_ms):.0f} ms "
        f"({p99s_ms[0]:.0f} to {p99s_ms[-1]:.0f})"
    )
    return ratio, statistics.median(p99s_ms), acknowledged


def memory_mb(pid: int | None, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def backlog_bytes(url: str) -> float:
    """What is not loaded yet, by the collector's own metrics."""
    text = urllib.request.urlopen(f"{url}/metrics").read().decode()
    return float(next(line for line in text.splitlines() if "backlog_bytes " in line and line[0] != "#").split()[1])


@contextlib.contextmanager
def collecting() -> Iterator[tuple[str, int | None]]:
    """A collector in a process of its own: its address and process."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="tinkertape-bench-") as folder:
        ours, theirs = context.Pipe()
        serving = context.Process(target=collector, args=(folder, theirs))
        serving.start()
        yield ours.recv(), serving.pid
        serving.terminate()
        serving.join()


def ingest() -> bool:
    with collecting() as (url, pid):
        measured = {kind: measure(kind, url) for kind in WANTED}
        sent = sum(count for _, _, count in measured.values())
        began = time.perf_counter()
        while backlog_bytes(url) > 0:  # the ledger would read it all, again and again
            time.sleep(0.2)
        took = time.perf_counter() - began
        ledger = json.load(urllib.request.urlopen(f"{url}/api/v1/ledger"))
        rss_mb, top_mb = memory_mb(pid, "VmRSS"), memory_mb(pid, "VmHWM")
        print(f"ledger: {ledger} · {sent:,} events acknowledged; the last was stored {took:.0f} s after the end")
        print(f"RSS of the collector, its store open: {rss_mb:.0f} MB at the end, {top_mb:.0f} MB at most")
    is_whole = ledger["stored"] == ledger["recorded"] == sent
    reached = all(measured[kind][0] >= WANTED[kind] and measured[kind][1] < P99_MAX_MS for kind in WANTED)
    return is_whole and reached and top_mb < RSS_MAX_MB


def beside_phoenix(python: str) -> None:
    """The same events to both, one after the other, from the same generator."""
    bodies = [filled(body_of("mixed"), number) for number in range(PEER_BODIES)]
    spans = [spans_of(json.loads(body)["events"], number) for number, body in enumerate(bodies)]
    with Phoenix(python) as phoenix:
        send = post_all(phoenix.url, phoenix.path, phoenix.content_type, spans, CONNECTIONS)
        peer = told_peer(f"Phoenix {phoenix.version}", send, phoenix.stored, phoenix.pid)
    with collecting() as (url, pid):

        def stored() -> int:
            return PEER_BODIES * BATCH if backlog_bytes(url) == 0 else 0

        ours = told_peer(
            "tinkertape", post_all(url, TELEMETRY_PATH, "application/json", bodies, CONNECTIONS), stored, pid
        )
    print(f"beside Phoenix: {ours[0] / peer[0]:.0f} times as many acknowledged, {ours[1] / peer[1]:.0f} times stored")


def told_peer(
    name: str, send: Coroutine[Any, Any, Sent], stored: Callable[[], int], pid: int | None
) -> tuple[float, float]:
    """Send; print and return the rates of what is acknowledged, and of what is stored until it is all."""
    began_s = time.perf_counter()
    sent = asyncio.run(send)
    while stored() < PEER_BODIES * BATCH:
        time.sleep(0.05)
    acknowledged = PEER_BODIES * BATCH / sent.seconds
    rate = PEER_BODIES * BATCH / (time.perf_counter() - began_s)
    print(
        f"{name}: {PEER_BODIES * BATCH:,} of the SDK's events, {acknowledged:9,.0f} a second acknowledged "
        f"({sent.refused} bodies refused for a while), {rate:9,.0f} stored; "
        f"RSS {memory_mb(pid, 'VmHWM'):.0f} MB at most"
    )
    return acknowledged, rate


def typed_rate(bodies: list[bytes]) -> float:
    """Events a second that msgspec decodes into Structs with their data as dicts, a body at a time."""

    class Typed(msgspec.Struct):
        events: list[EventLine]

    decode = msgspec.json.Decoder(Typed).decode
    began_s = time.perf_counter()
    for body in bodies:
        decode(body)
    return len(bodies) * BATCH / (time.perf_counter() - began_s)


async def receive(folder: Path, bodies: list[bytes]) -> None:
    inbox = Inbox(folder)
    for body in bodies:
        await inbox.append(take_in(body).lines)
    inbox.close()


def load(kind: str) -> bool:
    """The loader alone, in this process: an inbox that is full, into a store that is empty."""
    collect_less()
    bodies = [filled(body_of(kind), number) for number in range(LOADED // BATCH)]
    with tempfile.TemporaryDirectory(prefix="tinkertape-bench-") as folder:
        base = Path(folder)
        asyncio.run(receive(base / "inbox", bodies))
        typed = typed_rate(bodies)
        with Store.open(f"chdb://{base / 'store'}") as store:
            loader = Loader(store, base / "inbox", None)
            began_s = time.perf_counter()
            loader.load_all(lambda done, whole: None)
            rate = loader.rows / (time.perf_counter() - began_s)
        typed = (typed + typed_rate(bodies)) / 2
    print(
        f"loader, {kind:9} {loader.rows:,} events into the store: {rate:9,.0f} ev/s (wanted {LOADER_RATE:,.0f}) · "
        f"of msgspec's typed decode {rate / typed:.2f} (wanted {LOADER_WANTED}, at least {LOADER_MUST})"
    )
    return loader.rows == LOADED and rate >= LOADER_RATE and rate / typed >= LOADER_MUST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--phoenix", metavar="PYTHON", help="an interpreter that has arize-phoenix: only beside it")
    python = parser.parse_args().phoenix
    if python:
        try:
            beside_phoenix(python)
        except PhoenixMissing as missing:
            parser.error(str(missing))
        return 0
    print("Arize Phoenix: not measured; --phoenix PYTHON names an interpreter that has it")
    reached = [ingest()]
    context = multiprocessing.get_context("spawn")  # one store a process
    for kind in WANTED:
        with context.Pool(1) as pool:
            reached.append(pool.apply(load, (kind,)))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
