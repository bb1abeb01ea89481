from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tape.disks import FaultyDisk
from tests.tape.test_rotation import record

from tinkertape.cli.verify import text_of
from tinkertape.diagnosis import diagnose
from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.compression import compress
from tinkertape.tape.forms import compressed_path, segment_files
from tinkertape.tape.ledger import Ledger
from tinkertape.tape.removal import make_room
from tinkertape.tape.verify import SHOWN_MAX

Change = Callable[[Path], None]


def closed_tape(folder: Path, events: int = 10) -> Path:
    recorder = Recorder(folder, "run-1")
    for number in range(events):
        recorder.log("my.event", {"number": number})
    recorder.close()
    return recorder.path


def edit(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    def changed(segment: Path) -> None:
        segment.write_bytes(b"".join(change(segment.read_bytes().splitlines(keepends=True))))

    return changed


def test_a_whole_tape_is_whole(folder: Path) -> None:
    closed_tape(folder)

    verified = open_tape(folder).verify()

    assert verified.is_whole and (verified.damage, verified.notes) == ([], [])
    assert verified.ledger == open_tape(folder).ledger()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (edit(lambda lines: [*lines[:3], b"garbage\n", *lines[4:]]), [("bad line", 4)]),
        (edit(lambda lines: [*lines[:3], b"\n", b"garbage\n", *lines[3:]]), [("bad line", 5)]),
        (edit(lambda lines: [*lines[:-1], lines[-1][:9]]), [("torn line", 12)]),
        (edit(lambda lines: lines[1:]), [("no header", 1)]),
        (edit(lambda lines: lines[:3] + lines[6:]), [("missing indices", None)]),
        (edit(lambda lines: lines[:5] + lines[4:]), [("repeated", 6)]),
        (
            lambda segment: segment.rename(segment.with_name(segment.name.replace("1.", "3."))),
            [("missing segment", None)] * 2,
        ),
    ],
)
def test_each_damage_is_told_with_its_place(folder: Path, change: Change, found: list[tuple[str, int | None]]) -> None:
    change(closed_tape(folder))

    verified = open_tape(folder).verify()

    assert [(damage.kind, damage.line) for damage in verified.damage] == found
    assert not verified.is_whole


def test_missing_indices_are_named(folder: Path) -> None:
    edit(lambda lines: [*lines[:3], *lines[5:7], *lines[8:]])(closed_tape(folder))

    [damage] = open_tape(folder).verify().damage

    assert damage.said == "3 events are missing, among 2–3, 6"


def test_an_index_beyond_all_bounds_is_told_as_any_other(folder: Path) -> None:
    segment = closed_tape(folder)
    segment.write_bytes(segment.read_bytes().replace(b'_index":3,', b'_index":%d,' % 10**30))

    [*repeated, missing] = open_tape(folder).verify().damage

    assert {damage.kind for damage in repeated} == {"repeated"}
    assert f"3–{10**30 - 1}" in missing.said


def test_what_was_dropped_for_a_known_reason_is_no_damage(folder: Path) -> None:
    recorder = Recorder(folder, "run-1", max_pending=1)
    for number in range(1000):
        recorder.log("my.event", {"number": number})
    recorder.close()

    verified = open_tape(folder).verify()

    assert verified.ledger.dropped["memory_full"] > 0
    assert verified.is_whole


def test_a_segment_that_went_for_lack_of_space_is_a_note_and_one_that_was_taken_is_damage(folder: Path) -> None:
    record(folder).close()
    [first, second, *_] = segment_files(folder)
    make_room(folder, [first], 0)

    verified = open_tape(folder).verify()
    assert verified.is_whole
    assert len(verified.notes) == 1 and verified.notes[0].startswith(f"{first.name}: removed to make room")

    compressed_path(second).unlink()
    verified = open_tape(folder).verify()
    assert [damage.kind for damage in verified.damage] == ["missing segment", "missing indices"]


def test_a_compressed_segment_that_is_cut_short_is_damaged(folder: Path) -> None:
    segment = closed_tape(folder, 1000)
    compress(segment)
    beside = compressed_path(segment)
    beside.write_bytes(beside.read_bytes()[:-400])

    kinds = [damage.kind for damage in open_tape(folder).verify().damage]

    assert "compression" in kinds


def test_a_process_that_never_closed_its_tape_is_a_note(folder: Path) -> None:
    edit(lambda lines: lines[:-1])(closed_tape(folder))

    verified = open_tape(folder).verify()

    assert verified.is_whole
    assert len(verified.notes) == 1 and "never closed" in verified.notes[0]


def full_at_the_end(folder: Path) -> Path:
    """A tape whose disk was full in the middle of a line, and had room for the end line only."""
    disk = FaultyDisk()
    recorder = Recorder(folder, "run-1", disk=disk)
    recorder.log("a")
    assert recorder.flush(10)
    disk.budget = 50
    for _ in range(9):
        recorder.log("b")
    assert recorder.close() is False
    return recorder.path


def damaged_in(folder: Path) -> tuple[int, int]:
    """The lines that a tape sets aside, and those that are damage to it; the latter are what a report says."""
    tape = open_tape(folder)
    diagnosed = diagnose(tape)
    assert diagnosed.report.set_aside == tape.damaged
    return tape.set_aside, tape.damaged


def test_what_a_full_disk_dropped_is_a_counted_loss_and_no_damage(folder: Path) -> None:
    full_at_the_end(folder)

    verified = open_tape(folder).verify()

    assert verified.is_whole and verified.ledger.dropped == {"disk_full": 9}
    [note] = verified.notes
    assert note.endswith("line 3: cut short; its event is counted as dropped")
    assert list(text_of("run-1", verified))[-1] == "nothing is damaged; 9 events were dropped, and counted: 9 disk_full"
    assert damaged_in(folder) == (1, 0)


def test_a_line_that_was_cut_short_and_is_in_no_count_is_damage_beside_such_a_loss(folder: Path) -> None:
    edit(lambda lines: [lines[0], lines[1][:40] + b"\n", *lines[2:]])(full_at_the_end(folder))

    verified = open_tape(folder).verify()

    assert not verified.is_whole
    assert [damage.kind for damage in verified.damage] == ["bad line", "bad line"]
    assert damaged_in(folder) == (2, 2)


def test_the_list_of_damage_is_bounded(folder: Path) -> None:
    segment = closed_tape(folder)
    with segment.open("ab") as file:
        file.write(b"garbage\n" * 5_000)

    verified = open_tape(folder).verify()

    assert len(verified.damage) + verified.more == 5_000
    assert len(verified.damage) == 1_000


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["0123456789abcdef-9999999999.jsonl", "0123456789abcdef-9999999999.removed"])
def test_a_damaged_number_is_one_gap_and_not_counted_through(folder: Path, name: str) -> None:
    closed_tape(folder)
    process = segment_files(folder)[0].stem.partition("-")[0]
    (folder / name.replace("0123456789abcdef", process)).write_text('{"since":5}' if "removed" in name else "")

    verified = open_tape(folder).verify()

    kinds = Counter(damage.kind for damage in verified.damage)
    assert kinds["missing segment"] + verified.more >= 3
    assert len(verified.damage) <= SHOWN_MAX
    assert isinstance(open_tape(folder).ledger(), Ledger)
