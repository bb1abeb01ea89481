"""The tape's costs: what the program's thread pays an event, and what the writer's thread pays.

The program's thread is compared with the floor, appending the same tuple, unencoded, to a deque: wrong when the data
changes later, but nothing can be cheaper. Wanted: redaction of a typical event at most 4 us, the writer at least
120 000 events a second. Figures are medians of rounds; read them beside each other, on the machine that made them.
"""

from __future__ import annotations

import contextvars
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compare import compare
from tinkertape.redact import redact
from tinkertape.tape import Recorder, decode_line, open_tape
from tinkertape.tape.snapshot import LineMaker, encode_snapshot
from tinkertape.tape.writer import CHUNK

REDACT_WANTED_US = 4.0
EVENTS = 20_000
ROUNDS = 7


def typical(number: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The measurements, metadata and scope of one HTTP attempt, its request id its own."""
    measurements = {"duration": 123_456 + number, "monotonic_time": 99_999_999_999, "headers_duration": 1234}
    measurements |= {"request_bytes": 5555, "response_bytes": 444, "attempt": 0}
    metadata = {"operation_id": number, "operation": "forward_backward", "http_id": number, "submission_id": number}
    metadata |= {"request_id": f"7d9d53d9-0107-419c:train:{number}", "method": "POST", "pool": "train", "error": None}
    metadata |= {"path": "/api/v1/forward_backward", "url_path": "/api/v1/forward_backward", "status_code": 200}
    metadata |= {"transport": "AsyncHTTPTransport", "status": "success"}
    return measurements, metadata, {"step": number // 10}


def per_event_us(work: Callable[[Any], object], items: list[Any]) -> float:
    """The median over the rounds of one pass over the items, in microseconds of processor time an item."""
    took = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for item in items:
            work(item)
        took.append((time.thread_time() - began) / len(items) * 1e6)
    return statistics.median(took)


def program_thread(folder: Path) -> None:
    recorder = Recorder(folder, "bench", max_pending=10_000_000)
    floor: deque[Any] = deque(maxlen=1000)
    scope: contextvars.ContextVar[Any] = contextvars.ContextVar("scope", default=None)
    names = {"recorder": recorder, "floor": floor, "scope": scope, "time": time, "measured": typical(1)}
    compare(
        "log, a fresh dict of three values",
        "recorder.log('train', {'step': 3, 'loss': 1.25, 'model': 'llama'})",
        {
            "append, unencoded": "floor.append((time.time_ns(), time.perf_counter_ns(), 'train',"
            " {'step': 3, 'loss': 1.25, 'model': 'llama'}, 'INFO', scope.get()))"
        },
        names=names,
    )
    compare(
        "record, a typical event of the bus (20 values)",
        "recorder.record('tinker.http.request.stop', measured[0], measured[1], None)",
        {
            "copy both dicts and append": "floor.append((time.time_ns(), time.perf_counter_ns(), 'x',"
            " dict(measured[0]), dict(measured[1]), 'INFO', scope.get()))"
        },
        names=names,
    )
    recorder.close(timeout_s=60)


def writer_thread(folder: Path) -> bool:
    events = [typical(n) for n in range(EVENTS)]
    snapshots = [
        encode_snapshot((n, "tinker.http.request.stop", metadata, scope, None, "INFO", measurements))
        for n, (measurements, metadata, scope) in enumerate(events)
    ]
    maker = LineMaker("bench", "0123456789abcdef")
    redacting = per_event_us(redact, events)
    lines = maker.lines(snapshots, 0)
    chunks = [snapshots[begin : begin + CHUNK] for begin in range(0, EVENTS, CHUNK)]
    making = per_event_us(lambda chunk: maker.lines(chunk, 0), chunks) / CHUNK
    making_of_any = per_event_us(lambda snapshot: maker.line_of_any(snapshot, 0), snapshots)
    decoding = per_event_us(decode_line, lines)
    print(f"\nthe writer's thread, a typical event of {len(lines[0])} bytes")
    print(f"  {'redact it':34} {redacting:10.2f} us   (wanted: {REDACT_WANTED_US:g})")
    for what, took in (("make its line, of a known form", making), ("make its line, of any form", making_of_any)):
        print(f"  {what:34} {took:10.2f} us   {1e6 / took:10,.0f} events/s")
    print(f"  {'read a line back':34} {decoding:10.2f} us   {1e6 / decoding:10,.0f} events/s")
    return redacting <= REDACT_WANTED_US


def end_to_end(folder: Path) -> None:
    recorder = Recorder(folder, "bench", max_pending=10_000_000)
    for number in range(EVENTS):
        recorder.log("train", {"step": number, "loss": 1.25, "model": "llama"})
    began = time.perf_counter()
    left = len(recorder.queue)
    recorder.flush(60)
    drained = time.perf_counter() - began
    waits = []
    for number in range(500):
        began = time.perf_counter()
        recorder.log("failed", {"step": number}, "ERROR")
        waits.append((time.perf_counter() - began) * 1e6)
    recorder.close()
    waits.sort()
    began = time.perf_counter()
    read = sum(1 for _ in open_tape(folder))
    print("\non a real file")
    print(f"  {'flush a backlog':34} {left / drained:10,.0f} events/s")
    print(f"  {'an ERROR, in the file on return':34} {waits[250]:10.1f} us   p99 {waits[495]:.0f} us")
    print(f"  {'read the tape':34} {read / (time.perf_counter() - began):10,.0f} events/s")


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        program_thread(Path(directory) / "program")
        good = writer_thread(Path(directory) / "writer")
        end_to_end(Path(directory) / "end")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
