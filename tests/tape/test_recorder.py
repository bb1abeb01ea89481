"""What is recorded, when it is in the file, and what is counted when it cannot be."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.tape.disks import FaultyDisk
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.context import Event, SpanIds, current_scope, current_span, replaying, with_severity
from tinkertape.errors import TapeError
from tinkertape.tape import Recorder, encode_line, open_tape
from tinkertape.tape.ledger import Ledger
from tinkertape.tape.segment import Disk


def events_of(recorder: Recorder) -> list[Event]:
    assert recorder.flush(10)
    return list(open_tape(recorder.path))


def test_an_event_of_the_bus_is_on_the_tape_with_its_identity(recorder: Recorder) -> None:
    bus = Bus()
    recorder.attach(bus)

    bus.execute("a.stop", {"duration": 5}, {"operation": "x"})
    bus.execute("b.stop", {"duration": 6})

    first, second = events_of(recorder)
    assert (first.name, first.measurements, first.metadata) == ("a.stop", {"duration": 5}, {"operation": "x"})
    assert (first.run, first.process, first.index) == ("run-1", recorder.process, 0)
    assert (second.name, second.metadata, second.index) == ("b.stop", {}, 1)
    assert first.monotonic_ns <= second.monotonic_ns


def test_the_background_thread_writes_without_being_asked(recorder: Recorder) -> None:
    recorder.log("a")

    wait_until(lambda: recorder.path.exists() and recorder.path.read_bytes().count(b"\n") == 2)
    assert [event.name for event in open_tape(recorder.path)] == ["a"]


def test_the_background_thread_that_sleeps_is_woken_by_the_next_event(recorder: Recorder) -> None:
    recorder.log("a")
    wait_until(lambda: recorder.writer.asleep)

    recorder.log("b")

    wait_until(lambda: recorder.path.read_bytes().count(b"\n") == 3)
    assert [event.name for event in open_tape(recorder.path)] == ["a", "b"]


def test_data_that_changes_afterwards_is_recorded_as_it_was(recorder: Recorder) -> None:
    bus = Bus()
    recorder.attach(bus)
    inner: list[Any] = [1]
    data: dict[str, Any] = {"inner": inner, "n": 1}

    recorder.log("a", data)
    bus.execute("b", {}, data)
    inner.append(2)
    data["n"] = 2
    data["later"] = True

    assert [event.metadata for event in events_of(recorder)] == [{"inner": [1], "n": 1}] * 2


def test_every_line_is_json_and_a_log_keeps_its_data_apart(recorder: Recorder) -> None:
    recorder.log("my.log", {"x": 1})
    recorder.log("my.list", [1, 2])
    recorder.log("nothing")
    recorder.flush()

    lines = [json.loads(line) for line in recorder.path.read_text().splitlines()]
    assert lines[0]["tape"] == 1
    assert [line.get("event_data") for line in lines[1:]] == [{"x": 1}, [1, 2], None]
    assert "metadata" not in lines[1]
    assert lines[1]["event_id"].endswith("-0000-000000000000")


def test_scope_span_and_severity_are_those_of_the_caller(recorder: Recorder) -> None:
    bus = Bus()
    recorder.attach(bus)
    ids = SpanIds()
    scope, span = current_scope.set({"step": 3}), current_span.set(ids)
    bus.execute("a", {}, {})
    with with_severity("WARNING"):
        bus.execute("b", {}, {"x": 1})
    current_scope.reset(scope)
    current_span.reset(span)

    first, second = events_of(recorder)
    assert (dict(first.scope), first.severity) == ({"step": 3}, "INFO")
    assert (first.trace_id, first.span_id) == (ids.trace_id, ids.span_id)
    assert (second.severity, second.metadata) == ("WARNING", {"x": 1})


def test_the_wires_kinds_are_told_by_name(recorder: Recorder) -> None:
    for name in ("telemetry.session.start", "telemetry.session.stop", "telemetry.exception", "other"):
        recorder.log(name)

    kinds = [event.kind for event in events_of(recorder)]
    assert kinds == ["SESSION_START", "SESSION_END", "UNHANDLED_EXCEPTION", "GENERIC_EVENT"]


@pytest.mark.parametrize("name", ["tape.segment.stop", "delivery.batch.stop", "telemetry.handler.failure"])
def test_what_would_feed_itself_is_never_recorded(recorder: Recorder, name: str) -> None:
    recorder.record(name, {}, {}, None)

    assert recorder.ledger() == Ledger()


def test_what_a_replay_executes_is_not_recorded_again(recorder: Recorder) -> None:
    bus = Bus()
    recorder.attach(bus)
    event = Event(name="a", measurements={}, metadata={}, time_ns=0, monotonic_ns=0)

    with replaying(event):
        bus.execute("a", {}, {})

    assert recorder.ledger() == Ledger()


@pytest.mark.parametrize("event", ["a.exception", "tinker.request.exception"])
def test_an_error_is_in_the_file_before_the_call_returns(folder: Path, event: str) -> None:
    recorder = Recorder(folder, "run-1")
    recorder.writer._start_lock.acquire()  # no background thread will do it

    recorder.log("before")
    recorder.record(event, {}, {"reason": "x"}, None)

    assert [found.name for found in open_tape(recorder.path)] == ["before", event]
    recorder.log("log", severity="CRITICAL")
    assert recorder.path.read_bytes().count(b"\n") == 4
    assert recorder.late == 0


def test_an_error_waits_for_a_held_disk_a_bounded_time_and_is_counted_late(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    disk.held.clear()
    recorder.log("a")
    wait_until(lambda: recorder.writer._file_lock.locked())

    recorder.record("b.exception", {}, {}, None)

    assert recorder.late == 1
    disk.held.set()
    assert recorder.flush(10)
    assert recorder.close()
    assert len(list(open_tape(folder))) == 2


def test_memory_is_bounded_and_what_finds_no_room_is_counted(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", max_pending=10, disk=disk)
    recorder.log("first")
    assert recorder.flush(10)
    disk.held.clear()
    recorder.log("held")
    wait_until(lambda: not recorder.queue and recorder.writer.made == 1)

    for n in range(25):
        assert recorder.log("a", {"n": n})

    assert len(recorder.queue) == 10
    assert recorder.ledger() == Ledger(recorded=27, pending=12, dropped={"memory_full": 15})
    disk.held.set()
    assert recorder.flush(10)
    recorder.log("last")
    assert recorder.close()
    tape = open_tape(folder)
    assert [event.index for event in tape][-1] == 27
    assert tape.ledger() == Ledger(recorded=28, pending=13, dropped={"memory_full": 15})
    assert tape.ledger().balanced


def test_memory_is_bounded_in_the_bytes_of_large_events(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinkertape.tape.recorder.LARGE_MAX", 1_000_000)
    recorder = Recorder(folder, "run-1")
    recorder.writer._start_lock.acquire()

    for _ in range(200):
        recorder.log("a", {"text": "x" * 10_000})
    recorder.log("small")

    assert sum(map(len, recorder.queue)) <= 1_000_000
    assert recorder.flush(10)
    assert recorder.ledger() == Ledger(recorded=201, pending=100, dropped={"memory_full": 101})
    recorder.log("a", {"text": "x" * 10_000})
    assert recorder.close()
    assert open_tape(folder).ledger() == Ledger(recorded=202, pending=101, dropped={"memory_full": 101})


def test_an_event_that_is_too_large_is_cut(recorder: Recorder) -> None:
    recorder.log("a", {"text": "x" * 20_000_000, "n": 1})

    [event] = events_of(recorder)
    assert event.metadata["n"] == 1
    assert event.metadata["text"].endswith("(cut, 20000000 characters)")
    assert recorder.path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "hostile",
    [
        {"a": "\ud800"},
        {"a": {(1, 2): 3}},
        {"a": {None: 1, True: 2}},
        {"a": 2**200},
        {"a": object()},
        {"a": float("nan"), "b": [float("-inf")]},
        {"a": "\x00\x1b[31m\u2028\r\n\x7f"},
        {"a": b"\xff\xfe"},
        {"a": {1, "b"}},
        [1, [2]],
        "text",
        None,
        {"\ud800": 1},
    ],
)
def test_hostile_data_never_raises_and_is_one_good_line(recorder: Recorder, hostile: Any) -> None:
    recorder.log("a", hostile)
    recorder.record("b", {"x": hostile}, {"y": hostile}, None)

    assert len(events_of(recorder)) == 2
    for line in recorder.path.read_bytes().splitlines():
        json.loads(line)
    assert recorder.dropped() == {}


def test_a_cycle_and_a_pit_are_recorded_cut(recorder: Recorder) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    pit: Any = 0
    for _ in range(600):
        pit = [pit]

    recorder.log("cycle", {"a": cycle})
    recorder.log("pit", {"a": pit})

    cut, deep = events_of(recorder)
    assert cut.metadata == {"a": ["… (contains itself)"]}
    assert deep.name == "pit"


def test_no_secret_is_in_the_file(folder: Path) -> None:
    recorder = Recorder(
        folder,
        "run-1",
        header={"name": "tml-secret001", "metadata": {"api_key": "secret002"}, "tags": ["sk-secret0031234567890"]},
    )
    bus = Bus()
    recorder.attach(bus)
    try:
        raise ValueError("POST failed: Headers({'x-api-key': 'secret004', 'accept': '*/*'})")
    except ValueError as error:
        recorder.log("a", {"error": error, "headers": {"cf-access-client-secret": "secret005"}})
    trace = 'File "t.py", line 1\n    client = Client(api_key="secret006")\nError: Bearer secret007xyz'
    bus.execute("b.exception", {"tml-secret008": 1}, {"stacktrace": trace, "deep": [{"x": ("tml-secret009",)}]})
    recorder.log("tml-secret010", "postgres://u:secret011@h/d")
    scope = current_scope.set({"authorization": "secret012"})
    recorder.log("c", {"raw": b"tml-secret013", "nan": float("nan"), "token": "tml-secret014"})
    current_scope.reset(scope)
    recorder.close()

    content = recorder.path.read_bytes()
    assert content.count(b"\n") == 6
    assert b"secret0" not in content.replace(b"cf-access-client-secret", b"")
    assert content.count(b"[redacted]") >= 14


def test_indices_are_the_order_of_the_file_whatever_the_threads(recorder: Recorder) -> None:
    def work(name: int) -> None:
        for n in range(500):
            recorder.log("a", {"thread": name, "n": n})

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    events = events_of(recorder)
    assert [event.index for event in events] == list(range(2000))
    for name in range(4):
        assert [event.metadata["n"] for event in events if event.metadata["thread"] == name] == list(range(500))


def test_a_closed_recorder_accepts_nothing_and_its_tape_says_how_it_ended(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    recorder.log("a")

    assert recorder.close("interrupted")
    assert recorder.log("b") is False
    recorder.record("c", {}, {}, None)
    assert recorder.close()

    tape = open_tape(folder)
    end = tape.ends[recorder.process]
    assert (end.recorded, end.written, end.dropped, end.status) == (1, 1, {}, "interrupted")
    assert [event.name for event in tape] == ["a"]
    assert recorder.ledger() == tape.ledger() == Ledger(recorded=1, pending=1)


def test_a_recorder_that_recorded_nothing_leaves_nothing(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")

    assert recorder.flush()
    assert recorder.close()
    assert not folder.exists()


def test_what_cannot_be_written_at_exit_is_counted(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    disk.held.clear()
    recorder.log("a")
    wait_until(lambda: disk.writes == 0 and recorder.writer._file_lock.locked())
    recorder.log("b")

    assert recorder.close(timeout_s=0.05) is False

    assert recorder.ledger() == Ledger(recorded=2, pending=1, dropped={"exit": 1})
    disk.held.set()


def test_folders_and_files_are_private_and_an_id_is_never_a_path(recorder: Recorder, folder: Path) -> None:
    recorder.log("a")
    recorder.flush()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600
    for run in ("../x", "a/b", "", ".", "x" * 100):
        with pytest.raises(TapeError):
            Recorder(folder, run)


def test_the_header_says_who_records(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", header={"name": "lora", "sdk_version": "0.38.0", "session_id": None})
    recorder.log("a")
    recorder.close()

    [header] = open_tape(folder).headers
    assert (header.run, header.process, header.name, header.sdk_version) == (
        "run-1",
        recorder.process,
        "lora",
        "0.38.0",
    )
    assert (header.pid, header.segment, header.session_id) == (os.getpid(), 1, "")
    assert header.pid_started
    assert header.wall_ns > 0
    assert header.monotonic_ns > 0


def test_the_disk_is_synced_where_power_may_fail(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", durability="power", disk=disk)
    recorder.log("a")

    assert recorder.flush(10)
    assert disk.synced >= 1
    recorder.close()


def test_a_segment_that_is_closed_is_synced_where_power_may_fail(folder: Path) -> None:
    unsynced: set[int] = set()

    class Watched(Disk):
        def write(self, file: int, data: bytes) -> int:
            unsynced.add(file)
            return super().write(file, data)

        def sync(self, file: int) -> None:
            super().sync(file)
            unsynced.discard(file)

        def close(self, file: int) -> None:
            assert file not in unsynced
            super().close(file)

    recorder = Recorder(folder, "run-1", durability="power", segment_max=2_000, disk=Watched())
    for number in range(100):
        recorder.log("my.event", {"number": number})
        assert recorder.flush(10)
        assert not unsynced  # what `flush` says is in the file is on the disk
    recorder.close()

    assert len(open_tape(folder).segments) > 5
    assert [event.metadata["number"] for event in open_tape(folder)] == list(range(100))


def test_what_was_logged_is_known_as_such_and_its_line_comes_out_as_it_went_in(recorder: Recorder) -> None:
    recorder.log("my.log", {"a": 1})
    recorder.record("my.event", {}, {"a": 1}, None)
    recorder.flush()

    lines = [line for line in recorder.path.read_bytes().splitlines() if b'"my.' in line]
    events = events_of(recorder)
    assert [event.logged for event in events] == [True, False]
    assert [encode_line(event).rstrip() for event in events] == lines


def test_a_new_files_name_is_synced_where_power_may_fail(folder: Path) -> None:
    synced: list[set[Path]] = []

    class Watched(Disk):
        def sync_folder(self, folder: Path) -> None:
            super().sync_folder(folder)
            synced.append({folder, *folder.iterdir()})

    recorder = Recorder(folder, "run-1", durability="power", segment_max=2_000, disk=Watched())
    for number in range(20):
        recorder.log("my.event", {"number": number})
        assert recorder.flush(10)
        assert set().union(*synced) >= {folder.parent, folder, recorder.path}
    recorder.close()


def test_a_segment_that_cannot_be_synced_is_not_left_where_power_may_fail(folder: Path) -> None:
    class Unsynced(Disk):
        refuses = True
        synced: ClassVar[list[int]] = []

        def sync(self, file: int) -> None:
            if self.refuses:
                raise OSError(errno.EIO, "the disk breaks")
            self.synced.append(self.size(file))

    disk = Unsynced()
    recorder = Recorder(folder, "run-1", durability="power", segment_max=2_000, disk=disk)
    for number in range(30):
        recorder.log("my.event", {"number": number})
        assert not recorder.flush()
    [segment] = open_tape(folder).segments
    wait_until(lambda: len(list(open_tape(folder))) == 30)
    assert [segment] == open_tape(folder).segments
    size = segment.stat().st_size

    disk.refuses = False

    wait_until(recorder.flush)
    assert size > 2_000 and max(disk.synced) >= size
    recorder.close()
