"""From a body to lines: without secrets, each event once, whatever the body looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.collector.conftest import DATA, wire_body, wire_event

from tinkertape.collector import intake as intake_module
from tinkertape.collector.elements import elements, members
from tinkertape.collector.identity import identity, safe_run
from tinkertape.collector.intake import EVENTS_MAX, BadBody, Intake, TooManyEvents, take_in

SECRET = "tml-abcdefghijklmnop0123456789"
SDK_FILES = sorted(DATA.glob("*.jsonl"))
OTHER = "tml-zyxwvutsrqponmlk9876543210"


def taken(body: dict[str, Any]) -> Intake:
    return take_in(json.dumps(body).encode())


def lines_of(intake: Intake) -> list[dict[str, Any]]:
    return [json.loads(line) for line in intake.lines.splitlines()]


@pytest.mark.parametrize("field", ["session_id", "process_uuid", "sdk_version", "project", "platform"])
@pytest.mark.parametrize(
    "value", [SECRET, f"Bearer {SECRET}", f"{'x' * 190} {SECRET}", {"key": SECRET}, [SECRET]], ids=str
)
def test_a_secret_in_a_field_of_the_body_is_not_kept(field, value):
    intake = taken(wire_body("s", [wire_event(0), 7], **{field: value}))

    assert b"tml-" not in intake.lines


@pytest.mark.parametrize("field", ["session_id", "process_uuid"])
def test_two_secret_ids_do_not_become_one(field):
    first, second = (taken(wire_body("s", [wire_event(0)], **{field: secret})) for secret in (SECRET, OTHER))

    key = {"session_id": "run", "process_uuid": "process"}[field]
    [one], [two] = lines_of(first), lines_of(second)
    assert one[key] != two[key]
    assert "redacted" in one[key]


def test_two_secret_event_ids_do_not_become_one():
    events = [wire_event(0, event_id=SECRET), wire_event(0, event_id=OTHER)]
    bad = [{**event, "event_data": {"a": deep()}} for event in events]

    intake = taken(wire_body("s", events + bad))

    one, two, three, four = lines_of(intake)
    assert b"tml-" not in intake.lines
    assert one["event_id"] != two["event_id"]
    assert three["rejected"]["id"] != four["rejected"]["id"]


def test_a_secret_across_the_cut_of_what_is_set_aside_is_not_kept():
    intake = taken(wire_body("s", ["x" * 1_985 + " " + SECRET]))

    assert b"tml-" not in intake.lines


@pytest.mark.parametrize("key", ["run", "process", "session_id", "project", "sdk_version", "name"])
def test_a_secret_in_a_header_or_a_ledger_is_not_kept(key):
    header = {"tape": 1, "run": "r", "process": "p", key: SECRET}

    intake = taken(wire_body("s", [wire_event(0)], tape=header, ledger={"recorded": 1, "status": SECRET}))

    assert intake.header is not None
    assert b"tml-" not in intake.header + intake.lines


def test_equal_events_without_an_id_are_told_apart_and_alike_when_sent_again():
    nameless = {key: value for key, value in wire_event(0).items() if key != "event_id"}
    body = wire_body("s", [7, 7, 7, nameless, nameless])

    first, again = taken(body), taken(body)

    ids = [line["rejected"]["id"] if "rejected" in line else line["event_id"] for line in lines_of(first)]
    assert len(set(ids)) == 5
    assert first == again


def deep(levels: int = 100) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("levels", [100, 900, 5_000, 100_000])
def test_an_event_nested_without_end_is_set_aside_and_its_neighbours_are_kept(levels):
    bad = b'{"event":"GENERIC_EVENT","event_data":%s1%s}' % (b'{"a":' * levels, b"}" * levels)
    good = [json.dumps(wire_event(index, event_name='a"],[\\')).encode() for index in (0, 1)]
    body = b'{"sdk_version":"0.38.0","events":[%s, %s ,%s],"session_id":"s"}' % (good[0], bad, good[1])

    intake = take_in(body)

    first, second, third = lines_of(intake)
    assert (intake.events, intake.rejected) == (3, 1)
    assert "nested deeper than 64" in second["rejected"]["reason"]
    assert [line["event_session_index"] for line in (first, third)] == [0, 1]
    assert (first["run"], first["sdk_version"]) == ("s", "0.38.0")


@pytest.mark.parametrize("field", ["tape", "ledger", "sdk_version", "session_id", "other"])
@pytest.mark.parametrize("levels", [100, 900, 100_000])
def test_a_field_nested_without_end_fails_no_event(field, levels):
    value = b'{"a":' * levels + b"1" + b"}" * levels
    body = b'{"%s":%s,"events":[%s]}' % (field.encode(), value, json.dumps(wire_event(0)).encode())

    assert take_in(body).rejected == 0


@pytest.mark.parametrize("event", [b"0", b"{}", b"[]", b'""', b'{"a":NaN}', b'"\\ud800"'], ids=repr)
def test_a_body_of_too_many_events_is_not_taken(event):
    body = b'{"events":[%s],"session_id":"s"}' % b",".join([event] * (EVENTS_MAX + 1))

    with pytest.raises(TooManyEvents, match="more than 20,000 events; send fewer at once"):
        take_in(body)


def test_as_many_small_objects_as_fit_are_counted_without_being_made():
    with pytest.raises(TooManyEvents):
        take_in(b'{"events":[%s{}]}' % (b"{}," * 1_300_000))


def test_a_body_of_the_most_events_is_taken():
    assert take_in(b'{"events":[%s0]}' % (b"0," * (EVENTS_MAX - 1))).rejected == EVENTS_MAX


@pytest.mark.parametrize("text", [b'{"events":[{"a":1e999},]}', b'{"events":[{"a":nul}]}'])
def test_an_element_that_is_no_json_is_set_aside(text):
    assert take_in(text).rejected >= 1


@pytest.mark.parametrize("body", [b'{"events":[NaN}', b'{"events":[NaN]', b'{"events":[NaN]}}', b'{NaN,"events":[]}'])
def test_a_body_that_is_no_json_is_told_so(body):
    with pytest.raises(BadBody, match="the body is no JSON"):
        take_in(body)


@pytest.mark.parametrize("text", ["a", "session_0-1:2.3", "x" * 128, "...", "-"])
def test_a_session_that_can_stand_in_an_address_is_the_run(text):
    assert safe_run(text) == text


@pytest.mark.parametrize(
    "text", [".", "..", "foo/events", " ", "a\n", "a\n\x00", "é", "x" * 129, "%2e", "a?b", "a#b", "<b>", "٣"], ids=repr
)
def test_a_session_that_cannot_is_made_one_that_can(text):
    run = safe_run(text)

    assert safe_run(run) == run != text
    assert run != safe_run(text + "x")
    assert (
        run.rpartition("-")[0]
        == "".join(c if c.isascii() and (c.isalnum() or c in "._:-") else "_" for c in text)[:100]
    )


def test_long_ids_with_one_beginning_stay_two():
    assert identity("x" * 300 + "1") != identity("x" * 300 + "2")
    assert len(identity("x" * 300)) == 200


def test_the_session_itself_stays_in_the_event():
    [line] = lines_of(taken(wire_body("foo/events", [wire_event(0)])))

    assert line["session_id"] == "foo/events"
    assert line["run"] == safe_run("foo/events")


def test_elements_are_cut_where_they_end():
    assert list(elements(b' [1, "a,]\\"", {"b":[2,3]} ,[] ] ')) == [b"1", b' "a,]\\""', b' {"b":[2,3]} ', b"[] "]
    assert list(elements(b"[ ]")) == []
    assert members(b'{"a":{"b":1},"c": "}"}') == {b"a": b'{"b":1}', b"c": b'"}"'}


@pytest.mark.parametrize("text", [b"", b"1", b"[1", b"[1}", b"[1]]", b"x[1]", b'["]', b'["\\'])
def test_what_has_no_end_has_no_elements(text):
    with pytest.raises(ValueError):
        list(elements(text))


def test_a_string_that_never_ends_is_read_once():  # else 2 MB of it would take hours
    with pytest.raises(ValueError):
        list(elements(b'["' + b'\\"' * 1_000_000))


@pytest.mark.parametrize("path", SDK_FILES, ids=lambda path: path.stem)
def test_a_body_is_decoded_whole_and_event_by_event_only_when_that_fails(path, monkeypatch):
    one_by_one: list[bytes] = []
    leniently = intake_module._decode_leniently
    monkeypatch.setattr(intake_module, "_decode_leniently", lambda raw: one_by_one.append(raw) or leniently(raw))
    good = json.loads(path.read_bytes().splitlines()[0])
    bad = {**good, "events": [*good["events"], "no event"]}

    whole, apart = taken(good), taken(bad)

    assert one_by_one == [json.dumps(bad).encode()]
    assert lines_of(apart)[:-1] == lines_of(whole)  # its neighbours are none the worse
    assert (apart.events, apart.rejected) == (whole.events + 1, 1)
