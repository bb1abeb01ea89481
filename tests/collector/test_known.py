"""An event like one that was taken in before is taken in as it stands, and never with a secret in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.collector.conftest import DATA, wire_body, wire_event
from tests.test_redact_corpus import LOOK_ALIKES, SECRETS, kinds_of

from tinkertape.collector import intake
from tinkertape.collector.alike import Alike
from tinkertape.collector.intake import take_in
from tinkertape.collector.known import FORM_MAX, FORMS_MAX, Forms
from tinkertape.config import new_ulid
from tinkertape.redact import add, additions

DIGITS = str.maketrans("123456789", "0" * 9)
OFTEN = 6  # times; from the third on an event's form may be known, and two bodies later a body of nothing else


@pytest.fixture(autouse=True)
def forms(monkeypatch: pytest.MonkeyPatch) -> Forms:
    """Nothing is known when a test begins."""
    made = Forms()
    monkeypatch.setattr(intake, "_forms", made)
    monkeypatch.setattr(intake, "_alike", Alike())
    return made


def taken(*events: Any) -> bytes:
    return take_in(json.dumps(wire_body("s", list(events))).encode()).lines


def event_with(data: Any, index: int = 0) -> dict[str, Any]:
    return wire_event(index, event_data={"given": data})


@pytest.mark.parametrize("path", sorted(DATA.glob("*.jsonl")), ids=lambda path: path.stem)
def test_what_an_sdk_sends_says_the_same_when_it_is_known(path, forms: Forms):
    bodies = path.read_bytes().splitlines()
    first = [take_in(body) for body in bodies]

    for _ in range(OFTEN):
        again = [take_in(body) for body in bodies]

    assert len(forms._known) >= 3
    for one, other in zip(first, again, strict=True):
        assert [json.loads(line) for line in one.lines.splitlines()] == [
            json.loads(line) for line in other.lines.splitlines()
        ]
        assert (one.events, one.rejected, one.header) == (other.events, other.rejected, other.header)


def test_a_known_event_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch):
    def events(number: int) -> list[dict[str, Any]]:
        return [wire_event(number, event_data={"elapsed": 1.5 + number, "why": "Connection error."})]

    for number in (1, 2, 3):
        taken(*events(number))
    monkeypatch.setattr(intake, "redact", None)

    [line] = taken(*events(4)).splitlines()

    assert json.loads(line)["event_data"] == {"elapsed": 5.5, "why": "Connection error."}
    assert (json.loads(line)["run"], json.loads(line)["session_id"]) == ("s", "s")


@pytest.mark.parametrize("entry", SECRETS, ids=kinds_of(SECRETS))
def test_no_secret_comes_through_behind_one_that_differs_in_its_digits(entry: dict[str, Any]):
    harmless = json.loads(json.dumps(entry["data"]).translate(DIGITS))
    for _ in range(OFTEN):
        taken(event_with(harmless))

    lines = [taken(event_with(entry["data"])) for _ in range(OFTEN)]

    assert [entry["secret"].encode() in line for line in lines] == [False] * OFTEN


@pytest.mark.parametrize(("address", "known"), [("https://host:4711/a", 1), ("https://user:pw4711@host/a", 0)])
def test_an_address_is_known_where_nobody_stands_before_its_host(address: str, known: int, forms: Forms):
    for _ in range(OFTEN):
        line = taken(wire_event(0, event_data={"url": address}))

    assert len(forms._known) == known
    assert b"pw4711" not in line


@pytest.mark.parametrize("entry", LOOK_ALIKES, ids=kinds_of(LOOK_ALIKES))
def test_a_look_alike_stays_as_it_is_however_often_it_comes(entry: dict[str, Any]):
    lines = [json.loads(taken(event_with(entry["data"]))) for _ in range(OFTEN)]

    assert [line["event_data"]["given"] for line in lines] == [entry["data"]] * OFTEN


SECRET = b"tml-abcdefghijklmnop%04d"


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"\\u00%02dml-abcdefghijklmnop"}',  # an escape whose digits are a letter: \u0074 is a t
        b'{"a":"https:\\/\\/user:pass%02dword@host"}',
        b'{"a":"%%%02dmy"}',
        b'{"pass_word":"hunter%02d"}',
        b'{"sig":"Abcdef12345%02d"}',
        b'{"name":"x-pass-word","value":"hunter%02d"}',
    ],
    ids=repr,
)
def test_what_hides_letters_or_a_secrets_key_is_never_known(data: bytes, forms: Forms):
    for number in (10, 11, 12, 74):
        text = json.dumps(wire_body("s", [wire_event(0, event_data="@")])).encode().replace(b'"@"', data % number)

        lines = take_in(text).lines

        assert b"tml-" not in lines and b"pass74word" not in lines and b"hunter74" not in lines
    assert forms._known == {}


def test_a_key_that_stands_twice_hides_nothing():
    event = json.dumps(wire_event(0, event_data={})).encode()
    for number in range(OFTEN):
        twice = event.replace(b'"event_data": {}', b'"event_data":{"pad":"x%d"},"event_data":{}' % number)
        assert b'"pad"' not in take_in(json.dumps(wire_body("s", [])).encode().replace(b"[]", b"[%s]" % twice)).lines


def test_what_an_event_says_of_its_run_does_not_hold_however_often_it_comes():
    for number in range(OFTEN):
        [line] = taken(wire_event(number, run="another", process="p", project="q")).splitlines()
        assert (json.loads(line)["run"], json.loads(line).get("project")) == ("s", None)


@pytest.mark.parametrize("given", [7, "", None, 5.5, {"a": 1}, "a\\b", "\u2713", "x" * 300], ids=repr)
def test_an_odd_id_is_taken_as_it_was_before_its_form_was_known(given: Any, forms: Forms):
    odd = wire_event(0, event_id=given)
    before = taken(odd)
    for number in range(OFTEN):
        taken(wire_event(number))
    assert len(forms._known) == 1

    assert taken(odd).replace(odd["timestamp"].encode(), b"") == before.replace(odd["timestamp"].encode(), b"")


def test_a_secret_as_an_id_is_not_kept_however_often_it_comes():
    for number in range(OFTEN):
        assert b"tml-" not in taken(wire_event(number, event_id=(SECRET % number).decode()))


def test_where_rules_were_added_nothing_is_known():
    for number in range(OFTEN):
        taken(wire_event(number, event_data={"corp_pin": "abc", "rank": 7}))
    add(secret_keys=["corp_pin"])
    try:
        assert b'"abc"' not in taken(wire_event(0, event_data={"corp_pin": "abc", "rank": 7}))
    finally:
        additions.forget()


def test_what_is_remembered_is_bounded(forms: Forms):
    for number in range(FORMS_MAX + 10):
        event = wire_event(0, event_id=new_ulid(), event_data={"x" * (number % 97): "y" * (number // 97)})
        for _ in range(3):
            taken(event)
    long = wire_event(0, event_data="x" * FORM_MAX)
    for _ in range(OFTEN):
        taken(long)

    assert 0 < len(forms._known) <= FORMS_MAX
    assert max(map(len, forms._known)) <= FORM_MAX
