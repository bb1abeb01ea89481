"""Do StatsD's daemon and a reader of DogStatsD have, of so many events, what our own aggregates have?

    .venv/bin/python -m tests.metrics.reporters.agreement 1_000_000

Each event counts in a counter, a sum, a last value, a summary and a distribution, with two tags of 12 combinations.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.metrics.reporters.daemon import Daemon
from tests.metrics.reporters.receiver import Receiver, samples_of
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.metrics import Aggregate, StatsDReporter, counter, distribution, last_value, sum_, summary

TAGS = {"tags": ["method", "path"]}
METRICS = [
    counter("a.b.count", **TAGS),
    sum_("a.b.bytes", **TAGS),
    last_value("a.b.last", measurement="bytes", **TAGS),
    summary("a.b.duration", unit=("nanosecond", "millisecond"), **TAGS),
    distribution("a.b.took", measurement="duration", unit=("nanosecond", "millisecond"), **TAGS),
]
METHODS, PATHS = ("GET", "POST", "PUT"), ("models", "samples", "futures", "telemetry")
AT_ONCE = 1_000  # events between two looks at how far the daemon is: UDP tells nobody what it drops


def execute(bus: Bus, numbers: range) -> None:
    for number in numbers:
        metadata = {"method": METHODS[number % 3], "path": PATHS[number % 4]}
        bus.execute("a.b", {"bytes": number % 1_013, "duration": number * 1_009 % 10**9}, metadata)


def agree_with_the_daemon(events: int, folder: Path) -> int:
    """The standard dialect, over UDP, to npm's statsd; how many lines it read. Raises `AssertionError`."""
    bus = Bus()
    with (
        Daemon(folder) as daemon,
        Aggregate(METRICS, bus=bus) as ours,
        StatsDReporter(METRICS, bus=bus, port=daemon.port) as reporter,
    ):
        for first in range(0, events, AT_ONCE):
            execute(bus, range(first, min(first + AT_ONCE, events)))
            assert reporter.flush(10)
            wait_until(lambda: daemon.lines() >= reporter.ledger().sent, otherwise=reporter.ledger)
        lines, bad = daemon.lines(), daemon.bad_lines()
        theirs = daemon.stop()

        assert (lines, bad) == (reporter.ledger().sent, 0)
        assert reporter.ledger().dropped == {}
        compare(ours, theirs["counters"], theirs["gauges"], theirs["timers"], name_of=standard_name)
    return lines


def agree_with_a_reader_of_dogstatsd(events: int, folder: Path) -> int:
    """Datadog's dialect, to a Unix socket, to a strict reader; how many lines it read. Raises `AssertionError`."""
    bus, path = Bus(), folder / "dogstatsd.sock"
    found: dict[str, dict[Any, Any]] = {"c": Counter(), "g": {}, "h": {}, "d": {}}
    lines = 0
    with (
        Receiver(path=path) as receiver,
        Aggregate(METRICS, bus=bus) as ours,
        StatsDReporter(METRICS, bus=bus, socket_path=path, formatter="datadog", period_s=3_600) as reporter,
    ):
        for first in range(0, events, AT_ONCE):
            execute(bus, range(first, min(first + AT_ONCE, events)))
            while not reporter.flush(10) or reporter.ledger().pending:
                lines += read_into(found, receiver)
            lines += read_into(found, receiver)

        assert reporter.ledger().dropped == {}
        timers = {**found["h"], **found["d"]}
        compare(ours, found["c"], found["g"], timers, name_of=lambda name, tags: (name, tags), sum_is_counter=True)
    return lines


def read_into(found: dict[str, dict[Any, Any]], receiver: Receiver) -> int:
    samples = samples_of(receiver.read(), "datadog")
    for sample in samples:
        key = (sample.name, sample.tags)
        match sample.type:
            case "c":
                found["c"][key] += sum(sample.values)
            case "g":
                found["g"][key] = sample.values[-1]
            case _:
                found[sample.type].setdefault(key, []).extend(sample.values)
    return len(samples)


def standard_name(name: str, tags: Any) -> str:
    return ".".join([name, *(value for _, value in tags)])


def compare(
    ours: Aggregate,
    counters: Any,
    gauges: Any,
    timers: Any,
    *,
    name_of: Callable[[str, Any], Any],
    sum_is_counter: bool = False,
) -> None:
    """Every series of ours has the same count, sum, last value, least and greatest at the other end."""
    families = ours.collect()
    assert all(len(family.series) == 12 for family in families)
    for family in families:
        for series in family.series:
            key, value = name_of(family.metric.name, series.tags), series.value
            match family.metric.kind:
                case "counter":
                    assert counters[key] == value
                case "sum":
                    assert (counters if sum_is_counter else gauges)[key] == value
                case "last_value":
                    assert gauges[key] == value
                case _:
                    found, known = timers[key], series.value
                    assert (len(found), min(found), max(found)) == (known.count, known.min, known.max)
                    assert abs(sum(found) / known.sum - 1) < 1e-12


def main(events: int) -> None:
    for agree in (agree_with_the_daemon, agree_with_a_reader_of_dogstatsd):
        with tempfile.TemporaryDirectory() as folder:
            began_s = time.monotonic()
            lines = agree(events, Path(folder))
            print(f"{agree.__name__}: {events:,} events, {lines:,} lines, {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
