"""A line has the same bytes whether its event's form was known or not, and never a secret.

`line_of_any` redacts each event by itself; what `lines` makes is compared with it.
"""

from __future__ import annotations

import datetime
import json
import math
import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.test_redact_corpus import LOOK_ALIKES, SECRETS, kinds_of

from tinkertape.redact import add, additions
from tinkertape.redact.known import FORMS_MAX, HEX, MET_MAX, known
from tinkertape.redact.texts import MARK_WORDS
from tinkertape.tape import snapshot
from tinkertape.tape.snapshot import LineMaker, encode_snapshot

OFTEN = 3  # times; from the third on an event's form may be known
SIBLINGS = 3
DIGITS = HEX.decode()
PLAIN = {
    "operation": "sample",
    "request_id": "2098ac9b-e462-4024-86f1-b055ca7ac23f",
    "url_path": "/api/v1/retrieve_future",
    "transport": "AsyncPyqwestTransport",
    "error": None,
    "tries": 1,
}


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    additions.forget()
    yield
    additions.forget()


def snapshot_of(
    data: Any, measurements: Any = None, *, name: str = "a.stop", scope: Any = None, is_log: bool = False
) -> bytes:
    measurements = None if is_log else measurements or {}
    return encode_snapshot((1_795_909_399, name, data, scope, None, "INFO", measurements))


