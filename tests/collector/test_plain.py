"""The engine reads the same events from plain lines as the tape's reader does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tinkertape.collector import stretch
from tinkertape.collector.intake import take_in
from tinkertape.collector.loader import Loader
from tinkertape.collector.stretch import completed
from tinkertape.config import new_ulid
from tinkertape.context import Event
from tinkertape.store import Passed, Store
from tinkertape.tape.format import Header, encode_line

PROCESS = "0123456789abcdef"
DATA = Path(__file__).parents[1] / "data" / "telemetry"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"chdb://{tmp_path_factory.mktemp('held') / 'store'}") as opened:
        yield opened


def loaded(store: Store, folder: Path, header: Header, lines: str, patch: pytest.MonkeyPatch, *, far: bool) -> Loader:
    """An inbox, or a run's tape, of one file, loaded; far behind is whoever has 20 lines to go, or nobody."""
    place = folder / header.run
    place.mkdir(parents=True)
    (place / f"{header.process}-00001.jsonl").write_bytes(encode_line(header) + lines.encode())
    make_small(patch, far=far)
    loader = Loader(store, folder / "inbox", folder)
    loader.load_all(lambda done, whole: None)
    return loader


def make_small(patch: pytest.MonkeyPatch, *, far: bool = True) -> None:
    patch.setattr(stretch, "BYTES_MIN", 1_000 if far else 2**60)
    patch.setattr(stretch, "BYTES_MAX", 30_000)
    patch.setattr(stretch, "LINES_MIN", 20)
    patch.setattr("tinkertape.collector.loader.ROWS_MAX", 250)


