"""Disks that refuse, tear and come back: the program goes on, the file stays whole, the loss is counted."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.tape.disks import FaultyDisk
from tests.waiting import wait_until

from tinkertape.tape import Recorder, SegmentFile, open_tape
from tinkertape.tape.ledger import Ledger
from tinkertape.tape.writer import CHUNK, CHUNK_BYTES


def test_short_writes_are_gone_on_with_from_the_byte_where_they_ended(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", disk=FaultyDisk(short=7))
    for n in range(20):
        recorder.log("a", {"n": n})

    assert recorder.close(timeout_s=10)
    tape = open_tape(folder)
    assert [event.metadata["n"] for event in tape] == list(range(20))
    assert (tape.torn, tape.set_aside) == (0, 0)


def test_a_full_disk_loses_nothing_that_fits_into_memory(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a", {"n": 0})
    assert recorder.flush(10)
    disk.budget = 100  # the next write is torn
    for n in range(1, 50):
        assert recorder.log("a", {"n": n})
    assert recorder.flush(0.2) is False
    assert recorder.ledger() == Ledger(recorded=50, pending=50)

    disk.budget = None  # space returns

    wait_until(lambda: recorder.flush(1))
    assert recorder.close()
    tape = open_tape(folder)
    assert [event.metadata["n"] for event in tape] == list(range(50))
    assert (tape.torn, tape.set_aside) == (0, 0)
    assert tape.ledger() == Ledger(recorded=50, pending=50)


def test_of_large_events_few_are_taken_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a close that may wait two seconds finds none of them written."""
    recorder = Recorder(folder, "run-1")
    make, taken = recorder._lines.lines, []

    def lines(snapshots: list[bytes], index: int) -> list[bytes]:
        taken.append(sum(map(len, snapshots[:-1])))
        return make(snapshots, index)

    monkeypatch.setattr(recorder._lines, "lines", lines)
    with recorder.writer._file_lock:
        for _ in range(12):
            recorder.log("large", {"text": "x" * 100_000})

    assert recorder.close(timeout_s=60)
    assert max(taken) < CHUNK_BYTES
    assert [event.name for event in open_tape(folder)] == ["large"] * 12


def test_a_close_waits_for_no_longer_than_the_chunk_that_is_being_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(folder, "run-1")
    make, by, is_begun = recorder._lines.lines, [], threading.Event()

    def lines(snapshots: list[bytes], index: int) -> list[bytes]:
        by.append(threading.current_thread().name)
        is_begun.set()
        wait_until(lambda: recorder.writer._closing)
        return make(snapshots, index)

    monkeypatch.setattr(recorder._lines, "lines", lines)
    with recorder.writer._file_lock:
        for n in range(5 * CHUNK):
            recorder.log("a", {"n": n})
        flushing = threading.Thread(target=recorder.flush, args=(60,), name="flushing")
        flushing.start()
    assert is_begun.wait(60)

    assert recorder.close(timeout_s=60)
    flushing.join()
    assert len(by) == 5 and by[1:] == ["MainThread"] * 4
    assert [event.metadata["n"] for event in open_tape(folder)] == list(range(5 * CHUNK))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EIO, "disk_error"),
        (errno.EROFS, "read_only"),
        (errno.EACCES, "no_permission"),
        (errno.EBADF, "write_failed"),
    ],
)
def test_what_a_refusing_disk_costs_is_counted_by_its_reason(folder: Path, error: int, reason: str) -> None:
    disk = FaultyDisk(budget=0, error=error)
    recorder = Recorder(folder, "run-1", max_pending=10, disk=disk)
    recorder.log("a")
    wait_until(lambda: recorder.writer.trouble)

    for _ in range(30):
        recorder.log("a")
    assert recorder.record("a.exception", {}, {}, None) is None
    disk.budget = None
    wait_until(lambda: recorder.flush(1))
    recorder.log("again")

    assert recorder.close()
    ledger = open_tape(folder).ledger()
    assert ledger.recorded == 33
    assert set(ledger.dropped) == {reason}
    assert ledger.balanced
    assert ledger == recorder.ledger()


