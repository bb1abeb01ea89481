"""Reading what is there, however it ends, whatever stands between, while it grows."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.context import Event
from tinkertape.errors import BadLine, TapeError, TapeNotFound
from tinkertape.tape import End, Header, Reader, Recorder, encode_line, find_tapes, open_tape, unreadable_tapes
from tinkertape.tape.format import LINE_MAX
from tinkertape.tape.marks import mark_path, read_mark, write_mark


def line(index: int, process: str = "p", time_ns: int = 0) -> bytes:
    return encode_line(
        Event(
            name=f"e{index}",
            measurements={},
            metadata={},
            time_ns=time_ns,
            monotonic_ns=index,
            run="r",
            process=process,
            index=index,
        )
    )


HEAD = encode_line(Header(run="r", process="p", project="q"))


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    (tmp_path / "r").mkdir()
    return tmp_path / "r" / "p-00001.jsonl"


def names(reader: Reader) -> list[str]:
    return [found.name for found, _ in reader if isinstance(found, Event)]


def test_every_line_comes_with_the_offset_of_the_next(segment: Path) -> None:
    lines = [HEAD, line(0), line(1), encode_line(End(recorded=2, written=2))]
    segment.write_bytes(b"".join(lines))

    reader = Reader(segment)
    found = list(reader)

    assert [type(each) for each, _ in found] == [Header, Event, Event, End]
    assert [offset for _, offset in found] == [sum(map(len, lines[: n + 1])) for n in range(4)]
    assert (reader.torn, reader.set_aside, reader.offset) == (0, 0, segment.stat().st_size)


def test_a_torn_last_line_is_counted_and_read_once_it_is_whole(segment: Path) -> None:
    segment.write_bytes(HEAD + line(0) + line(1)[:-20])
    reader = Reader(segment)
    assert names(reader) == ["e0"]
    assert (reader.torn, reader.offset) == (1, len(HEAD + line(0)))

    with segment.open("ab") as file:
        file.write(line(1)[-20:] + line(2))

    assert names(reader) == ["e1", "e2"]
    assert reader.torn == 0
    assert names(reader) == []


def test_a_bad_line_in_the_middle_is_set_aside_with_its_reason_and_the_rest_is_read(segment: Path) -> None:
    segment.write_bytes(HEAD + line(0) + b"\x00\xffgarbage\n" + b'{"event":5}\n\n' + line(1))
    reader = Reader(segment)

    records = list(reader.records())

    assert [record.line.name for record in records if isinstance(record.line, Event)] == ["e0", "e1"]
    bad = [record for record in records if isinstance(record.line, BadLine)]
    assert [record.raw for record in bad] == [b"\x00\xffgarbage", b'{"event":5}']
    assert bad[0].offset == len(HEAD + line(0))
    assert (reader.torn, reader.set_aside) == (0, 2)


@pytest.mark.parametrize("length", [LINE_MAX + 1, 3 * LINE_MAX + 77])
def test_a_line_that_is_too_long_is_set_aside_unread(segment: Path, length: int) -> None:
    segment.write_bytes(HEAD + line(0) + b"x" * length + b"\n" + line(1))
    reader = Reader(segment)

    records = list(reader.records())

    [bad] = [record for record in records if isinstance(record.line, BadLine)]
    assert "longer than" in str(bad.line)
    assert bad.next_offset - bad.offset == length + 1
    assert names(Reader(segment)) == ["e0", "e1"]
    assert reader.offset == segment.stat().st_size


def test_a_long_line_without_an_end_is_torn_and_its_beginning_is_kept_as_offset(segment: Path) -> None:
    segment.write_bytes(HEAD + line(0) + b"x" * (LINE_MAX + 500_000))
    reader = Reader(segment)

    assert names(reader) == ["e0"]
    assert (reader.torn, reader.set_aside, reader.offset) == (1, 0, len(HEAD + line(0)))


def test_a_reader_that_begins_in_the_middle_knows_the_header(segment: Path) -> None:
    segment.write_bytes(HEAD + line(0) + line(1))
    reader = Reader(segment, len(HEAD + line(0)))

    [(event, _)] = reader
    assert isinstance(event, Event)
    assert (event.name, event.project) == ("e1", "q")


def test_an_iteration_left_early_goes_on_after_the_last_line_given(segment: Path) -> None:
    segment.write_bytes(HEAD + line(0) + line(1) + line(2))
    reader = Reader(segment)
    for found, _ in reader:
        if isinstance(found, Event):
            break

    assert names(reader) == ["e1", "e2"]


def test_a_missing_file_and_a_folder_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TapeNotFound, match="there is no tape at"):
        list(Reader(tmp_path / "missing.jsonl"))
    with pytest.raises(TapeError):
        list(Reader(tmp_path))


@given(
    st.lists(st.one_of(st.integers(0, 9).map(line), st.binary(max_size=30)), max_size=10),
    st.lists(st.integers(1, 400), max_size=8),
)
def test_reading_in_pieces_finds_the_same_as_reading_at_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("reader") / "p-00001.jsonl"
    content = HEAD + b"".join(parts)
    path.write_bytes(content)
    whole = Reader(path)
    wanted = names(whole)

    path.write_bytes(b"")
    pieces, found, done = Reader(path), [], 0
    for size in [*sizes, len(content)]:
        with path.open("ab") as file:
            file.write(content[done : done + size])
        done += size
        found += names(pieces)

    assert found == wanted
    assert (pieces.offset, pieces.torn, pieces.set_aside) == (whole.offset, whole.torn, whole.set_aside)


def test_a_tape_merges_processes_by_time_and_keeps_each_ones_order(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "a-00001.jsonl").write_bytes(HEAD + line(0, "a", 1_000) + line(1, "a", 9_000))
    (folder / "a-00002.jsonl").write_bytes(HEAD + line(2, "a", 4_000))  # its clock was set back
    (folder / "b-00001.jsonl").write_bytes(HEAD + line(0, "b", 2_000) + line(1, "b", 3_000) + b"torn")
    (folder / "a-00001.ack").write_bytes(b"{}")

    tape = open_tape(folder)

    assert [(event.process, event.index) for event in tape] == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2)]
    assert (tape.torn, tape.set_aside, len(tape.headers), tape.run) == (1, 0, 3, "r")


def test_one_file_of_a_run_is_a_tape_too(segment: Path) -> None:
    segment.write_bytes(HEAD + line(0) + encode_line(End(recorded=1, written=1, status="success")))

    tape = open_tape(segment)

    assert [event.index for event in tape] == [0]
    assert tape.ends["p"].status == "success"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_where_there_is_no_tape_the_error_says_so(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x")

    with pytest.raises(TapeNotFound, match="there is no tape"):
        open_tape(tmp_path / "x")
    with pytest.raises(TapeNotFound, match="there is no tape"):
        find_tapes(tmp_path / "x")


def test_tapes_are_found_newest_first(tmp_path: Path) -> None:
    for run in ("01A", "01C", "01B"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "p-00001.jsonl").write_bytes(HEAD)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_bytes(b"")

    assert [tape.path.name for tape in find_tapes(tmp_path)] == ["01C", "01B", "01A"]


def test_a_folder_without_a_readable_header_is_no_tape_and_is_told_apart(tmp_path: Path) -> None:
    for run, lines in (("good", HEAD), ("no-header", line(0)), ("garbage", b"\xff\x00\n"), ("nothing", b"")):
        (tmp_path / run).mkdir()
        (tmp_path / run / "p-00001.jsonl").write_bytes(lines)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "p-00001.jsonl").write_bytes(b"garbage\n")
    (tmp_path / "half" / "q-00001.jsonl").write_bytes(HEAD)
    (tmp_path / "empty").mkdir()

    assert [tape.path.name for tape in find_tapes(tmp_path)] == ["half", "good"]
    assert [folder.name for folder in unreadable_tapes(tmp_path)] == ["nothing", "no-header", "garbage"]


def refused(self: Path) -> object:
    raise PermissionError(errno.EACCES, "Permission denied", str(self))


@pytest.mark.parametrize("asked", ["is_dir", "iterdir"])
def test_a_place_that_may_not_be_read_is_one_clear_error(
    tmp_path: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, asked, refused)
    if asked == "iterdir":
        monkeypatch.setattr("os.scandir", refused)

    for read in (open_tape, find_tapes):
        with pytest.raises(TapeError, match=rf"^cannot read {tmp_path}: Permission denied; look at its rights.*$"):
            read(tmp_path)


def test_a_name_that_no_file_can_have_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match=str(tmp_path)):
        open_tape(tmp_path / ("x" * 300))


def test_a_file_that_went_away_since_is_one_clear_error(segment: Path) -> None:
    segment.write_bytes(HEAD)
    tape = open_tape(segment)
    segment.unlink()

    for read in (lambda: tape.headers, lambda: tape.ends, tape.ledger, lambda: list(tape)):
        with pytest.raises(TapeNotFound, match="there is no tape at"):
            read()


def test_a_mark_is_replaced_whole_and_a_damaged_one_says_nothing(segment: Path) -> None:
    path = mark_path(segment, "loaded-abcd1234")
    assert path.name == "p-00001.loaded-abcd1234"
    assert read_mark(path) == {}

    write_mark(path, {"offset": 5})
    write_mark(path, {"offset": 7, "rows": 2})

    assert read_mark(path) == {"offset": 7, "rows": 2}
    path.write_bytes(b"{torn")
    assert read_mark(path) == {}
    assert [found.name for found in segment.parent.iterdir()] == [path.name]


def test_a_segment_that_lost_its_header_knows_run_and_process_by_its_place(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    recorder.log("my.event")
    recorder.close()
    lines = recorder.path.read_bytes().splitlines(keepends=True)
    recorder.path.write_bytes(bytes(len(lines[0]) - 1) + b"\n" + b"".join(lines[1:]))

    [event] = open_tape(folder)
    assert (event.run, event.process, event.event_id) == ("run-1", recorder.process, "")
