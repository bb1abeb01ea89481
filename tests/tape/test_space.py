"""A run's folder is kept within a size, and what goes for it is counted exactly."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.config import check_start
from tinkertape.errors import ConfigError
from tinkertape.tape import Reader, Recorder, open_tape, removal
from tinkertape.tape.compression import compress
from tinkertape.tape.forms import compressed_path, segment_files, stored_bytes, stored_path
from tinkertape.tape.hold import holding
from tinkertape.tape.last_words import last_words
from tinkertape.tape.ledger import Ledger
from tinkertape.tape.marks import mark_path, write_mark
from tinkertape.tape.removal import Candidate, in_order, join_marks, make_room, process_of, remove, removed_in
from tinkertape.tape.upkeep import Upkeep
from tinkertape.telemetry import start

MOST = 100_000  # bytes


def append(recorder: Recorder, events: int) -> None:
    for _ in range(events):
        recorder.record("my.event", {}, {"padding": os.urandom(200).hex()}, None)
        recorder.flush()
        assert recorder._upkeep.wait(30)


def size(folder: Path) -> int:
    found = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
            found += path.stat().st_size
    return found


def acknowledge(segment: Path, offset: int | None = None) -> None:
    write_mark(mark_path(segment, "ack"), {"offset": stored_bytes(segment) if offset is None else offset})


def indices(folder: Path) -> list[int]:
    return [event.index for event in open_tape(folder)]


def test_a_folder_without_a_collector_keeps_the_newest_events_and_counts_the_others(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", max_bytes=MOST)

    append(recorder, 600)

    kept = indices(folder)
    assert size(folder) <= MOST
    assert kept == list(range(600 - len(kept), 600))
    expected = Ledger(recorded=600, pending=len(kept), dropped={"space": 600 - len(kept)})
    assert recorder.ledger() == expected
    assert open_tape(folder).ledger() == expected
    recorder.close()
    assert open_tape(folder).ledger() == expected


def test_the_oldest_delivered_segment_goes_before_any_that_is_not(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 150)
    segments = segment_files(folder)
    for segment in segments[2:5]:
        acknowledge(segment)
    two = sum(stored_path(segment).stat().st_size for segment in segments[2:4])
    upkeep = Upkeep(folder, size(folder) - two + 1_000)  # for what tells of them

    upkeep.wake(recorder.path)
    assert upkeep.wait(30)

    assert {segment: removed.since for segment, removed in removed_in(folder).items()} == {segments[3]: 3}
    assert open_tape(folder).ledger() == Ledger(recorded=150, pending=150)
    assert recorder.ledger() == Ledger(recorded=150, pending=150)
    assert 2 * len(indices(folder)) > 150
    recorder.close()


def test_of_a_segment_that_was_delivered_in_part_only_the_rest_is_dropped(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 60)
    recorder.close()
    [first, *_] = segment_files(folder)
    places = [next_offset for _, next_offset in Reader(first)]  # of the header, the events, and the end
    acknowledge(first, places[10])

    make_room(folder, [first], size(folder) - 1)

    [removed] = removed_in(folder).values()
    assert (removed.elsewhere, removed.dropped) == (10, len(places) - 12)
    ledger = open_tape(folder).ledger()
    assert ledger == Ledger(recorded=60, pending=60 - removed.dropped, dropped={"space": removed.dropped})


def test_what_a_store_has_loaded_is_delivered_too_and_stays_stored(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 60)
    recorder.close()
    segments = segment_files(folder)
    for segment in segments:
        write_mark(mark_path(segment, "loaded-store"), {"offset": stored_bytes(segment)})

    make_room(folder, segments[:-1], 0)

    assert open_tape(folder).ledger("store") == Ledger(recorded=60, stored=60)
    assert open_tape(folder).ledger() == Ledger(recorded=60, pending=60)


def test_a_segment_that_is_being_delivered_stays_and_nothing_is_lost_for_its_sake(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 60)
    recorder.close()
    [*closed, _] = segment_files(folder)
    acknowledge(closed[0])

    with holding(closed[0]):
        assert make_room(folder, closed, 0) == 0
    assert removed_in(folder) == {}


def test_a_removal_that_was_cut_off_is_finished_and_counted_once(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 60)
    [first, *_] = segment_files(folder)
    compress(first)
    gone = compressed_path(first).read_bytes()
    make_room(folder, [first], 0)
    compressed_path(first).write_bytes(gone)  # as a kill between the mark and the removal leaves it
    expected = open_tape(folder).ledger()

    assert expected.balanced and expected.dropped["space"] > 0
    recorder._upkeep.wake(recorder.path)
    assert recorder._upkeep.wait(30)
    assert not compressed_path(first).exists()
    assert open_tape(folder).ledger() == expected
    recorder.close()


def test_the_end_of_the_tape_says_what_went_for_space(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", max_bytes=MOST)
    append(recorder, 600)
    recorder.close()

    [end] = open_tape(folder).ends.values()

    assert end.recorded == 600 and end.dropped == open_tape(folder).ledger().dropped


def test_a_process_that_is_over_gives_its_whole_tape(folder: Path) -> None:
    other = Recorder(folder, "run-1")
    append(other, 50)
    other.close()
    recorder = Recorder(folder, "run-1", max_bytes=MOST)

    append(recorder, 600)

    assert other.process not in open_tape(folder).processes()
    ledger = open_tape(folder).ledger()
    assert ledger.recorded == 650 and ledger.balanced and ledger.dropped.keys() == {"space"}
    recorder.close()


def test_the_last_segment_of_another_process_that_may_still_write_stays(folder: Path) -> None:
    other = Recorder(folder, "run-1")
    append(other, 50)
    recorder = Recorder(folder, "run-1", max_bytes=MOST)

    append(recorder, 600)

    assert other.path.exists()
    recorder.close()
    other.close()
    assert open_tape(folder).ledger().balanced


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=12))
def test_undelivered_segments_come_last_and_each_kind_by_age(made: list[tuple[int, bool]]) -> None:
    candidates = [Candidate(Path(f"p-{place:05}.jsonl"), age, done) for place, (age, done) in enumerate(made)]

    ordered = in_order(candidates)

    flags = [each.is_elsewhere for each in ordered]
    assert flags == sorted(flags, reverse=True)
    for kind in (True, False):
        ages = [each.written_ns for each in ordered if each.is_elsewhere is kind]
        assert ages == sorted(ages)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_whatever_is_delivered_compressed_and_removed_the_ledger_holds(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("space") / "run-1"
    recorder = Recorder(folder, "run-1", segment_max=6_000)
    for _ in range(12):
        append(recorder, chance.randrange(1, 15))
        closed = segment_files(folder)[:-1]
        for segment in chance.sample(closed, min(2, len(closed))):
            acknowledge(segment, chance.randrange(stored_bytes(segment) + 1))
        if chance.random() < 0.5:
            make_room(folder, closed, chance.randrange(size(folder)))
        ledger = open_tape(folder).ledger()
        assert ledger.balanced
        assert ledger == recorder.ledger()
        assert ledger.pending == len(indices(folder)) + sum(each.elsewhere for each in removed_in(folder).values())
    recorder.close()
    assert open_tape(folder).ledger() == ledger


KILLED = """
import os, sys
from pathlib import Path
from tinkertape.tape import Recorder
recorder = Recorder(Path(sys.argv[1]), "run-1", max_bytes=200_000)
while True:
    for _ in range(20):
        recorder.record("my.event", {}, {"padding": os.urandom(200).hex()}, None)
    recorder.flush()
    ledger = recorder.ledger()
    print(ledger.recorded, ledger.dropped.get("space", 0), flush=True)
