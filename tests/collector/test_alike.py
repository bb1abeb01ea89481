"""A body of nothing but known events is turned into lines without being decoded, and says the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.collector.conftest import wire_body, wire_event

from tinkertape.collector import intake
from tinkertape.collector.alike import Alike
from tinkertape.collector.intake import BadBody, take_in
from tinkertape.collector.known import Forms

OFTEN = 5  # times, then a body of such events is known


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_forms", Forms())
    monkeypatch.setattr(intake, "_alike", Alike())


def body_of(data: Any, number: int = 0, count: int = 3, **dumps: Any) -> bytes:
    indexes = range(10 + count * number, 10 + count * (number + 1))
    events = [wire_event(index, event_id=f"{index:08x}-4cc1", event_data={"given": data}) for index in indexes]
    return json.dumps(wire_body("s", events), **dumps).encode()


@pytest.fixture
def not_decoded(monkeypatch: pytest.MonkeyPatch):
    """From now on no event is decoded."""

    def forbid() -> None:
        monkeypatch.setattr(intake, "glanced", None)
        monkeypatch.setattr(intake, "_body_decoder", None)

    return forbid


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")], ids=["blanks", "none"])
def test_a_body_like_those_before_is_not_decoded(separators: tuple[str, str], not_decoded):
    first = [json.loads(line) for line in take_in(body_of("plain", 0, separators=separators)).lines.splitlines()]
    for number in range(OFTEN):
        take_in(body_of("plain", number, separators=separators))
    not_decoded()

    taken = take_in(body_of("plain", 0, separators=separators))
    more = take_in(body_of("plain", 7, count=9, separators=separators))

    varying = {"timestamp": ""}  # made by `wire_event` anew
    assert [json.loads(line) | varying for line in taken.lines.splitlines()] == [line | varying for line in first]
    assert (taken.events, taken.rejected, taken.header) == (3, 0, None)
    assert [json.loads(line)["event_session_index"] for line in more.lines.splitlines()] == list(range(73, 82))


@pytest.mark.parametrize("data", ["a}, {b", "a}]b", [{"a": 1}, {"b": 2}], [[{}]], "\n"], ids=repr)
def test_what_looks_like_the_end_of_an_event_is_none(data: Any):
    for number in range(OFTEN):
        lines = take_in(body_of(data, number)).lines.splitlines()
        assert [json.loads(line)["event_data"] for line in lines] == [{"given": data}] * 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"}, {", b"}\n, {"),
        (b"}, {", b"\n"),
        (b"}, {", b"}, , {"),
        (b"}]", b"}"),
        (b'"platform"', b'platform"'),
        (b'"platform"', b'"events": [], "platform"'),
    ],
    ids=repr,
)
def test_a_body_that_is_none_is_none_however_known_its_events_are(before: bytes, after: bytes):
    fresh = outcome(body_of("plain", 8).replace(before, after, 1))
    for number in range(OFTEN):
        take_in(body_of("plain", number))

    assert outcome(body_of("plain", 8).replace(before, after, 1)) == fresh


def outcome(body: bytes) -> tuple[int, int] | str:
    try:
        taken = take_in(body)
    except BadBody as reason:
        return str(reason)
    return taken.events, taken.rejected
