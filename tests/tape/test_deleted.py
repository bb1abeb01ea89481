"""A file of the tape is deleted, or moved away, while its process writes: the loss is counted, and it goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.tape.disks import FaultyDisk
from tests.waiting import wait_until

from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.forms import segment_files, stored_path
from tinkertape.tape.ledger import Ledger


def append(recorder: Recorder, numbers: range) -> None:
    for n in numbers:
        recorder.log("a", {"n": n})
        recorder.flush()


def delete_files(folder: Path) -> None:
    for segment in segment_files(folder):
        segment.unlink()


def move_away(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize("delete", [delete_files, shutil.rmtree, move_away])
def test_what_comes_after_a_file_was_deleted_is_on_the_tape_and_what_was_in_it_is_counted(
    folder: Path, recorder: Recorder, delete: object, caplog: pytest.LogCaptureFixture
) -> None:
    append(recorder, range(10))
    assert callable(delete)

    delete(folder)
    append(recorder, range(10, 15))
    delete_files(folder)
    append(recorder, range(15, 20))

    expected = Ledger(recorded=20, pending=5, dropped={"deleted": 15})
    assert [event.metadata["n"] for event in open_tape(folder)] == list(range(15, 20))
    assert recorder.ledger() == expected
    recorder.close()
    assert recorder.ledger() == open_tape(folder).ledger() == expected
    assert [damage.kind for damage in open_tape(folder).verify().damage] == ["missing segment"] * 2
    assert [record.getMessage() for record in caplog.records if "deleted or moved away" in record.getMessage()] == [
        f"tinkertape: {folder / f'{recorder.process}-00001.jsonl'} was deleted or moved away: "
        "its events are counted as lost"
    ]


def test_a_line_of_which_a_part_was_in_the_deleted_file_is_lost_with_it(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    append(recorder, range(3))
    disk.budget = 100  # the next write is torn
    append(recorder, range(3, 6))

    delete_files(folder)
    disk.budget = None
    wait_until(lambda: recorder.flush(1))
    recorder.close()

    tape = open_tape(folder)
    assert [event.metadata["n"] for event in tape] == [4, 5]
    assert tape.set_aside == 0
    assert recorder.ledger() == tape.ledger() == Ledger(recorded=6, pending=2, dropped={"deleted": 4})


def test_a_deleted_file_of_which_not_even_the_header_was_written_costs_nothing(folder: Path) -> None:
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    disk.budget = 4096 + 10
    append(recorder, range(2))

    delete_files(folder)
    disk.budget = None
    wait_until(lambda: recorder.flush(1))
    recorder.close()

    assert recorder.ledger() == open_tape(folder).ledger() == Ledger(recorded=2, pending=2)


def test_a_closed_segment_that_was_deleted_is_counted_too(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", segment_max=2_000)
    append(recorder, range(30))
    assert recorder._upkeep.wait(30)
    first, second, *_ = segment_files(folder)
    lost = sum(1 for _ in open_tape(first)) + sum(1 for _ in open_tape(second))

    stored_path(first).unlink()
    stored_path(second).unlink()
    recorder.close()

    expected = Ledger(recorded=30, pending=30 - lost, dropped={"deleted": lost})
    assert recorder.ledger() == open_tape(folder).ledger() == expected


def test_a_file_that_was_moved_away_and_is_back_is_lost_no_more(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    append(recorder, range(10))
    away = recorder.path.rename(recorder.path.with_suffix(".away"))
    append(recorder, range(10, 20))
    recorder.close()

    away.rename(away.with_suffix(".jsonl"))

    assert recorder.ledger() == open_tape(folder).ledger() == Ledger(recorded=20, pending=20)
