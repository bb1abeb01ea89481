"""A program of several processes is counted as one: forked and spawned workers, ended ones, killed ones, bad files."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import wait_until

from tinkertape.bus import Bus, default_bus
from tinkertape.errors import MetricError
from tinkertape.metrics import (
    Metric,
    PrometheusReporter,
    counter,
    distribution,
    last_value,
    processes,
    sum_,
    summary,
)

METRICS: list[Metric] = [
    counter("a.b.count", tags=["who"]),
    sum_("a.b.size", measurement="x"),
    last_value("a.b.last", measurement="x"),
    distribution("a.b.spread", measurement="x", buckets=[1, 10]),
    summary("a.b.middle", measurement="x"),
]


def work(directory: Path, who: str, values: list[Any], ready: Any = None) -> None:
    """A worker: counts, and closes; or says that it is ready, and waits to be killed."""
    bus = Bus()
    reporter = PrometheusReporter(METRICS, bus=bus, directory=directory)
    for value in values:
        bus.execute("a.b", {"x": value}, {"who": who})
    if ready is not None:
        reporter.text()
        ready.set()
        signal.pause()
    reporter.close()


def lines(text: str) -> dict[str, float]:
    """The samples of a page."""
    found = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in found}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_workers_counted_is_added_up_to_what_the_parent_counted(tmp_path: Path, method: str) -> None:
    directory, context, bus = tmp_path / "metrics", multiprocessing.get_context(method), Bus()
    with PrometheusReporter(METRICS, bus=bus, directory=directory) as reporter:
        bus.execute("a.b", {"x": 100}, {"who": "parent"})
        workers = [context.Process(target=work, args=(directory, f"w{n}", [n, 0.5])) for n in (1, 2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        found = lines(reporter.text())

    assert {name: found[name] for name in found if name.startswith("a_b_count_total")} == {
        'a_b_count_total{who="parent"}': 1,
        'a_b_count_total{who="w1"}': 2,
        'a_b_count_total{who="w2"}': 2,
    }
    assert found["a_b_size_total"] == 104
    assert found['a_b_spread_bucket{le="1.0"}'] == 3 and found['a_b_spread_bucket{le="+Inf"}'] == 5
    assert found["a_b_middle_count"] == 5 and found['a_b_middle{quantile="0.5"}'] == pytest.approx(1, rel=0.02)
    assert found["a_b_last"] in (0.5, 1, 2)


def leave(directory: Path) -> None:
    """A worker that ends without closing anything."""
    PrometheusReporter([counter("a.b.count")], directory=directory)
    default_bus.execute("a.b", {})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_a_worker_counted_that_closed_nothing_is_not_missing(tmp_path: Path, method: str) -> None:
    worker = multiprocessing.get_context(method).Process(target=leave, args=(tmp_path,))
    worker.start()
    worker.join(60)

    with PrometheusReporter([counter("a.b.count")], bus=Bus(), directory=tmp_path) as reporter:
        assert lines(reporter.text()) == {"a_b_count_total": 1.0}


def test_what_a_program_counted_that_closed_nothing_is_not_missing(tmp_path: Path) -> None:
    program = f"from tests.metrics import test_processes; test_processes.leave(test_processes.Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", program], check=True)

    with PrometheusReporter([counter("a.b.count")], bus=Bus(), directory=tmp_path) as reporter:
        assert lines(reporter.text()) == {"a_b_count_total": 1.0}


def test_a_forked_child_of_a_reporter_reports_by_itself_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    bus = Bus()
    with PrometheusReporter([counter("a.b.count")], bus=bus, directory=tmp_path) as reporter:
        bus.execute("a.b", {})
        child = os.fork()
        if child == 0:
            bus.execute("a.b", {})
            reporter.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

        assert lines(reporter.text()) == {"a_b_count_total": 2}


def test_what_ended_processes_left_is_moved_into_one_file_and_counted_once_however_often_one_asks(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(3):
        worker = context.Process(target=work, args=(tmp_path, "w", [number]))
        worker.start()
        worker.join(60)
    with PrometheusReporter(METRICS, bus=Bus(), directory=tmp_path) as reporter:
        pages = [lines(reporter.text()) for _ in range(3)]

        assert [page['a_b_count_total{who="w"}'] for page in pages] == [3, 3, 3]
        assert len(list(tmp_path.glob("*-*.json"))) == 1


def test_what_a_killed_process_wrote_stays_counted(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=work, args=(tmp_path, "killed", [1, 2, 3], ready))
    worker.start()
    assert ready.wait(60) and worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(60)
    with PrometheusReporter(METRICS, bus=Bus(), directory=tmp_path) as reporter:
        assert lines(reporter.text())['a_b_count_total{who="killed"}'] == 3


def test_a_crash_between_taking_over_and_removing_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = multiprocessing.get_context("fork").Process(target=work, args=(tmp_path, "w", [1]))
    worker.start()
    worker.join(60)
    unlink: Callable[..., None] = Path.unlink

    def crash(path: Path, missing_ok: bool = False) -> None:
        if "-" in path.name:
            raise OSError("the process ended here")
        unlink(path, missing_ok)

    with PrometheusReporter(METRICS, bus=Bus(), directory=tmp_path) as reporter:
        monkeypatch.setattr(Path, "unlink", crash)
        first = lines(reporter.text())
        monkeypatch.undo()
        second = lines(reporter.text())

    assert first['a_b_count_total{who="w"}'] == second['a_b_count_total{who="w"}'] == 1


def test_what_another_process_moves_while_one_reads_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one has read the old `ended.json` and not yet the worker's file when another scraper moves it."""
    read, late = processes._read, []
    metrics = [counter("a.b.count", tags=["who"])]

    def read_slowly(path: Path) -> Any:
        if path.name == "1000000-1.json" and not late:
            late.append(path)
            other.collect()
        return read(path)

    with (
        PrometheusReporter(metrics, bus=Bus(), directory=tmp_path) as reporter,
        PrometheusReporter(metrics, bus=Bus(), directory=tmp_path) as second,
    ):
        shared, other = reporter._shared, second._shared
        assert shared is not None and other is not None
        (tmp_path / "1000000-1.json").write_bytes(left_by_worker(tmp_path / "elsewhere"))
        monkeypatch.setattr(shared, "_take_over", lambda: None)  # this one had looked just before the worker ended
        monkeypatch.setattr(processes, "_read", read_slowly)
        [family] = shared.collect()

    assert late and [(series.tags, series.value) for series in family.series] == [((("who", "w"),), 3)]