def read_twice(
    store: Store, tmp_path: Path, lines: str, patch: pytest.MonkeyPatch, *, as_tape: bool = False
) -> list[list[Event]]:
    """The events of lines, in which `RUN` stands for their run, as the engine reads them, and line by line."""
    found = []
    for by_engine in (True, False):
        run = new_ulid()
        about = {"project": "lab", "session_id": "of the header", "sdk_version": "0.38"} if as_tape else {}
        header = Header(run=run if as_tape else "inbox", process=PROCESS, **about)
        loader = loaded(store, tmp_path / run, header, lines.replace("RUN", run), patch, far=by_engine)
        assert (loader.stretched > loader.rows // 5) is by_engine
        found.append([msgspec.structs.replace(event, run="", session_id="") for _, event in store.event_stream(run)])
        assert loader.rows == len(found[-1])
    return found


def sdk_lines() -> str:
    """What real SDKs sent, as the inbox has it, twelve times with other ids, times and numbers."""
    bodies = [json.loads(line) for path in sorted(DATA.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    parts = []
    index = 7
    for second in range(10, 22):
        for body in bodies:
            for event in body["events"]:
                index += 13
                about = {"event_id": f"{index:08x}-aaaa-4cc1", "timestamp": f"2026-11-24T02:24:{second}.{index:06d}Z"}
                event.update(about, event_session_index=index)
            parts.append(take_in(json.dumps(body | {"session_id": "RUN"}).encode()).lines.decode())
    return "".join(parts)


def own_lines() -> str:
    """What we record: measurements, metadata, scopes, logged data, and an outline that holds more than it should."""
    events = []
    for index in range(800):
        about = {"run": "RUN", "process": PROCESS, "index": index, "monotonic_ns": 7 ** (index % 20)}
        about["time_ns"] = 1_795_000_000_000_000_000 + index * 977_000
        request = {"request_id": f"r{index:x}", "operation": "forward_backward" if index % 2 else 5}
        kinds: list[dict[str, Any]] = [
            {"name": "tinker.request.stop", "measurements": {"duration": 10 ** (index % 18)}, "metadata": request},
            {"name": "tinker.request.stop", "measurements": {"duration": index / 3}, "metadata": request},
            {"name": "loss", "measurements": {}, "metadata": {"loss": [index, {"a": "\\b ä\\"}]}, "logged": True},
            {"name": "step", "measurements": {"bad": float("nan")}, "metadata": {}, "scope": {"step": index}},
            {"name": "span.start", "measurements": {}, "metadata": {}, "trace_id": f"{index:032x}", "span_id": "ab"},
        ]
        events.append(Event(**about, **kinds[index % 5]))
    return b"".join(map(encode_line, events)).decode()


def test_the_engine_reads_what_sdks_send_as_the_reader_does(store, tmp_path, monkeypatch):
    by_engine, by_line = read_twice(store, tmp_path, sdk_lines(), monkeypatch)

    assert by_engine == by_line
    assert len(by_line) > 600


@pytest.mark.parametrize("as_tape", [False, True], ids=["in the inbox", "on a tape"])
def test_the_engine_reads_what_we_record_as_the_reader_does(store, tmp_path, monkeypatch, as_tape: bool):
    by_engine, by_line = read_twice(store, tmp_path, own_lines(), monkeypatch, as_tape=as_tape)

    assert list(map(repr, by_engine)) == list(map(repr, by_line))  # NaN is like NaN
    assert len(by_line) == 800


SUSPECT = {
    "a day that is none": ('"timestamp":"2026-11-18', '"timestamp":"2026-13-18'),
    "a year before all clocks": ('"timestamp":"2026', '"timestamp":"0026'),
    "a number that is none": ('"measurements":{"duration":', '"measurements":{"duration":0'),
    "an index without end": ('"event_session_index":', '"event_session_index":9999999999999999999'),
    "a key that lost a letter": ('{"event":', '{"vent":'),
}


@pytest.mark.parametrize("about", SUSPECT)
def test_where_the_engine_is_not_sure_line_by_line_decides(store, tmp_path, monkeypatch, about: str):
    lines = own_lines().splitlines(keepends=True)
    lines[605] = lines[605].replace(*SUSPECT[about])
    run = new_ulid()
    text = "".join(lines).replace("RUN", run)

    loader = loaded(store, tmp_path, Header(run="inbox", process="c"), text, monkeypatch, far=True)

    assert loader.stretched > 100
    assert (loader.rows, loader.set_aside) in ((799, 1), (800, 0))  # a wrong clock of ours is put right
    assert store.count(run) == loader.rows


def test_what_is_stored_for_certain_is_not_stored_again(store, tmp_path, monkeypatch):
    run = new_ulid()
    lines = own_lines().replace("RUN", run)
    loaded(
        store,
        tmp_path / "first",
        Header(run=run, process=PROCESS),
        "".join(lines[: len(lines) // 2]),
        monkeypatch,
        far=False,
    )

    loader = loaded(store, tmp_path / "second", Header(run="inbox", process="c"), lines, monkeypatch, far=True)

    assert loader.rows + loader.duplicates == 800
    assert loader.duplicates > 300
    assert store.count(run) == 800
    assert len(list(store.event_stream(run))) == 800


def write_tape(folder: Path, run: str, lines: str) -> None:
    (folder / run).mkdir()
    tape = folder / run / f"{PROCESS}-00001.jsonl"
    tape.write_bytes(encode_line(Header(run=run, process=PROCESS)) + lines.replace("RUN", run).encode())


def test_a_long_tape_does_not_hold_up_a_short_one(store, tmp_path, monkeypatch):
    long, short = new_ulid(), new_ulid()
    write_tape(tmp_path, long, own_lines())
    write_tape(tmp_path, short, "".join(own_lines().splitlines(keepends=True)[:10]))
    make_small(monkeypatch)
    loader = Loader(store, tmp_path / "inbox", tmp_path)

    while store.count(short) < 10:
        loader.turn()

    assert store.count(long) < 800
    loader.load_all(lambda done, whole: None)
    assert store.count(long) == 800


def test_files_that_are_far_behind_are_read_by_the_engine_in_turn(store, tmp_path, monkeypatch):
    runs = [new_ulid() for _ in range(3)]
    for run in runs:
        write_tape(tmp_path, run, own_lines())
    make_small(monkeypatch)
    loader = Loader(store, tmp_path / "inbox", tmp_path)

    loader.load_all(lambda done, whole: None)

    assert loader.stretched > loader.rows // 2
    assert [[event.index for _, event in store.event_stream(run)] for run in runs] == [list(range(800))] * 3


def test_what_was_read_ahead_of_a_file_that_begins_anew_is_not_stored(store, tmp_path, monkeypatch):
    old, new = new_ulid(), new_ulid()
    (tmp_path / "inbox").mkdir()
    file = tmp_path / "inbox" / "c-00001.jsonl"
    lines = own_lines().splitlines(keepends=True)
    file.write_bytes(encode_line(Header(run="inbox", process="c")) + "".join(lines).replace("RUN", old).encode())
    make_small(monkeypatch)
    loader = Loader(store, tmp_path / "inbox", None)
    while not loader.stretched:  # then the next lines are read already
        loader.turn()
    known = loader.rows

    file.write_bytes("".join(lines[:100]).replace("RUN", new).encode())
    loader.load_all(lambda done, whole: None)

    assert store.count(old) == known
    assert [event.index for _, event in store.event_stream(new)] == list(range(100))


@pytest.mark.parametrize(
    ("lowest", "highest", "different", "known", "then"),
    [(0, 9, 10, 0, 10), (5, 9, 5, 5, 10), (3, 9, 7, 5, 10), (0, 3, 4, 5, 5), (6, 9, 4, 5, None), (0, 9, 9, 0, None)],
)
def test_a_process_is_complete_below_its_first_hole(
    lowest: int, highest: int, different: int, known: int, then: int | None
):
    passed = Passed("lab", "r", "p", 10, 0, 10, lowest, highest, different)

    assert completed([passed], {("lab", "r", "p"): known}).get(("lab", "r", "p")) == then
