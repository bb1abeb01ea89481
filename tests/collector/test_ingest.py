"""What comes over the wire is accepted, stored once, and never fails its body."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import stat

import msgspec
import pytest
from tests.collector.conftest import (
    ACCEPTED,
    DATA,
    NOTHING,
    Served,
    WrittenTape,
    files_with,
    paths_below,
    wire_body,
    wire_event,
)
from tests.waiting import wait_until

from tinkertape.delivery import foreign
from tinkertape.tape.format import encode_line

SDK_FILES = sorted(DATA.glob("*.jsonl"))


@pytest.mark.parametrize("path", SDK_FILES, ids=lambda path: path.stem)
def test_every_body_of_a_real_sdk_is_accepted_and_every_event_stored(served: Served, path):
    bodies = path.read_bytes().splitlines()
    sent: dict[str, set[str]] = {}
    for body in bodies:
        assert served.post(body) == ACCEPTED
        decoded = json.loads(body)
        sent.setdefault(decoded["session_id"], set()).update(event["event_id"] for event in decoded["events"])

    for session, ids in sent.items():
        served.settled(session, len(ids))
        stored = served.events(session)
        assert sorted(event["event_id"] for event in stored) == sorted(ids)
        assert {event["sdk_version"] for event in stored} == {path.stem.removeprefix("sdk-")}


def test_there_are_four_sdks():
    assert len(SDK_FILES) == 4


def test_what_an_sdk_sent_comes_back_as_it_was(served: Served, session):
    event = wire_event(3, event_data={"a": None, "n": {"c": [1, 2.5, "é"]}}, severity="ERROR")
    end = {"event": "SESSION_END", "event_id": "end", "event_session_index": 4, "severity": "INFO"}
    end |= {"timestamp": "2026-11-24T02:24:42Z", "duration": "0:00:00.061454"}

    served.post(wire_body(session, [event, end]))

    served.settled(session, 2)
    first, last = sorted(served.events(session), key=lambda line: line["event_session_index"])
    assert {key: first[key] for key in event} == event
    assert first["session_id"] == first["run"] == session
    assert last["event_data"] == {"duration": "0:00:00.061454"}


def test_a_batch_sent_again_is_stored_once(served: Served, session):
    body = wire_body(session, [wire_event(index) for index in range(50)])

    answers = [served.post(body) for _ in range(5)]

    assert answers == [ACCEPTED] * 5
    ledger = served.settled(session, 50)
    assert ledger == {"recorded": 50, "stored": 50, "pending": 0, "rejected": 0, "dropped": {}}
    assert len(served.events(session)) == 50


def test_two_clients_of_one_session_may_count_alike(served: Served, session):
    served.post(wire_body(session, [wire_event(0), wire_event(0), wire_event(1)]))

    assert served.settled(session, 3)["recorded"] == 3


@pytest.mark.parametrize(
    "bad",
    [
        b"1",
        b"null",
        b'"text"',
        b"[]",
        b"{}",
        b'{"event":"GENERIC_EVENT"}',
        b'{"event":7,"event_session_index":1}',
        b'{"event":"GENERIC_EVENT","event_session_index":-5,"timestamp":"2026-01-01T00:00:00Z"}',
        b'{"event":"GENERIC_EVENT","event_session_index":1,"timestamp":"yesterday"}',
        b'{"event":"GENERIC_EVENT","event_session_index":1,"timestamp":"0001-01-01T00:00:00Z"}',
        b'{"event":"GENERIC_EVENT","event_session_index":99999999999999999999999,"timestamp":"2026-01-01T00:00:00Z"}',
        b'{"event":"GENERIC_EVENT","event_session_index":1,"timestamp":"2026-01-01T00:00:00Z","event_name":"%s"}'
        % (b"x" * 500),
        b'{"event":"GENERIC_EVENT","event_data":{"a":1e999},"event_session_index":1}',
        b'{"event":"GENERIC_EVENT","event_data":%s1%s}' % (b'{"a":' * 100, b"}" * 100),
    ],
    ids=lambda raw: raw[:60].decode(),
)  # fmt: skip
def test_a_bad_event_is_set_aside_and_its_neighbours_are_stored(served: Served, session, bad):
    body = b'{"events":[%s,%s,%s],"session_id":"%s"}' % (
        json.dumps(wire_event(0)).encode(),
        bad,
        json.dumps(wire_event(1)).encode(),
        session.encode(),
    )

    answers = [served.post(body), served.post(body)]

    assert answers == [ACCEPTED, ACCEPTED]
    ledger = wait_until(
        lambda: (
            (found := served.ledger(session))["pending"] == 0 and found["rejected"] and found["stored"] == 2 and found
        ),
        otherwise=lambda: served.ledger(session),
    )
    assert ledger["recorded"] == ledger["stored"] + ledger["rejected"]


@pytest.mark.parametrize(
    "data",
    [b'{"x":"\\ud800"}', b'{"x":NaN,"y":-Infinity}', b"null", b"[1,2]", b'"text"', b"3"],
    ids=repr,
)
def test_data_that_only_python_would_write_is_stored(served: Served, session, data):
    event = b'{"event":"GENERIC_EVENT","event_id":"e","event_session_index":0,"timestamp":"2026-01-01T00:00:00Z",'
    body = b'{"events":[%s"event_data":%s}],"session_id":"%s"}' % (event, data, session.encode())

    assert served.post(body) == ACCEPTED

    served.settled(session, 1)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", b"the body is no JSON\n"),
        (b"nonsense", b"the body is no JSON\n"),
        (b'{"events":[', b"the body is no JSON\n"),
        (b"[]", b'the body has no list "events"\n'),
        (b"3", b'the body has no list "events"\n'),
        (b"{}", b'the body has no list "events"\n'),
        (b'{"events":{}}', b'the body has no list "events"\n'),
        (b'{"events":%s}' % (b"[" * 100_000), b"the body is no JSON\n"),
        (b"[" * 1_000_000, b'the body has no list "events"\n'),
        (b'{"events":[{"event":"\xff"}]}', b"the body is no UTF-8 at byte 21, so no JSON\n"),
        (b'{"events":[],"x":"\xed\xa0\x80"}', b"the body is no UTF-8 at byte 18, so no JSON\n"),
        (b'\xff{"events":[]}', b"the body is no UTF-8 at byte 0, so no JSON\n"),
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_a_body_without_events_is_one_line(served: Served, body, line):
    assert served.post(body) == (400, line)


def test_the_fields_of_a_body_may_have_odd_types(served: Served, session):
    body = wire_body(session, [wire_event(0)], sdk_version=38, platform=None, process_uuid=[], more={"x": 1})

    assert served.post(body) == ACCEPTED

    served.settled(session, 1)


def test_a_gzip_body_is_unpacked(served: Served, session):
    body = gzip.compress(json.dumps(wire_body(session, [wire_event(0)])).encode())

    assert served.post(body, Content_Encoding="gzip") == ACCEPTED

    served.settled(session, 1)


def test_a_secret_reaches_neither_inbox_nor_store(served: Served, session):
    secret = "tml-abcdefghijklmnop0123456789"
    data = {"request_headers": {"x-api-key": secret}, "exception_stack": f"KeyError: Bearer {secret}"}
    served.post(wire_body(session, [wire_event(0, event_data=data), {"event_id": secret, "text": secret}, secret]))

    served.settled(session, 1)

    assert files_with(secret, served.folder) == []
    assert "[redacted]" in json.dumps(served.events(session))


@pytest.mark.parametrize("field", ["session_id", "process_uuid", "sdk_version", "project", "platform"])
def test_a_secret_in_a_bodys_own_field_reaches_neither_inbox_nor_store(served: Served, session, field):
    secret = f"tml-{session.replace('_', '')}"
    served.post(wire_body(session, [wire_event(0), 7], **{field: f"Bearer {secret}"}))
    wait_until(lambda: served.ledger()["pending"] == 0, otherwise=served.ledger)

    assert files_with(secret, served.folder) == []


def test_an_inbox_that_was_removed_loses_nothing_that_comes_later(collector: Served, session):
    collector.start()
    collector.post(wire_body(session, [wire_event(0)]))
    collector.settled(session, 1)
    shutil.rmtree(collector.inbox)

    assert collector.post(wire_body(session, [wire_event(1)])) == ACCEPTED

    collector.settled(session, 2)


def test_a_whole_line_keeps_what_the_bus_knows(served: Served):
    tape = WrittenTape(served.folder / "elsewhere", name="far away", project="mine", sdk_version="0.38.0")
    events = [tape.event(request_id="r1", operation="sample") for _ in range(3)]
    lines = [encode_line(event) for event in events]

    assert served.post(tape.body(lines)) == ACCEPTED
    assert served.post(tape.body(lines, ledger={"recorded": 3, "dropped": {}, "closed": "success"})) == ACCEPTED

    served.settled(tape.run, 3)
    stored = served.events(tape.run)
    assert [line["measurements"] for line in stored] == [event.measurements for event in events]
    assert {line["project"] for line in stored} == {"mine"}
    row = wait_until(lambda: (row := served.json(f"/api/v1/runs/{tape.run}")["run"])["status"] and row)
    assert (row["name"], row["state"], row["status"], row["events"]) == ("far away", "ended", "success", 3)


@pytest.mark.parametrize("first", ["plain", "whole"])
def test_what_came_plain_and_whole_of_a_process_of_ours_is_stored_once(served: Served, first: str):
    tape = WrittenTape(served.folder / "elsewhere", sdk_version="0.38.0")
    lines = [encode_line(tape.event("my.event")) for _ in range(3)]
    plain = foreign.body([foreign.foreign_line(line) for line in lines], msgspec.to_builtins(tape.header))
    bodies = {"plain": plain, "whole": tape.body(lines, ledger={"recorded": 3, "dropped": {}, "closed": "success"})}

    for body in (bodies.pop(first), *bodies.values()):
        assert served.post(body) == ACCEPTED

    served.settled(tape.run, 3)
    assert served.ledger(tape.run) == {**NOTHING, "recorded": 3, "stored": 3}


def test_received_files_are_private(served: Served, session):
    served.post(wire_body(session, [wire_event(0)]))
    served.settled(session, 1)
    modes: dict[str, int] = {}
    for path in (*paths_below(served.inbox), *paths_below(served.store)):
        with contextlib.suppress(FileNotFoundError):  # merged away meanwhile
            modes[str(path)] = stat.S_IMODE(path.stat().st_mode)

    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
