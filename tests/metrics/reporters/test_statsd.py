"""What is StatsD's own: a thread that sends, a bounded buffer, sockets that break, processes that fork and end."""

from __future__ import annotations

import logging
import os
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metrics.hammer import hammer
from tests.metrics.reporters.receiver import Receiver, samples_of
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.metrics import StatsDReporter, counter, distribution, last_value, sum_, summary
from tinkertape.metrics.reporters.statsd import Ledger
from tinkertape.metrics.statsd import sender
from tinkertape.metrics.statsd.buffer import WAKE_AT

SILENT = 3_600.0  # seconds: only `flush` sends, and a buffer that fills
ROOT = Path(__file__).parents[3]


@pytest.fixture
def bus() -> Bus:
    return Bus()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tinkertape-statsd"]


def single_values(packets: list[bytes], formatter: str = "standard") -> list[float]:
    return [value for sample in samples_of(packets, formatter) for value in sample.values]


# --- when it sends ---


def test_there_is_no_thread_and_no_socket_before_the_first_event(bus: Bus) -> None:
    before = threads()
    with StatsDReporter([counter("a.b.count"), summary("a.b.size")], bus=bus, host="nobody.invalid") as reporter:
        assert reporter.flush()
        assert threads() == before
        bus.execute("a.b", {"size": 1})

        wait_until(lambda: len(threads()) == len(before) + 1)


def test_threads_whose_first_events_come_at_once_start_one_thread(bus: Bus) -> None:
    before = len(threads())
    with Receiver() as receiver:
        reporters = [
            StatsDReporter([counter("a.b.count")], bus=bus, port=receiver.port, period_s=SILENT) for _ in range(20)
        ]
        hammer(lambda number: bus.execute("a.b", {}), times=3)
        delivered = [reporter.flush(10) for reporter in reporters]

        assert all(delivered)
        assert len(threads()) - before == 20
        for reporter in reporters:
            reporter.close()


def test_it_sends_by_itself(bus: Bus) -> None:
    with (
        Receiver() as receiver,
        StatsDReporter([counter("a.b.count")], bus=bus, port=receiver.port, period_s=0.01),
    ):
        for _ in range(2):
            bus.execute("a.b", {})
            assert receiver.wait() == b"a.b.count:1|c"


def test_single_values_are_sent_before_they_are_many(bus: Bus) -> None:
    with (
        Receiver() as receiver,
        StatsDReporter([summary("a.b.size"), counter("a.b.count")], bus=bus, port=receiver.port, period_s=SILENT),
    ):
        for size in range(WAKE_AT + 1):
            bus.execute("a.b", {"size": size})
        found = receiver.wait()

    assert found.startswith(b"a.b.size:0|ms\na.b.size:1|ms\n")


def test_what_no_event_changed_is_not_sent_again_and_what_one_did_is(bus: Bus) -> None:
    metrics = [counter("a.b.count"), sum_("a.b.size"), last_value("a.b.last", measurement="size")]
    with Receiver() as receiver, StatsDReporter(metrics, bus=bus, port=receiver.port, period_s=SILENT) as reporter:
        found = []
        for sizes in ((5,), (), (5, 0), (0,)):
            for size in sizes:
                bus.execute("a.b", {"size": size})
            assert reporter.flush(10)
            found.append(b" ".join(receiver.read()).decode().split("\n"))

    assert found == [
        ["a.b.count:1|c", "a.b.size:+5|g", "a.b.last:5|g"],
        [""],
        ["a.b.count:2|c", "a.b.size:+5|g", "a.b.last:0|g"],
        ["a.b.count:1|c", "a.b.size:+0|g", "a.b.last:0|g"],
    ]


