"""One event sent to StatsD, with two tags, on the program's thread; beside the clients `datadog` and `statsd`.

A socket on loopback takes what comes and drops what it has no room for, as a daemon that is behind would. Ours sends
from its own thread. `datadog` has a system call for each value, or gathers packets, or adds up first, as it is told;
`statsd` has a system call for each value. What a value costs our thread that sends is shown apart.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

import statsd
from datadog.dogstatsd import DogStatsd

from compare import compare
from tinkertape.bus import Bus
from tinkertape.metrics import Metric, StatsDReporter, counter, distribution

EVENT = "tinker.http.request.stop"
METADATA = {"method": "POST", "path": "/api/v1/asample", "status": "success", "pool": "sample"}
TAGS = ["method", "path"]
OURS = "execute(event, {'duration': 47_123_456}, metadata)"
DATADOG_TAGS = "tags=['method:' + metadata['method'], 'path:' + metadata['path']]"
STATSD_NAME = "f\"{event}.{metadata['method']}.{metadata['path']}\""
UNIT = ("nanosecond", "millisecond")


def names_of(metric: Metric, port: int) -> tuple[dict[str, Any], StatsDReporter]:
    bus = Bus()
    reporter = StatsDReporter([metric], bus=bus, port=port, formatter="datadog")
    return {"execute": bus.execute, "event": EVENT, "metadata": METADATA}, reporter


def bench_event(metric: Metric, datadog_call: str, statsd_call: str, port: int) -> None:
    names, reporter = names_of(metric, port)
    ways: dict[str, dict[str, bool]] = {
        "single": {},
        "buffered": {"disable_buffering": False},
        "adding": {"disable_buffering": False, "disable_aggregation": False},
    }
    clients = {way: DogStatsd("127.0.0.1", port, disable_telemetry=True, **options) for way, options in ways.items()}
    calls = {f"datadog, {way}": f"{way}.{datadog_call}, {DATADOG_TAGS})" for way in ways}
    calls["statsd"] = f"statsd.{statsd_call}"
    names |= {**clients, "statsd": statsd.StatsClient("127.0.0.1", port)}
    compare(f"a {metric.kind}", OURS, calls, number=200, rounds=100, names=names, settle=lambda: reporter.flush(5))
    print(f"  {reporter.ledger()}")
    reporter.close()


def bench_thread(port: int) -> None:
    """How much processor time the thread that sends takes for a value, standing alone."""
    for formatter in ("standard", "datadog"):
        bus = Bus()
        metric = distribution(f"{EVENT}.duration", unit=UNIT, tags=TAGS)
        with StatsDReporter([metric], bus=bus, port=port, formatter=formatter, period_s=3_600) as reporter:  # type: ignore[arg-type]
            spent_s, values = 0.0, 0
            for _ in range(50):
                for _ in range(499):
                    bus.execute(EVENT, {"duration": 47_123_456}, METADATA)
                began_s = time.process_time()
                reporter.flush(5)
                spent_s += time.process_time() - began_s
                values += 499
            print(f"the thread, {formatter}: {spent_s / values * 1e9:.0f} ns a value, {values} values")


if __name__ == "__main__":
    print(f"CPython {sys.version.split()[0]}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        port = sink.getsockname()[1]
        bench_event(counter(f"{EVENT}.count", tags=TAGS), "increment(event", f"incr({STATSD_NAME})", port)
        duration = distribution(f"{EVENT}.duration", unit=UNIT, tags=TAGS)
        bench_event(duration, "distribution(event, 47_123_456 / 1e6", f"timing({STATSD_NAME}, 47_123_456 / 1e6)", port)
        bench_thread(port)
