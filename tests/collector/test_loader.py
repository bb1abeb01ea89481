"""Tapes of this machine are loaded beside the inbox: each event once, whatever is wrong with a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from tests.collector.conftest import ACCEPTED, Served, WrittenTape, wire_body, wire_event
from tests.conservation.kept import KeptStore
from tests.waiting import wait_until

from tinkertape.cli.tapes import TapesSource
from tinkertape.collector.loader import Loader
from tinkertape.config import new_ulid
from tinkertape.context import Event
from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.compression import compress
from tinkertape.tape.format import encode_line
from tinkertape.tape.forms import segment_files
from tinkertape.tape.removal import make_room

OLD_NS = 1_780_000_000 * 10**9
BALANCED = {"pending": 0, "rejected": 0, "dropped": {}}


@pytest.fixture
def tape(served: Served) -> WrittenTape:
    return WrittenTape(served.tapes)


def test_a_tape_is_loaded_and_followed(served: Served, tape):
    tape.append(30)
    served.settled(tape.run, 30)

    tape.append(20)
    tape.end()

    assert served.settled(tape.run, 50) == {"recorded": 50, "stored": 50, **BALANCED}
    assert [line["event_session_index"] for line in served.events(tape.run, limit=7)] == list(range(50))


def test_a_tape_that_is_compressed_while_it_is_loaded_is_gone_on_with_where_it_was(served: Served, tape):
    tape.append(30)
    served.settled(tape.run, 30)
    tape.append(20)
    tape.end()

    assert compress(tape.path)

    assert served.settled(tape.run, 50) == {"recorded": 50, "stored": 50, **BALANCED}
    assert [line["event_session_index"] for line in served.events(tape.run, limit=7)] == list(range(50))


def test_a_compressed_tape_is_loaded(served: Served, tape, tmp_path):
    made = WrittenTape(tmp_path / "elsewhere")
    made.append(50)
    made.end()
    assert compress(made.path)

    made.path.parent.rename(served.tapes / made.run)

    assert served.settled(made.run, 50) == {"recorded": 50, "stored": 50, **BALANCED}


def test_a_torn_line_waits_until_it_is_whole(served: Served, tape):
    line = encode_line(tape.event())
    tape.append(3)
    tape.write(line[:20])
    served.settled(tape.run, 3)

    tape.write(line[20:])

    assert served.settled(tape.run, 4) == {"recorded": 4, "stored": 4, **BALANCED}


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100 + b"\n",
        b"not JSON\n",
        b"{}\n",
        b'{"event":\n',
        b"\xff\xfe\n",
        b"[" * 5_000 + b"\n",
        b"x" * 9_000_000 + b"\n",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_garbage_in_the_middle_is_set_aside_and_the_rest_is_stored(served: Served, tape, garbage):
    tape.append(3)
    tape.write(garbage)
    tape.append(3)
    tape.end()

    ledger = served.settled(tape.run, 6)

    assert ledger == {"recorded": 6, "stored": 6, **BALANCED}
    shown = served.json(f"/api/v1/runs/{tape.run}")
    assert (shown["run"]["state"], shown["report"]["set_aside"]) == ("ended", 1)
    assert served.json(f"/api/v1/runs/{tape.run}/diagnosis")["healthy"] is False  # as its tape alone says


@pytest.mark.parametrize(("beside", "damaged"), [(b"", 0), (b"not JSON\n", 1)], ids=["alone", "beside garbage"])
def test_a_line_that_a_full_disk_cut_short_is_no_damage_where_its_event_counts_as_dropped(
    served: Served, tape, beside, damaged
):
    tape.append(2)
    tape.write(beside + b'{"event":"GENERIC_EVENT","event_na\n')
    tape.end(dropped={"disk_full": 1})

    ledger = served.settled(tape.run, 2)

    assert ledger == {"recorded": 3, "stored": 2, **BALANCED, "dropped": {"disk_full": 1}}
    assert served.json(f"/api/v1/runs/{tape.run}")["report"]["set_aside"] == damaged
    assert len(open_tape(tape.path.parent).verify().damage) == damaged


def test_a_damaged_event_is_one_that_was_rejected(served: Served, tape):
    tape.append(2)
    tape.write(encode_line(tape.event())[:-10] + b"\n")
    tape.append(2)
    tape.end()

    ledger = served.settled(tape.run, 4)

    assert ledger == {"recorded": 5, "stored": 4, "pending": 0, "rejected": 1, "dropped": {}}


@pytest.mark.parametrize(
    "behind",
    [b"garbage\n", b'{"torn', b"\n\n", b"x" * 150_000 + b"\n", b"garbage\n" * 20_000 + b"torn"],
    ids=["damaged", "torn", "empty", "long", "many"],
)
def test_a_closed_tape_is_ended_for_every_reader_whatever_stands_behind_its_end_line(served: Served, tape, behind):
    tape.append(3)
    tape.end("errored")
    tape.write(behind)

    served.settled(tape.run, 3)
    told = wait_until(lambda: (run := served.json(f"/api/v1/runs/{tape.run}")["run"])["state"] == "failed" and run)
    read = next(row for row in TapesSource(served.tapes).runs(100) if row.run == tape.run)

    assert (told["state"], told["status"], read.state) == ("failed", "errored", "failed")


def test_a_process_that_said_that_it_stopped_is_ended_for_every_reader_without_an_end_line(served: Served, tape):
    tape.append(3)
    tape.write(encode_line(tape.event("telemetry.session.stop", status="success")))

    served.settled(tape.run, 4)
    told = wait_until(lambda: (run := served.json(f"/api/v1/runs/{tape.run}")["run"])["state"] == "ended" and run)
    read = next(row for row in TapesSource(served.tapes).runs(100) if row.run == tape.run)

    assert (told["status"], read.state) == ("success", "ended")


def test_what_a_process_dropped_is_in_the_ledger_by_reason(served: Served, tape):
    tape.append(7)
    tape.end(dropped={"queue_full": 4})

    ledger = served.settled(tape.run, 7)

    assert ledger == {"recorded": 11, "stored": 7, "pending": 0, "rejected": 0, "dropped": {"queue_full": 4}}


def test_a_line_that_vanished_from_a_closed_tape_shows(served: Served, tape):
    tape.append(5)
    tape.event()  # recorded, and on no tape
    tape.append(5)
    tape.end()

    ledger = served.settled(tape.run, 10)

    assert ledger["recorded"] == 11  # and nothing is made up for the one that is missing
    assert ledger["rejected"] == 0 and ledger["dropped"] == {}


def test_what_a_killed_process_left_out_has_no_reason(served: Served, tape):
    tape.append(5)
    tape.event()
    tape.append(5)

    ledger = served.settled(tape.run, 10)

    assert ledger == {"recorded": 11, "stored": 10, "pending": 0, "rejected": 0, "dropped": {"unknown": 1}}


def test_a_file_without_rights_stops_no_other(served: Served, tape):
    if os.geteuid() == 0:
        broken = WrittenTape(served.tapes)
        broken.path.unlink()
        broken.path.symlink_to("/nowhere/at/all")
    else:
        broken = WrittenTape(served.tapes)
        broken.path.chmod(0)
    folder = served.tapes / tape.run / "folder.jsonl"
    folder.mkdir()

    tape.append(3)

    assert served.settled(tape.run, 3) == {"recorded": 3, "stored": 3, **BALANCED}


def test_what_comes_both_ways_is_stored_once(served: Served, tape):
    lines = [encode_line(tape.event()) for _ in range(40)]
    assert served.post(tape.body(lines[:30])) == ACCEPTED

    tape.write(b"".join(lines))
    assert served.post(tape.body(lines[20:])) == ACCEPTED
    tape.end()

    assert served.settled(tape.run, 40) == {"recorded": 40, "stored": 40, **BALANCED}
    assert [line["event_session_index"] for line in served.events(tape.run)] == list(range(40))


def at_another_time(event: Event) -> bytes:
    return encode_line(msgspec.structs.replace(event, time_ns=event.time_ns + 10**9))


def test_an_index_that_came_twice_hides_no_hole(collector: Served, tmp_path):
    collector.start()
    far = WrittenTape(tmp_path)
    zero, one, two = (far.event() for _ in range(3))
    assert collector.post(far.body([encode_line(zero), at_another_time(zero), encode_line(two)])) == ACCEPTED
    wait_until(lambda: collector.ledger(far.run)["stored"] == 2)
    collector.stop()
    collector.start()

    assert collector.post(far.body([encode_line(one)])) == ACCEPTED

    assert collector.settled(far.run, 3) == {"recorded": 3, "stored": 3, **BALANCED}


def test_an_event_that_comes_again_with_another_time_is_one(served: Served, tape, tmp_path):
    events = [tape.event() for _ in range(6)]
    lines = [encode_line(event) for event in events]
    assert served.post(tape.body(lines)) == ACCEPTED
    served.settled(tape.run, 6)

    tape.write(b"".join(at_another_time(event) for event in events))
    tape.append(1)
    tape.end()

    assert served.settled(tape.run, 7) == {"recorded": 7, "stored": 7, **BALANCED}
    assert [line["timestamp"] for line in served.events(tape.run)][:6] == [
        json.loads(line)["timestamp"] for line in lines
    ]
    page = served.json(f"/api/v1/runs/{tape.run}")
    assert (page["run"]["events"], page["report"]["events"]) == (7, 7)


def test_a_plain_event_that_comes_again_with_another_time_is_one(served: Served, session):
    event = wire_event(0)
    for stamp in ("2026-11-01T00:00:00Z", "2026-11-01T00:00:01Z", "2026-12-01T00:00:00Z"):
        assert served.post(wire_body(session, [{**event, "timestamp": stamp}])) == ACCEPTED
    assert served.post(wire_body(session, [wire_event(1)])) == ACCEPTED

    assert served.settled(session, 2) == {"recorded": 2, "stored": 2, **BALANCED}
    assert served.events(session)[0]["timestamp"].startswith("2026-11-01T00:00:00")


def test_what_a_far_process_says_it_has_is_pending(served: Served, tmp_path):
    far = WrittenTape(tmp_path)
    lines = [encode_line(far.event()) for _ in range(10)]

    served.post(far.body(lines[:4], ledger={"recorded": 10, "dropped": {}}))

    wait_until(
        lambda: served.ledger(far.run) == {"recorded": 10, "stored": 4, "pending": 6, "rejected": 0, "dropped": {}},
        otherwise=lambda: served.ledger(far.run),
    )
    served.post(far.body(lines[4:], ledger={"recorded": 10, "dropped": {}, "closed": "success"}))
    assert served.settled(far.run, 10) == {"recorded": 10, "stored": 10, **BALANCED}


@pytest.mark.parametrize("order", ["session first", "events first"])
def test_a_sessions_own_bodies_are_filed_under_its_run(served: Served, tape, session, order):
    body = wire_body(session, [wire_event(index) for index in range(5)])
    if order == "events first":
        served.post(body)
        served.settled(session, 5)

    tape.write(encode_line(tape.event("tinker.session.create", session_id=session, status="success")))
    served.settled(tape.run, 6 if order == "events first" else 1)
    if order == "session first":
        served.post(body)

    served.settled(tape.run, 6)
    wait_until(lambda: served.events(session) == [])
    wait_until(lambda: session not in {row["run"] for row in served.json("/api/v1/runs")})
    assert len(served.events(tape.run)) == 6


def test_two_processes_of_a_run_are_one_run(served: Served, tape):
    child = WrittenTape(served.tapes, tape.run)
    for _ in range(5):
        tape.append(3)
        child.append(2)
    child.end()
    tape.end("errored")

    served.settled(tape.run, 25)
    page = wait_until(lambda: (found := served.json(f"/api/v1/runs/{tape.run}"))["run"]["state"] == "failed" and found)
    assert page["report"]["processes"] == 2
    by_process = [(line["process"], line["event_session_index"]) for line in served.events(tape.run)]
    assert [index for process, index in by_process if process == tape.process] == list(range(15))


def test_an_old_closed_run_is_never_killed_while_it_is_loaded(collector: Served):
    old = WrittenTape(collector.tapes, wall_ns=OLD_NS)
    old.write(b"".join(encode_line(old.event(at_ns=OLD_NS)) for _ in range(60_000)))
    old.end()
    collector.start()

    def states() -> set[str]:
        return {row["state"] for row in collector.json("/api/v1/runs")}

    met: set[str] = set()
    wait_until(lambda: met.update(states()) or "ended" in met, within_s=60, every_s=0.05, otherwise=lambda: met)
    assert met <= {"running", "ended"}  # how long it is "running" is up to the loader


def test_a_file_that_comes_late_into_an_old_folder_is_found(served: Served, tape):
    tape.append(2)
    tape.end()
    served.settled(tape.run, 2)
    os.utime(tape.path.parent, (1, 1))
    served.settled(tape.run, 2)

    child = WrittenTape(served.tapes, tape.run)
    child.append(3)

    assert served.settled(tape.run, 5) == {"recorded": 5, "stored": 5, **BALANCED}


def test_a_failure_of_our_own_does_not_end_the_loading(tmp_path: Path):
    class Failing(KeptStore):
        failures = 0

        def insert(self, events):
            if self.failures < 2:
                self.failures += 1
                raise ValueError("a mistake of ours")
            super().insert(events)

    tape = WrittenTape(tmp_path / "tapes")
    tape.append(3)
    store = Failing()
    loader = Loader(store, tmp_path / "inbox", tmp_path / "tapes")
    loader.start()

    wait_until(lambda: len(store.events) == 3)
    loader.close()
    assert store.failures == 2


def test_a_process_is_stored_in_its_order_however_many_segments_its_tape_has(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tinkertape.collector.loader.ROWS_MAX", 20)
    tape = WrittenTape(tmp_path / "tapes")
    first = tape.path
    for segment in (1, 2, 3):
        tape.path = first.with_name(f"{tape.process}-{segment:05d}.jsonl")
        tape.append(50)
        tape.write(b'{"torn":' if segment == 2 else b"")  # nothing will follow it there
    store = KeptStore()
    loader = Loader(store, tmp_path / "inbox", tmp_path / "tapes")

    loader.load_all(lambda done, whole: None)

    assert [index for _process, index, _id in store.events] == list(range(150))


def test_what_a_killed_collector_received_is_stored_before_what_the_next_one_did(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tinkertape.collector.loader.ROWS_MAX", 20)
    tape = WrittenTape(tmp_path / "elsewhere")
    for collector in ("c0", "b1", "a2"):  # the later, the earlier by name
        inbox = WrittenTape(tmp_path / "inbox")
        inbox.write(b"".join(encode_line(tape.event()) for _ in range(50)))
        inbox.path.rename(tmp_path / "inbox" / f"{collector * 8}-00001.jsonl")
    store = KeptStore()

    Loader(store, tmp_path / "inbox", None).load_all(lambda done, whole: None)

    assert [index for _process, index, _id in store.events] == list(range(150))


def test_what_is_there_is_loaded_to_its_end_by_whoever_goes_on(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tinkertape.collector.loader.ROWS_MAX", 20)
    tape = WrittenTape(tmp_path / "tapes")
    tape.append(100)
    store = KeptStore()
    cut_off = Loader(store, tmp_path / "inbox", tmp_path / "tapes")
    for _ in range(3):
        cut_off.turn()

    Loader(store, tmp_path / "inbox", tmp_path / "tapes").load_all(lambda done, whole: None)

    assert len(store.events) == 100


def test_what_is_removed_for_lack_of_room_after_its_process_ended_is_known_as_that(served: Served):
    run = new_ulid()
    aside, folder = served.folder / "aside" / run, served.tapes / run
    recorder = Recorder(aside, run, segment_max=10_000)
    for number in range(100):
        recorder.log("my.event", {"number": number, "padding": "x" * 200})
        recorder.flush()
    recorder.close()
    assert recorder._upkeep.wait(60)  # it holds what it compresses
    [*closed, last] = segment_files(aside)
    make_room(aside, closed, 0)
    there = sum(1 for _ in open_tape(aside))
    folder.mkdir(parents=True)

    last.rename(folder / last.name)
    told = served.settled(run, there)
    for mark in aside.glob("*.removed"):
        mark.rename(folder / mark.name)

    known = {**told, "dropped": {"space": 100 - there}}
    wait_until(lambda: served.ledger(run) == known, otherwise=lambda: served.ledger(run))
    assert known == {"recorded": 100, "stored": there, "pending": 0, "rejected": 0, "dropped": {"space": 100 - there}}
