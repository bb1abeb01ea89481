"""What a program adds to what is a secret: keys and shapes of its own, and e-mail addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tinkertape
from tinkertape.errors import ConfigError
from tinkertape.redact import MARK, add, additions, redact, redact_text, texts
from tinkertape.telemetry import record


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    additions.forget()


@pytest.mark.parametrize(
    "key", ["corp_pin", "corpPin", "CORP-PIN", "corp.pin", "my_licence", "a_b_licence", "aLicence"]
)
def test_an_added_key_hides_its_value_in_any_spelling(key: str) -> None:
    assert redact({key: 5}) == {key: 5}

    add(secret_keys=["corp_pin", "*_licence"])

    assert redact({key: 5, "n": [{key: "x"}]}) == {key: MARK, "n": [{key: MARK}]}
    assert redact_text(f"{key}=hunter2 n=5") == f"{key}={MARK} n=5"


@pytest.mark.parametrize("key", ["pin", "corp", "corp_pins", "the_corp_pin", "licences"])
def test_a_key_that_is_only_like_it_stays(key: str) -> None:
    add(secret_keys=["corp_pin", "*_licence"])

    assert redact({key: "word"}) == {key: "word"}


def test_an_added_shape_goes_wherever_it_stands() -> None:
    assert redact_text("seen before: corp-0a1b2c3d4e5f") == "seen before: corp-0a1b2c3d4e5f"

    add(secret_shapes=[r"corp-[a-z0-9]{12}"])

    assert redact_text("seen before: corp-0a1b2c3d4e5f") == f"seen before: {MARK}"
    assert redact({"a": ["corp-0a1b2c3d4e5f"]}) == {"a": [MARK]}
    assert redact_text("corp-short stays") == "corp-short stays"


def test_a_long_text_that_held_nothing_is_searched_again_for_what_was_added() -> None:
    text = (
        "Traceback (most recent call last):\n" + '  File "train.py", line 3, in <module>\n' * 5 + "corp_pin=hunter2 n=5"
    )
    assert redact_text(text) is text is redact_text(text)

    add(secret_keys=["corp_pin"])

    assert redact_text(text) == text.replace("hunter2", MARK)


@pytest.mark.parametrize("length", [10, 300])
def test_a_text_that_is_searched_while_something_is_added_is_not_taken_for_clean(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "some words, " * length + "a key: corp_pin=hunter2 n=5"
    search = texts._redact_once

    def interrupted(searched: str) -> str:
        found = search(searched)
        monkeypatch.setattr(texts, "_redact_once", search)
        add(secret_keys=["corp_pin"])
        return found

    monkeypatch.setattr(texts, "_redact_once", interrupted)
    redact_text(text)

    assert redact_text(text) == text.replace("hunter2", MARK)


def test_mail_addresses_go_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "mail ann.b+c@mail.example.org, or x@y"
    assert redact_text(text) == text

    monkeypatch.setenv("TINKERTAPE_REDACT_EMAILS", "1")
    with record("mail", directory=tmp_path, instrument=False) as telemetry:
        telemetry.log("mail", {"text": text})

    [event] = [event for event in tinkertape.open_tape(telemetry.tape) if event.name == "mail"]
    assert event.metadata == {"text": f"mail {MARK}, or x@y"}


@pytest.mark.timeout(10)
def test_looking_for_mail_addresses_is_linear() -> None:
    add(emails=True)

    for hostile in ("a" * 200_000, "a@" * 100_000, "a@" + "b." * 100_000, "a." * 100_000 + "@"):
        assert redact_text(hostile) == hostile


@pytest.mark.parametrize(
    "wrong", [{"secret_keys": ["*"]}, {"secret_keys": [""]}, {"secret_shapes": ["("]}, {"secret_shapes": ["a*"]}]
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_added(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot redact"):
        add(**{"secret_keys": ["good"], "emails": True, **wrong})

    assert redact({"good": 5, "mail": "ann@example.org"}) == {"good": 5, "mail": "ann@example.org"}
