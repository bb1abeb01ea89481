from __future__ import annotations

import contextlib
import gzip
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from backports import zstd
from tests.tape.disks import FaultyDisk

from tinkertape.errors import TapeError
from tinkertape.tape import Reader, Recorder, open_tape
from tinkertape.tape.codecs import GZIP, Codec
from tinkertape.tape.compression import compress
from tinkertape.tape.format import End
from tinkertape.tape.forms import compressed_path, open_stored, segment_files, stored_bytes
from tinkertape.tape.hold import holding
from tinkertape.tape.ledger import Ledger

SEGMENT = 20_000  # bytes


def record(folder: Path, events: int = 400, **settings: object) -> Recorder:
    """A recorder with several closed segments, which are compressed."""
    recorder = Recorder(folder, "run-1", segment_max=SEGMENT, **settings)  # type: ignore[arg-type]
    for number in range(events):
        recorder.record("my.event", {"number": number}, {"padding": "x" * 20}, None)
        if number % 50 == 49:
            recorder.flush()
    recorder.flush()
    assert recorder._upkeep.wait(30)
    return recorder


@pytest.fixture
def rotated(folder: Path) -> Iterator[Recorder]:
    recorder = record(folder)
    yield recorder
    recorder.close()


def numbers(folder: Path) -> list[int]:
    return [event.measurements["number"] for event in open_tape(folder)]


def test_a_full_segment_is_closed_and_the_next_goes_on(rotated: Recorder, folder: Path) -> None:
    rotated.close()

    tape = open_tape(folder)
    assert len(tape.segments) > 3
    assert [header.segment for header in tape.headers] == list(range(1, len(tape.segments) + 1))
    assert numbers(folder) == list(range(400))
    assert tape.ledger() == Ledger(recorded=400, pending=400) == rotated.ledger()
    assert all(stored_bytes(segment) < 2 * SEGMENT for segment in tape.segments)


def test_a_closed_segment_ends_with_a_line_without_status_and_the_run_goes_on(rotated: Recorder, folder: Path) -> None:
    [first, *_] = segment_files(folder)

    [*_, (last, _)] = Reader(first)

    assert isinstance(last, End)
    assert last.status == ""
    assert open_tape(folder).ends == {}
    rotated.close()
    assert [end.status for end in open_tape(folder).ends.values()] == ["success"]


def test_closed_segments_are_compressed_and_the_last_one_stays_plain(codec: Codec, folder: Path) -> None:
    with contextlib.closing(record(folder)) as rotated:
        *closed, last = segment_files(folder)

    assert [segment.exists() for segment in closed] == [False] * len(closed)
    assert {path.suffix for path in folder.glob("*.jsonl.*")} == {codec.suffix}
    assert all(compressed_path(segment).stat().st_size < SEGMENT / 3 for segment in closed)
    assert last == rotated.path and last.exists()