"""


@pytest.mark.parametrize("lines", range(1, 51, 5))
def test_a_process_killed_while_it_makes_room_still_accounts_for_everything(folder: Path, lines: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = (line.split() for line in process.stdout)
        next(numbers for numbers in said if int(numbers[1]))  # it has begun to make room
        flushed = int([next(said) for _ in range(lines)][-1][0])
        process.send_signal(signal.SIGKILL)

    ledger = open_tape(folder).ledger()

    assert ledger.balanced
    assert ledger.recorded >= flushed
    assert ledger.dropped["space"] > 0 and ledger.dropped.keys() <= {"space", "torn"}


def test_start_keeps_its_run_within_max_bytes(tmp_path: Path) -> None:
    telemetry = start(directory=tmp_path, max_bytes=1_000_000, instrument=False, bus=Bus())
    for _ in range(1_500):
        telemetry.log("my.event", {"padding": os.urandom(2_000).hex()})
    telemetry.flush()
    wait_until(lambda: size(telemetry.tape) < 1_000_000)
    telemetry.close()
    wait_until(lambda: open_tape(telemetry.tape).ledger() == telemetry.ledger())  # more may go until then

    ledger = open_tape(telemetry.tape).ledger()
    assert ledger.balanced and ledger.recorded >= 1_500 and ledger.dropped["space"] > 500


@pytest.mark.parametrize("bad", [0, 999_999, True, "1 GB"])
def test_a_size_that_cannot_be_meant_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"^cannot start with max_bytes=.*: it must be a number, 1000000 or more$"):
        check_start(1, bad, 1, 0, 0, "kill", None, None)


def test_a_mark_of_a_removal_that_is_damaged_loses_the_reason_and_no_event(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 60)
    recorder.close()
    [first, *_] = segment_files(folder)
    make_room(folder, [first], 0)
    dropped = open_tape(folder).ledger().dropped["space"]

    mark_path(first, "removed").write_bytes(b"{")

    assert open_tape(folder).ledger() == msgspec.structs.replace(
        open_tape(folder).ledger(), recorded=60, pending=60 - dropped, dropped={"damaged": dropped}
    )


def test_the_last_words_of_a_process_count_what_was_removed_since(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 60)
    recorder.close()
    [first, *_] = segment_files(folder)
    assert last_words(folder) == {}

    make_room(folder, [first], 0)
    words = last_words(folder)[recorder.process].end
    dropped = open_tape(folder).ledger().dropped["space"]
    assert (words.recorded, words.dropped, words.status) == (60, {"space": dropped}, "success")

    for segment in segment_files(folder):
        make_room(folder, [segment], 0)
    assert last_words(folder)[recorder.process].header.began == recorder.header.began
    words = last_words(folder)[recorder.process].end
    assert (words.recorded, words.dropped, words.status) == (60, {"space": 60}, "success")


def test_what_tells_of_removed_segments_takes_no_room_that_grows(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", max_bytes=40_000)

    append(recorder, 400)

    assert recorder.header.segment > 25
    assert len(list(folder.glob("*.removed"))) == 1
    ledger = recorder.ledger()
    assert ledger == open_tape(folder).ledger() == Ledger(400, pending=len(indices(folder)), dropped=ledger.dropped)
    assert not open_tape(folder).verify().damage
    recorder.close()


@pytest.mark.parametrize("seed", range(12))
def test_joined_marks_tell_what_each_told_wherever_joining_was_cut_off(
    folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    recorder = Recorder(folder, "run-1", segment_max=2_000)
    append(recorder, 40)
    segments = segment_files(folder)[:-1]
    for segment in segments:
        places = [next_offset for _, next_offset in Reader(segment)]
        for kind in ("ack", "loaded-aaaa", "loaded-bbbb"):
            if chance.random() < 0.4:
                write_mark(mark_path(segment, kind), {"offset": chance.choice([*places, *places[-1:] * 5])})
    for segment in chance.sample(segments, len(segments) - 2):
        assert remove(segment)

    def told() -> list[Ledger]:
        return [recorder.ledger(), *(open_tape(folder).ledger(store) for store in (None, "aaaa", "bbbb"))]

    before = told()
    forget, left = removal._forget, iter(range(chance.randrange(3)))

    def cut_off(segment: Path) -> None:
        if next(left, None) is None:
            raise OSError("killed")
        forget(segment)

    with monkeypatch.context() as dying, contextlib.suppress(OSError):
        dying.setattr(removal, "_forget", cut_off)
        join_marks(folder)
    between = told()
    join_marks(folder)

    assert before == between == told()
    assert all(ledger.balanced for ledger in before)
    assert not open_tape(folder).verify().damage
    recorder.close()


def test_a_segment_that_another_process_took_meanwhile_is_passed_over(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=2_000)
    append(recorder, 30)
    recorder.close()
    first, second, *_ = segment_files(folder)
    stored_path(first).unlink()

    make_room(folder, [first, second], size(folder) - 1)

    assert list(removed_in(folder)) == [second]


def test_a_segment_that_this_python_cannot_read_stays_and_others_make_room(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    elder = Recorder(folder, "run-1", segment_max=2_000)
    append(elder, 30)
    elder.close()
    assert elder._upkeep.wait(30)
    packed = [path for path in folder.iterdir() if path.suffix == ".zst"]
    request.getfixturevalue("no_zstd")

    recorder = Recorder(folder, "run-1", max_bytes=size(folder) + 20_000)
    append(recorder, 400)
    recorder.close()

    assert packed and all(path.exists() for path in packed)
    assert recorder.process in {process_of(segment) for segment in removed_in(folder)}


def test_what_another_process_removes_meanwhile_makes_room_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(folder, "run-1", segment_max=12_000)
    append(recorder, 150)
    recorder.close()
    assert recorder._upkeep.wait(30)
    closed = segment_files(folder)[:-1]

    monkeypatch.setattr(removal, "remove", lambda segment: remove(segment) and remove(segment))
    make_room(folder, closed, size(folder) - 1)

    assert list(removed_in(folder)) == closed[:1]


@pytest.mark.parametrize("garbage", [b"", b"{", b'{"dropped":"\xff"}', b"[" * 100_000, b"[]", b'{"dropped":"x"}'])
def test_a_mark_that_cannot_be_read_says_nothing(folder: Path, garbage: bytes) -> None:
    recorder = Recorder(folder, "run-1")
    append(recorder, 10)
    for kind in ("ack", "refused", "loaded-aaaa"):
        mark_path(recorder.path, kind).write_bytes(garbage)
    mark_path(recorder.path.with_name(f"{recorder.process}-00009.jsonl"), "removed").write_bytes(garbage)

    assert recorder.ledger() == open_tape(folder).ledger("aaaa") == Ledger(recorded=10, pending=10)
    recorder.close()