def test_a_disk_that_is_full_at_the_end_is_counted_too(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a")
    assert recorder.flush(10)
    disk.budget = 50
    recorder.log("b")
    recorder.log("c")

    assert recorder.close() is False

    assert recorder.ledger() == Ledger(recorded=3, pending=1, dropped={"disk_full": 2})


def test_a_disk_that_takes_nothing_at_all_leaves_nothing_pending(folder: Path) -> None:
    disk = FaultyDisk()
    disk.budget = 0
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a")

    assert recorder.close(timeout_s=0.1) is False

    assert recorder.ledger() == Ledger(recorded=1, dropped={"disk_full": 1})


@pytest.mark.parametrize("left", [0, 1, 50])
def test_a_full_disk_still_takes_the_end_line_that_says_what_it_cost(folder: Path, left: int) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a")
    assert recorder.flush(10)
    assert recorder.trouble is None
    disk.budget = left
    for _ in range(9):
        recorder.log("b")

    assert recorder.close() is False

    tape = open_tape(folder)
    assert tape.ends[recorder.process].dropped == {"disk_full": 9}
    assert tape.ledger() == recorder.ledger() == Ledger(recorded=10, pending=1, dropped={"disk_full": 9})
    assert recorder.trouble == "disk_full"
    assert disk.reserved == set()


def test_an_end_line_for_which_no_room_was_kept_is_tried_until_the_deadline(folder: Path) -> None:
    disk = FaultyDisk(budget=4000)  # too little to keep a block
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a")
    assert recorder.flush(10)
    disk.budget = 0
    space_returns = threading.Timer(0.2, lambda: setattr(disk, "budget", None))
    space_returns.start()

    assert recorder.close(timeout_s=30)
    assert open_tape(folder).ends[recorder.process].recorded == 1
    space_returns.join()


def test_what_the_recorder_knows_of_the_disk_outlives_a_close_without_an_end_line(folder: Path) -> None:
    disk = FaultyDisk(budget=4000)
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a")
    assert recorder.flush(10)
    disk.budget = 0
    recorder.log("b")

    assert recorder.close(timeout_s=0.1) is False

    assert open_tape(folder).ends == {}
    assert recorder.ledger() == Ledger(recorded=2, pending=1, dropped={"disk_full": 1})
    assert recorder.trouble == "disk_full"


FILLED = """
import sys
from pathlib import Path
from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.ledger import Ledger
folder = Path(sys.argv[1]) / "run-1"
recorder = Recorder(folder, "run-1", max_pending=500)
recorder.log("a")
assert recorder.flush(10)
try:
    (folder / "filler").write_bytes(b"x" * 10_000_000)
except OSError:
    pass
for n in range(2000):
    recorder.log("a", {"n": n, "text": "x" * 100})
assert recorder.close() is False
ledger = open_tape(folder).ledger()
assert ledger == recorder.ledger() and ledger.balanced and set(ledger.dropped) <= {"disk_full", "memory_full"}, ledger
assert ledger.recorded == 2001 and open_tape(folder).ends, ledger
assert sorted(file.name for file in folder.iterdir()) == sorted([recorder.path.name, "filler"])
"""


def test_a_real_disk_that_is_full_takes_the_end_line(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=256k none "$1" && exec "$2" -c "$3" "$1"'
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    try:
        probe = subprocess.run([*inside, 'mount -t tmpfs none "$1"', "sh", str(tmp_path)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if probe.returncode:
        pytest.skip("no file system may be mounted here")

    done = subprocess.run(
        [*inside, script, "sh", str(tmp_path), sys.executable, FILLED], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr


def test_a_line_that_was_given_up_does_not_damage_the_end_line(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a")
    assert recorder.flush(10)
    disk.budget = 50
    recorder.log("b")
    recorder.flush(0.1)
    recorder.log("c")
    real, disk.error = recorder._end, errno.ENOSPC

    def end_when_space_is_back(status: str) -> bytes:
        disk.budget = None
        return real(status)

    recorder._end = end_when_space_is_back  # type: ignore[method-assign]
    recorder.close()

    tape = open_tape(folder)
    assert [event.name for event in tape] == ["a"]
    assert tape.set_aside == 1
    assert tape.ledger() == Ledger(recorded=3, pending=1, dropped={"disk_full": 2})
    assert tape.ledger().balanced


def test_a_folder_without_rights_does_not_harm_the_program(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    recorder = Recorder(tmp_path / "file" / "run-1", "run-1")

    assert recorder.log("a")
    recorder.record("a.exception", {}, {}, None)

    assert recorder.close() is False
    assert recorder.ledger().recorded == 2
    assert recorder.ledger().balanced
    assert recorder.ledger().pending == 0


def test_a_segment_that_ends_in_a_torn_line_is_gone_on_with_on_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "inbox" / "a-00001.jsonl"
    first = SegmentFile(path)
    assert first.append(b'{"whole":1}\n{"torn') == 18
    first.close()

    second = SegmentFile(path)
    assert second.size == 18
    assert second.append(b'{"whole":2}\n') == 12
    assert second.sync()
    assert second.size == path.stat().st_size
    second.close()

    assert [line for line in path.read_bytes().split(b"\n") if line] == [b'{"whole":1}', b'{"torn', b'{"whole":2}']


def test_a_given_up_append_is_closed_before_the_next(tmp_path: Path) -> None:
    disk = FaultyDisk()
    segment = SegmentFile(tmp_path / "a.jsonl", disk=disk)
    disk.budget = 5

    assert segment.append(b'{"x":1}\n') == 5
    assert segment.trouble is not None
    assert segment.trouble.errno == errno.ENOSPC
    segment.abandon()
    assert segment.append(b'{"x":2}\n') == 0
    disk.budget = None
    assert segment.append(b'{"x":3}\n') == 8

    assert (tmp_path / "a.jsonl").read_bytes() == b'{"x":\n{"x":3}\n'


def test_a_program_that_closes_every_descriptor_gets_no_line_of_ours_into_its_own_file(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    recorder.log("a")
    assert recorder.flush(10)
    assert recorder.writer._segment is not None
    number = recorder.writer._segment._file
    os.close(number)  # as a daemon does
    with (folder / "theirs.txt").open("w") as theirs:
        assert theirs.fileno() == number
        recorder.log("b")
        assert recorder.close()
        theirs.write("still open")

    assert (folder / "theirs.txt").read_text() == "still open"
    assert [event.name for event in open_tape(folder)] == ["a", "b"]


def test_the_file_can_be_followed_while_it_is_written(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    seen = 0
    for turn in range(5):
        for n in range(100):
            recorder.log("a", {"turn": turn, "n": n})
        wait_until(
            lambda wanted=100 * (turn + 1): recorder.path.exists() and recorder.path.read_bytes().count(b"\n") > wanted
        )
        for line in recorder.path.read_bytes().splitlines()[seen:]:
            json.loads(line)
            seen += 1
    recorder.close()

    assert seen == 1 + 5 * 100, "a header and every event, each line whole when it was read"
