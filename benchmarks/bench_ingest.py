"""Ingest: how many events a second does the collector acknowledge, on its disk, and how does that compare with merely
decoding the same bytes by `json.loads` in one thread?

A collector in a process of its own, with its store and loader at work; a process that sends bodies of 100 events over
8 connections, on loopback and on the same cores; an event is counted when the answer to its body has come. Rounds
of sending and of decoding alternate. Wanted: 50 000 events a second. At the end everything that was acknowledged must
be in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tinkertape.collector import serve

WANTED = 50_000  # events a second
BATCH = 100
ROUNDS = 5
ROUND_S = 2.0
SENDERS = 1
CONNECTIONS = 8
KINDS = ("lifecycle", "generic")
RESERVED = 12  # digits of the number that makes each event one of its own


def body_of(kind: str, sender: int) -> bytes:
    """A body as an SDK sends it; `@` runs of digits are filled in for each sending."""
    events = [event_of(kind, sender, index) for index in range(BATCH)]
    body = {"events": events, "platform": "Linux", "sdk_version": "0.38.0", "session_id": f"session_{kind}_{sender}"}
    return json.dumps({**body, "process_uuid": "99554c8e-2f22-4b4d-b345-300632440c2f"}).encode()


def event_of(kind: str, sender: int, index: int) -> dict[str, Any]:
    event = {
        "event": "SESSION_START",
        "event_id": f"{'@' * RESERVED}-{sender:04d}-{index:04d}-a49a93a1b721",
        "event_session_index": index,
        "severity": "INFO",
        "timestamp": "2026-11-24T02:24:42.796715Z",
    }
    if kind == "lifecycle":
        return event
    data = {"func": "TrainingClient._run_fwd_bwd", "request_id": "118", "request_type": "ForwardBackward"}
    data |= {"status_code": 408, "detail": "Error code: 408", "kind": "retry_with_backoff", "should_retry": True}
    data |= {"is_user_error": False, "exception": "Connection error.", "iteration": 4, "elapsed_time": 0.004051208}
    return {
        **event,
        "event": "GENERIC_EVENT",
        "event_name": "APIFuture.result_async.api_status_error",
        "event_data": data,
    }


def collector(folder: str, pipe: Any) -> None:
    """The serving process."""
    base = Path(folder)
    serve(f"chdb://{base / 'store'}", base / "inbox", base / "tapes", port=0, ready=pipe.send)


def sender(url: str, kind: str, number: int, pipe: Any) -> None:
    """A sending process: a round for each number of seconds it is told, until that is 0."""
    counter = iter(range(10**RESERVED))
    while round_s := pipe.recv():
        pipe.send(asyncio.run(send_for(url, body_of(kind, number), counter, round_s)))


async def send_for(url: str, body: bytes, counter: Any, round_s: float) -> tuple[int, list[float]]:
    """Send over all connections for a while: the bodies acknowledged, and how long each waited."""
    host, port = url.removeprefix("http://").split(":")
    deadline = time.perf_counter() + round_s
    waits: list[float] = []

    async def one_connection() -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /api/v1/telemetry HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        sent = 0
        while (began := time.perf_counter()) < deadline:
            writer.write(head + body.replace(b"@" * RESERVED, b"%0*d" % (RESERVED, next(counter))))
            answer = await reader.readuntil(b'accepted"}')
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            waits.append(time.perf_counter() - began)
            sent += 1
        writer.close()
        return sent

    return sum(await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))), waits


def decode_rate(body: bytes, round_s: float) -> float:
    """Events a second that `json.loads` decodes, one thread, nothing else going on."""
    began, decoded = time.perf_counter(), 0
    while time.perf_counter() - began < round_s:
        for _ in range(20):
            json.loads(body)
        decoded += 20 * BATCH
    return decoded / (time.perf_counter() - began)


def measure(kind: str, url: str) -> tuple[float, int]:
    """Print one kind's line; the median rate and the events acknowledged come back."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for number in range(SENDERS):
        ours, theirs = context.Pipe()
        context.Process(target=sender, args=(url, kind, number, theirs), daemon=True).start()
        pipes.append(ours)
    body = body_of(kind, 0)
    rates: list[float] = []
    decoded: list[float] = []
    waits: list[float] = []
    acknowledged = 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for pipe in pipes:
            pipe.send(ROUND_S)
        answers = [pipe.recv() for pipe in pipes]
        bodies = sum(answer[0] for answer in answers)
        rates.append(bodies * BATCH / (time.perf_counter() - began))
        waits += [wait for answer in answers for wait in answer[1]]
        acknowledged += bodies * BATCH
        decoded.append(decode_rate(body, ROUND_S / 4))
    for pipe in pipes:
        pipe.send(0)
    ours, peer = statistics.median(rates), statistics.median(decoded)
    p99_ms = statistics.quantiles(waits, n=100)[98] * 1e3
    print(
        f"ingest, {kind:9} {len(body) / BATCH:4.0f} B an event: {ours:9,.0f} ev/s acknowledged on disk "
        f"(min {min(rates):,.0f}, max {max(rates):,.0f}; p99 of a body {p99_ms:.0f} ms) · "
        f"json.loads alone {peer:9,.0f} ev/s · "
        f"ratio {ours / peer:.2f} (min {min(rates) / max(decoded):.2f}, max {max(rates) / min(decoded):.2f})"
    )
    return ours, acknowledged


def main() -> int:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="tinkertape-bench-") as folder:
        ours, theirs = context.Pipe()
        serving = context.Process(target=collector, args=(folder, theirs))
        serving.start()
        url = ours.recv()
        measured = [measure(kind, url) for kind in KINDS]
        sent = sum(count for _, count in measured)
        began = time.perf_counter()
        while (ledger := json.load(urllib.request.urlopen(f"{url}/api/v1/ledger")))["pending"] > 0:
            time.sleep(0.5)
        took = time.perf_counter() - began
        print(f"ledger: {ledger} · {sent:,} events acknowledged; the last was stored {took:.0f} s after the end")
        serving.terminate()
        serving.join()
    is_whole = ledger["stored"] == ledger["recorded"] == sent
    return 0 if is_whole and all(rate >= WANTED for rate, _ in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