def left_by_worker(directory: Path) -> bytes:
    bus = Bus()
    with PrometheusReporter([counter("a.b.count", tags=["who"])], bus=bus, directory=directory):
        for _ in range(3):
            bus.execute("a.b", {}, {"who": "w"})
    [file] = directory.glob("*.json")
    return file.read_bytes()


def work_twice(directory: Path) -> None:
    """A worker with two reporters of different metrics, one of which both have."""
    bus, both, one, two = Bus(), counter("a.b.both"), counter("a.b.one"), counter("a.b.two")
    with (
        PrometheusReporter([one, both], bus=bus, directory=directory) as first,
        PrometheusReporter([both, two], bus=bus, directory=directory) as second,
    ):
        bus.execute("a.b", {})
        assert lines(first.text()) == {"a_b_one_total": 1, "a_b_both_total": 1}
        assert lines(second.text()) == {"a_b_both_total": 1, "a_b_two_total": 1}
        bus.execute("a.b", {})


def test_two_reporters_of_one_process_spoil_nothing_for_each_other(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=work_twice, args=(tmp_path,))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    metrics = [counter("a.b.one"), counter("a.b.both"), counter("a.b.two")]
    with PrometheusReporter(metrics, bus=Bus(), directory=tmp_path) as reporter:
        pages = [lines(reporter.text()) for _ in range(2)]

    assert pages == [{"a_b_one_total": 2, "a_b_both_total": 2, "a_b_two_total": 2}] * 2


def test_other_processes_are_brought_up_to_date_while_nobody_asks_them(tmp_path: Path) -> None:
    bus, other = Bus(), Bus()
    with (
        PrometheusReporter([counter("a.b.count")], bus=bus, directory=tmp_path),
        PrometheusReporter([counter("a.b.count")], bus=other, directory=tmp_path / "elsewhere"),
    ):
        bus.execute("a.b", {})
        own = next(tmp_path.glob("*-*.json"))

        assert wait_until(lambda: "a.b.count" in own.read_text(), within_s=10)


def test_a_file_is_written_where_something_changed_or_it_is_gone(tmp_path: Path) -> None:
    bus = Bus()
    with PrometheusReporter(METRICS, bus=bus, directory=tmp_path) as reporter:
        [own] = tmp_path.glob("*-*.json")
        found = []
        for change in (lambda: bus.execute("a.b", {"x": 1}, {"who": "w"}), lambda: None, own.unlink):
            change()
            reporter.text()
            found.append((own.stat().st_ino, own.read_bytes()))

    assert found[0] == found[1] and found[1][1] == found[2][1]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"metrics": {"a.b.count": [1]}}', b"\xff\xfe"])
def test_a_file_that_nobody_of_us_wrote_spoils_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1-2.json").write_bytes(content)
    (tmp_path / "notes.json").write_bytes(content)
    bus = Bus()
    with PrometheusReporter([counter("a.b.count")], bus=bus, directory=tmp_path) as reporter:
        bus.execute("a.b", {})

        assert lines(reporter.text()) == {"a_b_count_total": 1}


def test_a_metric_that_is_defined_otherwise_in_another_process_is_left_out_there(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=work, args=(tmp_path, "w", [5]))
    worker.start()
    worker.join(60)
    bus = Bus()
    with PrometheusReporter(
        [distribution("a.b.spread", measurement="x", buckets=[1]), counter("a.b.last")], bus=bus, directory=tmp_path
    ) as reporter:
        bus.execute("a.b", {"x": 1})

        assert lines(reporter.text())["a_b_spread_count"] == 1
        assert lines(reporter.text())["a_b_last_total"] == 1


def test_the_folder_is_the_owners_alone(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    with PrometheusReporter(METRICS, bus=Bus(), directory=directory) as reporter:
        reporter.text()

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bus = Bus()
    with pytest.raises(MetricError, match=r"cannot write to .*file"):
        PrometheusReporter(METRICS, bus=bus, directory=tmp_path / "file")

    assert bus.list_handlers() == []