def lines_of(snapshots: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The lines of these in turn; and those that they have alone."""
    maker, lines, alone = LineMaker("run-1", "0123456789abcdef"), [], []
    for index, one in enumerate(snapshots):
        lines += maker.lines([one], index)
        alone.append(maker.line_of_any(one, index))
    return lines, alone


def sibling(value: Any, chance: random.Random | None) -> Any:
    """The same without digits, and letters that stand for digits, in its texts and keys; by chance with others."""
    if isinstance(value, str):
        kept = value.encode().translate(None, HEX).decode()
        if chance is None:
            return kept
        return "".join(chance.choice(("", chance.choice(DIGITS))) + sign for sign in kept)
    if isinstance(value, dict):
        return {sibling(key, chance): sibling(item, chance) for key, item in value.items()}
    return [sibling(item, chance) for item in value] if isinstance(value, list) else value


def carriers(data: Any) -> list[bytes]:
    """Events that carry it."""
    if isinstance(data, dict):
        return [snapshot_of(data), snapshot_of({"n": 1}, scope=data), snapshot_of(data, is_log=True)]
    return [snapshot_of({"given": data}), snapshot_of({"given": [data]}), snapshot_of({}, name=str(data)[:2000])]


@pytest.mark.parametrize("entry", SECRETS + LOOK_ALIKES, ids=kinds_of(SECRETS + LOOK_ALIKES))
def test_a_secret_is_found_in_an_event_whose_form_is_that_of_harmless_ones(entry: dict[str, Any]) -> None:
    chance = random.Random(entry["kind"])
    alike = [sibling(entry["data"], None), *(sibling(entry["data"], chance) for _ in range(SIBLINGS))]
    snapshots = [one for data in alike for _ in range(OFTEN) for one in carriers(data)]

    lines, alone = lines_of(snapshots + carriers(entry["data"]))

    assert lines == alone
    if entry in SECRETS:
        assert entry["secret"].encode() not in b"".join(lines[len(snapshots) :])


@pytest.mark.parametrize(
    ("harmless", "secret"),
    [
        ({"token": ""}, {"token": "0123456789abcdef0123"}),
        ({"name": "pw", "value": "hunter"}, {"name": "pwd", "value": "hunter"}),
        ({"argv": ["--pss-wor", "hunter"]}, {"argv": ["--pass-word", "hunter"]}),
        ({"text": "%Dtml-wxyz"}, {"text": "%3Dtml-wxyz"}),
        ({"text": r"\dntml-wxyz"}, {"text": r"\ntml-wxyz"}),
        ({"text": "pssw: hunter"}, {"text": "passwd: hunter"}),
        ({"pssw": "hunter"}, {"passwd": "hunter"}),
    ],
)
def test_what_makes_a_secret_of_a_harmless_form_is_seen(harmless: dict[str, Any], secret: dict[str, Any]) -> None:
    lines, alone = lines_of([*(snapshot_of(harmless) for _ in range(OFTEN)), snapshot_of(secret)])

    assert lines == alone
    assert b"[redacted]" not in lines[0]
    assert b"[redacted]" in lines[-1]


SPOKEN = "flag batch_ error path user train name value sig -u --user curl".split()  # noqa: SIM905  read more easily so
WORDS = [*MARK_WORDS, *SPOKEN]
SIGNS = [*':=, %<>/@.-_"\\\n', "é", "->", "[", "{"]
PIECES = st.one_of(st.sampled_from(WORDS), st.sampled_from(SIGNS), st.text(DIGITS, max_size=12))
TEXTS = st.lists(PIECES, max_size=6).map("".join)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    TEXTS,
    st.lists(st.one_of(TEXTS, st.integers(0, 9)), max_size=3),
    st.binary(max_size=3),
)
DICTS = st.dictionaries(st.one_of(st.sampled_from(sorted(PLAIN)), TEXTS), VALUES, max_size=4)


@settings(max_examples=60)
@given(DICTS, st.dictionaries(TEXTS, VALUES, max_size=2), st.sampled_from(SECRETS), st.randoms(use_true_random=False))
def test_every_event_has_the_line_that_it_would_have_alone(
    data: dict[str, Any], scope: dict[str, Any], entry: dict[str, Any], chance: random.Random
) -> None:
    whole = {**data, "given": entry["data"]}
    alike = [sibling(whole, None), sibling(whole, chance), sibling(data, chance), data, sibling(data, chance), whole]

    lines, alone = lines_of(
        snapshot_of(said, {"duration": 5}, scope=scope, is_log=is_log)
        for is_log in (False, True)
        for said in alike
        for _ in range(OFTEN)
    )

    assert lines == alone


def test_an_event_of_a_known_form_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = LineMaker("run-1", "0123456789abcdef")
    maker.lines([snapshot_of(PLAIN, {"duration": 5})] * 2, 0)
    monkeypatch.setattr(snapshot, "redact", None)  # whoever called it would fail, and leave the line out

    other = {**PLAIN, "request_id": "fee1dead-0000-4024-86f1-000000000000", "tries": 47_000}
    assert len(maker.lines([snapshot_of(other, {"duration": 5_000_000})], 2)) == 1


MOMENT = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "odd",
    [math.nan, math.inf, b"tml-secret-key", bytearray(b"A"), MOMENT, {"x": 1}, [[1]], ()],
    ids=repr,
)
def test_what_json_says_otherwise_is_rendered_where_its_place_was_plain_before(odd: Any) -> None:
    plain = [None, "", "dG1sLXNlY3JldC1rZXk=", [], 1]
    snapshots = [snapshot_of({"given": value}, is_log=is_log) for value in plain for is_log in (False, True)] * OFTEN

    lines, alone = lines_of([*snapshots, snapshot_of({"given": odd}), snapshot_of({"given": odd}, is_log=True)])

    assert lines == alone


@pytest.mark.parametrize(
    "data", [None, {}, "a text", 5, ["list"], {1: "a number for a key"}, {"deep": {"api_key": "x"}}]
)
def test_data_of_any_kind_has_its_line(data: Any) -> None:
    lines, alone = lines_of([snapshot_of(data, is_log=is_log) for is_log in (True, False)] * OFTEN)

    assert lines == alone


def test_a_snapshot_that_is_none_is_left_out_and_the_others_keep_their_numbers() -> None:
    lines = LineMaker("run-1", "0123456789abcdef").lines([snapshot_of({}), b"\xc1", snapshot_of({})], 4)

    assert [json.loads(line)["event_session_index"] for line in lines] == [4, 6]


def test_what_is_added_is_a_secret_in_events_whose_form_was_known() -> None:
    event = snapshot_of({"corp_pin": "hunter22", "request_id": "LIC-12345678"})
    before, _ = lines_of([event] * OFTEN)
    assert known

    add(secret_keys=["corp_pin"], secret_shapes=[r"LIC-\d{8}"])

    assert b"hunter22" in before[-1]
    for line in lines_of([event] * OFTEN)[0]:
        assert b"hunter22" not in line
        assert b"LIC-1" not in line
    assert not known


def test_what_is_known_is_bounded() -> None:
    maker = LineMaker("run-1", "0123456789abcdef")
    names = ["".join(chr(ord("g") + int(digit)) for digit in str(number)) for number in range(MET_MAX + 10)]
    for name in names[: FORMS_MAX + 10]:
        maker.lines([snapshot_of({name: 1})] * OFTEN, 0)
    assert 0 < len(known) <= FORMS_MAX

    maker.lines([snapshot_of({name: 1}) for name in names], 0)

    assert len(additions.known._met) <= MET_MAX