@pytest.mark.parametrize("formatter", ["standard", "datadog"])
def test_what_is_sent_of_a_sum_adds_up_to_the_sum_without_drift(bus: Bus, formatter: Any) -> None:
    metric = sum_("a.b.duration", unit=("nanosecond", "second"))
    values = [random.Random(1).randrange(10**9) for _ in range(300)]
    with (
        Receiver() as receiver,
        StatsDReporter([metric], bus=bus, port=receiver.port, period_s=SILENT, formatter=formatter) as reporter,
    ):
        for value in values:
            bus.execute("a.b", {"duration": value})
            assert reporter.flush(10)
        found = single_values(receiver.read(), formatter)

    assert len(found) == 300
    assert sum(found) == pytest.approx(sum(values) / 1e9, rel=1e-15)


def test_a_series_that_expired_and_comes_back_loses_and_doubles_nothing(bus: Bus) -> None:
    metrics = [counter("a.b.count", tags=["x"]), summary("a.b.size", tags=["x"])]
    with (
        Receiver() as receiver,
        StatsDReporter(
            metrics, bus=bus, port=receiver.port, period_s=SILENT, idle_s=1e-9, series_max=1, formatter="datadog"
        ) as reporter,
    ):
        for name in ("first", "second", "first"):
            bus.execute("a.b", {"size": 1}, {"x": name})
            for _ in range(3):
                assert reporter.flush(10)
        found = samples_of(receiver.read(), "datadog")

        assert [sample.tags for sample in found if sample.name == "a.b.count"] == [
            (("x", "first"),),
            (("x", "second"),),
            (("x", "first"),),
        ]
        assert sum(sum(sample.values) for sample in found) == 6
        assert reporter.overflowed() == {}


def test_further_series_are_one_and_counted(bus: Bus) -> None:
    metrics = [counter("a.b.count", tags=["x"]), summary("a.b.size", tags=["x"])]
    with (
        Receiver() as receiver,
        StatsDReporter(
            metrics, bus=bus, port=receiver.port, period_s=SILENT, series_max=2, formatter="datadog"
        ) as reporter,
    ):
        for number in range(5):
            bus.execute("a.b", {"size": number}, {"x": number})
        assert reporter.flush(10)
        found = samples_of(receiver.read(), "datadog")

        assert reporter.overflowed() == {"a.b.count": 3, "a.b.size": 3}
    overflow = {sample.name: sample.values for sample in found if sample.tags == (("otel.metric.overflow", "true"),)}
    assert overflow == {"a.b.count": (3.0,), "a.b.size": (2.0, 3.0, 4.0)}


def test_a_negative_timing_is_dropped_and_counted_where_the_daemon_would_refuse_it(bus: Bus) -> None:
    for formatter, sent, dropped in (("standard", 1, {"negative": 2}), ("datadog", 3, {})):
        with (
            Receiver() as receiver,
            StatsDReporter(
                [summary("a.b.size")],
                bus=bus,
                port=receiver.port,
                period_s=SILENT,
                formatter=formatter,  # type: ignore[arg-type]
            ) as reporter,
        ):
            for size in (-1, 2, -3):
                bus.execute("a.b", {"size": size})
            assert reporter.flush(10)

            assert reporter.ledger() == Ledger(sent, 0, dropped)


# --- nobody there, or not quick enough ---


def test_udp_that_is_refused_on_this_machine_is_kept_and_arrives_once(bus: Bus) -> None:
    with Receiver() as receiver:
        port = receiver.port
    metrics = [counter("a.b.count"), summary("a.b.size")]
    with StatsDReporter(metrics, bus=bus, port=port, period_s=SILENT) as reporter:
        for size in range(3):
            bus.execute("a.b", {"size": size})
            assert not reporter.flush(10)
        assert reporter.ledger() == Ledger(0, 4, {})
        with Receiver(port=port) as receiver:
            assert reporter.flush(10)
            found = samples_of(receiver.read(), "standard")

        assert reporter.ledger().dropped == {}
    assert sum(sample.values[0] for sample in found if sample.name == "a.b.count") == 3
    assert [sample.values[0] for sample in found if sample.name == "a.b.size"] == [0, 1, 2]