def test_an_offset_means_the_same_byte_before_and_after_compression(codec: Codec, folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    for number in range(100):
        recorder.log("my.event", {"number": number})
    recorder.close()
    places = list(Reader(recorder.path).records())
    middle = places[len(places) // 2]
    reader = Reader(recorder.path)
    followed = [next(iter(reader)) for _ in range(10)]

    assert compress(recorder.path)

    assert list(Reader(recorder.path).records()) == places
    assert next(Reader(recorder.path, middle.offset).records()).raw == middle.raw
    assert len(followed) + len(list(reader)) == len(places)
    assert list(reader) == []  # read to its end: nothing is decompressed again
    with (gzip if codec is GZIP else zstd).open(f"{recorder.path}{codec.suffix}") as file:
        file.seek(middle.offset)
        assert file.readline() == middle.raw + b"\n"


def test_a_segment_is_compressed_under_a_reader_that_is_in_the_middle_of_it(folder: Path) -> None:
    recorder = record(folder, 0)
    for number in range(100):
        recorder.record("my.event", {"number": number}, {}, None)
    recorder.close()
    reading = iter(open_tape(folder))
    first = next(reading)

    compress(recorder.path)

    assert [first.measurements["number"], *(event.measurements["number"] for event in reading)] == list(range(100))


def test_a_segment_that_somebody_holds_is_not_compressed(folder: Path) -> None:
    recorder = record(folder, 10)
    recorder.close()

    with holding(recorder.path):
        assert not compress(recorder.path)
    assert compress(recorder.path)
    assert not compress(recorder.path)


def test_a_disk_that_refuses_the_next_segment_loses_nothing(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", segment_max=SEGMENT, disk=disk)
    recorder.log("my.event", {"number": 0})
    recorder.flush()
    (folder / f"{recorder.process}-00002.jsonl").mkdir()
    for number in range(1, 400):
        recorder.log("my.event", {"number": number})
    recorder.flush()
    assert len(open_tape(folder).segments) == 1

    (folder / f"{recorder.process}-00002.jsonl").rmdir()
    recorder.log("my.event", {"number": 400})
    recorder.close()

    assert [event.metadata["number"] for event in open_tape(folder)] == list(range(401))
    assert open_tape(folder).ledger() == Ledger(recorded=401, pending=401)


def test_a_forked_child_rotates_its_own_segments(folder: Path) -> None:
    recorder = record(folder)
    pid = os.fork()
    if pid == 0:
        for number in range(400):
            recorder.record("my.event", {"number": number}, {"padding": "x" * 20}, None)
        recorder.close()
        os._exit(0)
    os.waitpid(pid, 0)
    recorder.close()

    tape = open_tape(folder)
    assert len(tape.processes()) == 2
    assert tape.ledger() == Ledger(recorded=800, pending=800)


@pytest.mark.parametrize("kept", [0, 1, 10, 200, -1], ids=lambda kept: f"{kept} bytes")
def test_a_damaged_compressed_segment_is_read_as_far_as_it_goes(codec: Codec, folder: Path, kept: int) -> None:
    record(folder).close()
    [first, *_] = segment_files(folder)
    whole = compressed_path(first).read_bytes()
    checksum = 8 if codec is GZIP else 4
    compressed_path(first).write_bytes(whole[:kept] if kept >= 0 else whole[:-checksum] + b"\0" * checksum)

    reader = Reader(first)
    lines = list(reader)
    ledger = open_tape(folder).ledger()

    assert reader.damage
    assert ledger.balanced
    assert ledger.dropped.get("damaged", 0) == 400 - len(numbers(folder))
    is_last_block_read = kept < 0 and codec is GZIP  # the other gives nothing of a block whose sum is wrong
    assert is_last_block_read == (len(lines) > 0 and "damaged" not in ledger.dropped)


KILLED = """
import sys, os
from pathlib import Path
from tinkertape.tape import Recorder
recorder = Recorder(Path(sys.argv[1]), "run-1", segment_max=200_000)
print("ready", flush=True)
number = 0
while True:
    for _ in range(100):
        recorder.record("my.event", {"number": number}, {"padding": os.urandom(200).hex()}, None)
        number += 1
    recorder.flush()
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", range(0, 100, 10))
def test_a_process_killed_while_it_rotates_and_compresses_leaves_a_whole_tape(folder: Path, lines: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        flushed = [int(process.stdout.readline()) for _ in range(lines + 1)][-1]
        process.send_signal(signal.SIGKILL)

    found = numbers(folder)
    assert len(found) >= flushed
    assert found == list(range(len(found)))
    assert open_tape(folder).ledger().balanced


@pytest.mark.parametrize("count", [60, 250], ids=lambda count: f"{count} segments")
def test_no_look_at_a_folder_misses_a_segment_that_is_compressed_meanwhile(tmp_path: Path, count: int) -> None:
    segments = [tmp_path / f"0123456789abcdef-{number:05}.jsonl" for number in range(1, count + 1)]
    for segment in segments:
        segment.write_bytes(b'{"tape":1}\n')
    compressing = threading.Thread(target=lambda: [compress(segment) for segment in segments])
    compressing.start()
    seen = set()
    while compressing.is_alive():
        seen.add(len(segment_files(tmp_path)))
    compressing.join()

    assert seen == {count}


@pytest.mark.parametrize("begin", [0, 1, 3, 10])
def test_a_segment_that_somebody_else_compressed_and_did_not_measure_is_measured(folder: Path, begin: int) -> None:
    record(folder).close()
    [first, *_] = segment_files(folder)
    plain = open_stored(first).read()
    stream = zstd.ZstdCompressor()
    compressed_path(first).write_bytes(stream.compress(plain[:begin]) + stream.compress(plain[begin:]) + stream.flush())

    assert stored_bytes(first) == len(plain)
    assert numbers(folder) == list(range(400))


def test_who_has_no_zstandard_is_told_how_to_get_it_and_the_rest_is_read(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    record(folder).close()
    other = Recorder(folder.parent / "run-2", "run-2")
    other.log("my.event", {})
    other.close()
    request.getfixturevalue("no_zstd")

    with pytest.raises(TapeError, match=r"pip install 'tinkertape\[zstd\]'"):
        list(open_tape(folder))
    with pytest.raises(OSError, match="zstd"):
        stored_bytes(segment_files(folder)[0])
    assert len(list(open_tape(folder.parent / "run-2"))) == 1
