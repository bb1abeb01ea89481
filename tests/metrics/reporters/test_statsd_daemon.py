"""The daemons of others have what we have."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.metrics.reporters.agreement import agree_with_a_reader_of_dogstatsd, agree_with_the_daemon
from tests.metrics.reporters.daemon import Daemon, free_port
from tests.metrics.reporters.test_every_reporter import HOSTILE
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.metrics import StatsDReporter, counter, last_value, sum_, summary

EVENTS = 50_000  # a million: agreement.py


def test_npms_statsd_has_what_our_aggregates_have(tmp_path: Path) -> None:
    assert agree_with_the_daemon(EVENTS, tmp_path) > 2 * EVENTS


def test_a_reader_of_dogstatsd_has_what_our_aggregates_have(tmp_path: Path) -> None:
    assert agree_with_a_reader_of_dogstatsd(EVENTS, tmp_path) < EVENTS / 5  # of 2 × EVENTS values


def test_npms_statsd_reads_every_line_under_hostile_tags_and_numbers(tmp_path: Path) -> None:
    bus = Bus()
    metrics = [
        counter("a.b.count", tags=["x"]),
        sum_("a.b.total", measurement="size"),
        last_value("a.b.last", measurement="size"),
        summary("a.b.size", tags=["x"], reporter_options={"sampling_rate": 0.999_999_999_999}),
    ]
    with Daemon(tmp_path) as daemon, StatsDReporter(metrics, bus=bus, port=daemon.port) as reporter:
        for size in (-18, 1e-7, 3.5, -0.4):
            for text in HOSTILE:
                bus.execute("a.b", {"size": size}, {"x": text})
            assert reporter.flush(10)
        sent = reporter.ledger().sent + 2  # a negative last value is two lines
        wait_until(lambda: daemon.lines() >= sent)
        bad, found = daemon.bad_lines(), daemon.stop()

    assert bad == 0
    assert found["gauges"]["a.b.last"] == -0.4
    assert round(found["gauges"]["a.b.total"], 6) == round(len(HOSTILE) * (-18 + 1e-7 + 3.5 - 0.4), 6)
    own = {name: count for name, count in found["counters"].items() if not name.startswith("statsd.")}
    assert sum(own.values()) == 4 * len(HOSTILE)
    assert all(name.startswith("a.b.count.") and name.count(".") == 3 for name in own)


def test_a_daemon_that_is_started_late_misses_nothing(tmp_path: Path) -> None:
    bus, port = Bus(), free_port(socket.SOCK_DGRAM)
    with StatsDReporter([counter("a.b.count"), summary("a.b.size")], bus=bus, port=port) as reporter:
        for size in range(3):
            bus.execute("a.b", {"size": size})
            assert not reporter.flush(10)
        with Daemon(tmp_path, port=port) as daemon:
            assert reporter.flush(10)
            wait_until(lambda: daemon.lines() >= reporter.ledger().sent)
            found = daemon.stop()

    assert (found["counters"]["a.b.count"], found["timers"]["a.b.size"]) == (3, [0, 1, 2])