def test_values_that_find_no_room_are_counted_and_no_event_ever_waits(
    bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "statsd.sock"
    with StatsDReporter(
        [summary("a.b.size"), counter("a.b.count")], bus=bus, socket_path=path, period_s=SILENT, buffer_max=600
    ) as reporter:
        for size in range(1_000):
            bus.execute("a.b", {"size": size})
        assert reporter.ledger() == Ledger(0, 600, {"buffer_full": 400})
        with Receiver(path=path) as receiver:
            assert reporter.flush(10)
            found = samples_of(receiver.read(), "standard")

        assert reporter.ledger() == Ledger(601, 0, {"buffer_full": 400})
    assert [sample.values[0] for sample in found if sample.name == "a.b.size"] == list(range(600))
    assert [sample.values[0] for sample in found if sample.name == "a.b.count"] == [1_000]
    assert len([record for record in caplog.records if "wait already" in record.getMessage()]) == 1


def test_a_receiver_that_is_behind_holds_the_sender_up_and_loses_nothing(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "BUSY_MAX_S", 0.0)
    path = tmp_path / "statsd.sock"
    with (
        Receiver(path=path) as receiver,
        StatsDReporter([summary("a.b.size")], bus=bus, socket_path=path, period_s=SILENT, mtu=20) as reporter,
    ):
        for size in range(60):
            bus.execute("a.b", {"size": size})
        assert not reporter.flush(10)
        assert reporter.ledger().pending > 0
        found: list[bytes] = []
        while not reporter.flush(10):
            found += receiver.read()
        found += receiver.read()

        assert reporter.ledger() == Ledger(60, 0, {})
    assert single_values(found) == list(range(60))


def test_a_packet_that_the_system_does_not_take_is_dropped_and_counted(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "statsd.sock"
    with (
        Receiver(path=path) as receiver,
        StatsDReporter(
            [summary("a.b.size"), counter("a.b.count")], bus=bus, socket_path=path, period_s=SILENT, mtu=60_000
        ) as reporter,
    ):
        bus.execute("a.b", {"size": 1})
        assert reporter.flush(10)
        opened: Any = reporter._sender._transport._socket
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least there is; a datagram must fit
        for size in range(490):
            bus.execute("a.b", {"size": size})
        assert reporter.flush(10)
        bus.execute("a.b", {"size": 2})
        assert reporter.flush(10)

        assert len(receiver.read()) == 2
        assert reporter.ledger() == Ledger(4, 0, {"too_long": 491})


@given(st.lists(st.tuples(st.sampled_from("efcu"), st.integers(1, 40)), max_size=12))
def test_every_value_is_sent_or_waits_or_was_dropped_with_its_reason(steps: list[tuple[str, int]]) -> None:
    """e: events; f: flush; c, u: the receiver goes, and is there again."""
    bus, taken, arrived = Bus(), 0, 0
    receiver = Receiver()
    port = receiver.port
    reporter = StatsDReporter([summary("a.b.size")], bus=bus, port=port, period_s=SILENT, buffer_max=50, mtu=40)
    try:
        for step, amount in steps:
            if step == "e":
                taken += amount
                for size in range(amount):
                    bus.execute("a.b", {"size": size})
            elif step == "f":
                reporter.flush(10)
            elif step == "c" and receiver.socket.fileno() >= 0:
                arrived += len(single_values(receiver.read()))
                receiver.close()
            elif step == "u" and receiver.socket.fileno() < 0:
                receiver = Receiver(port=port)
            ledger = reporter.ledger()
            assert ledger.sent + ledger.pending + sum(ledger.dropped.values()) == taken
        if receiver.socket.fileno() < 0:
            receiver = Receiver(port=port)
        reporter.close()
        arrived += len(single_values(receiver.read()))
        assert reporter.ledger() == Ledger(arrived, 0, reporter.ledger().dropped)
        assert arrived + reporter.ledger().dropped.get("buffer_full", 0) == taken
    finally:
        reporter.close()
        receiver.close()


def test_what_is_left_at_the_end_is_counted(bus: Bus, tmp_path: Path) -> None:
    metrics = [summary("a.b.size"), counter("a.b.count")]
    reporter = StatsDReporter(metrics, bus=bus, socket_path=tmp_path / "nobody", period_s=SILENT)
    for size in range(10):
        bus.execute("a.b", {"size": size})

    assert reporter.close() is False
    assert reporter.ledger() == Ledger(0, 0, {"exit": 11})
    assert reporter.close() is True
    wait_until(lambda: not threads())


def test_a_look_up_that_hangs_holds_up_nobody(bus: Bus) -> None:
    answered = threading.Event()

    def look_up(destination: object) -> Any:
        answered.wait(60)
        raise OSError("no answer")

    metrics = [summary("a.b.size"), counter("a.b.count")]
    reporter = StatsDReporter(metrics, bus=bus, host="statsd.test", period_s=SILENT, buffer_max=5)
    reporter._sender._transport._look_up = look_up
    for size in range(7):
        bus.execute("a.b", {"size": size})

    assert reporter.flush(0.01) is False
    assert reporter.ledger() == Ledger(0, 5, {"buffer_full": 2})
    assert reporter.close(0.01) is False
    assert reporter.ledger() == Ledger(0, 0, {"buffer_full": 2, "exit": 6})
    answered.set()
    wait_until(lambda: not threads())


# --- the program ---


def test_the_programs_own_random_numbers_are_left_alone(bus: Bus) -> None:
    metric = distribution("a.b.size", reporter_options={"sampling_rate": 0.5})
    with Receiver() as receiver, StatsDReporter([metric], bus=bus, port=receiver.port):
        random.seed(7)
        expected = [random.random() for _ in range(3)]
        random.seed(7)
        found = []
        for _ in range(3):
            bus.execute("a.b", {"size": 1})
            found.append(random.random())

    assert found == expected


def test_threads_that_come_and_go_lose_no_value(bus: Bus) -> None:
    metrics = [counter("a.b.count", tags=["x"]), distribution("a.b.size", tags=["x"])]
    with (
        Receiver() as receiver,
        StatsDReporter(metrics, bus=bus, port=receiver.port, period_s=0.01, formatter="datadog") as reporter,
    ):

        def work(number: int) -> None:
            for size in range(200):
                bus.execute("a.b", {"size": size}, {"x": number})

        for _ in range(5):
            workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        assert reporter.flush(10)
        found = samples_of(receiver.read(), "datadog")

        assert reporter.ledger().dropped == {}
    assert sum(sum(sample.values) for sample in found if sample.type == "c") == 4_000
    assert sum(len(sample.values) for sample in found if sample.type == "d") == 4_000
    assert sum(sum(sample.values) for sample in found if sample.type == "d") == 20 * sum(range(200))


def run(script: str, port: int) -> subprocess.CompletedProcess[str]:
    """A program that has a reporter for each kind of metric, as `report(period_s)`, and `execute`."""
    head = f"""
import os, sys, threading
from tinkertape.bus import default_bus
from tinkertape.metrics import StatsDReporter, counter, summary
METRICS = [counter("a.b.count", tags=["who"]), summary("a.b.size", tags=["who"])]
def report(**options):
    return StatsDReporter(METRICS, port={port}, period_s=3_600, formatter="datadog", **options)
def execute(who, size=1):
    default_bus.execute("a.b", {{"size": size}}, {{"who": who}})
"""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", head + script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done


def by_series(receiver: Receiver) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for sample in samples_of(receiver.read(), "datadog"):
        found.setdefault((sample.type, sample.tags[0][1]), []).extend(sample.values)
    return found


def test_a_program_that_ends_sends_what_is_left(tmp_path: Path) -> None:
    with Receiver() as receiver:
        run("report()\nexecute('main', 5)\nexecute('main', 6)", receiver.port)

        assert by_series(receiver) == {("c", "main"): [2], ("h", "main"): [5, 6]}


def test_a_program_whose_first_event_comes_when_it_ends_sends_it() -> None:
    with Receiver() as receiver:
        run("import atexit\nreport()\natexit.register(execute, 'late')", receiver.port)

        assert by_series(receiver) == {("c", "late"): [1], ("h", "late"): [1]}


def test_a_program_ends_where_nobody_is_there() -> None:
    with Receiver() as receiver:
        port = receiver.port

    assert run("report()\nexecute('main')\nreport(host='nobody.invalid')\nexecute('main')", port).stdout == ""


def test_a_forked_child_has_its_own_counts_buffer_socket_and_thread() -> None:
    with Receiver() as receiver:
        run(
            """
reporter = report()
execute('parent', 1)
assert reporter.flush(10)
execute('parent', 2)  # not the child's
child = os.fork()
if child == 0:
    assert reporter.ledger().pending == 0
    assert threading.active_count() == 1
    execute('child', 3)
    assert reporter.flush(10)
    assert [thread.name for thread in threading.enumerate()][1:] == ["tinkertape-statsd"]
    assert reporter.ledger().sent == 2
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
execute('parent', 4)
""",
            receiver.port,
        )

        assert by_series(receiver) == {
            ("c", "parent"): [1, 2],
            ("h", "parent"): [1, 2, 4],
            ("c", "child"): [1],
            ("h", "child"): [3],
        }


def test_a_child_that_is_forked_while_everything_is_in_use_goes_on() -> None:
    with Receiver() as receiver:
        run(
            """
reporter = report()
stop = threading.Event()
def work():
    sent = 0
    while not stop.is_set():
        reporter.ledger()
        if sent < 100:  # as many datagrams as a socket that nobody reads from keeps
            sent += 1
            execute('parent')
            reporter.flush(1)
thread = threading.Thread(target=work, daemon=True)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        execute('child')
        os._exit(0 if reporter.flush(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join(10)
""",
            receiver.port,
        )

        found = by_series(receiver)
        assert found["c", "child"] == found["h", "child"] == [1] * 20
        assert sum(found["c", "parent"]) == len(found["h", "parent"])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_of_multiprocessing_sends_what_is_left(method: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        """
import multiprocessing, sys
from tinkertape.bus import default_bus
from tinkertape.metrics import StatsDReporter, counter
def report():
    metrics = [counter("a.b.count", tags=["who"])]
    return StatsDReporter(metrics, port=int(sys.argv[1]), period_s=3_600, formatter="datadog")
def work(is_forked):
    if not is_forked:
        globals()["mine"] = report()
    default_bus.execute("a.b", {}, {"who": "worker"})
if __name__ == "__main__":
    if sys.argv[2] == "fork":
        reporter = report()
        default_bus.execute("a.b", {}, {"who": "main"})
    worker = multiprocessing.get_context(sys.argv[2]).Process(target=work, args=(sys.argv[2] == "fork",))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
""",
        encoding="utf-8",
    )
    with Receiver() as receiver:
        subprocess.run([sys.executable, str(script), str(receiver.port), method], check=True, timeout=60)

        found = by_series(receiver)
        assert found.pop(("c", "worker")) == [1]
        assert found == ({("c", "main"): [1]} if method == "fork" else {})


def test_trouble_is_said_once(bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="tinkertape")
    with StatsDReporter([counter("a.b.count")], bus=bus, socket_path=tmp_path / "nobody", period_s=SILENT) as reporter:
        for _ in range(5):
            bus.execute("a.b", {})
            reporter.flush(10)
        [record] = caplog.records

    assert "cannot send to" in record.getMessage() and "No such file" in record.getMessage()
