"""How figures read, and what of a text may be shown."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.cli import figures
from tinkertape.cli.text import HIDDEN, escaped, json_escaped, shortened


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.0066, "6.6 ms"),
        (0.084, "84 ms"),
        (0.27, "0.27 s"),
        (47.0, "47.0 s"),
        (141.0, "2 min 21 s"),
        (3840.0, "1 h 4 min"),
        (0.0998, "0.10 s"),
        (99.6, "1 min 40 s"),
    ],
)
def test_seconds_have_a_unit_and_few_digits(value: float | None, text: str) -> None:
    assert figures.seconds(value) == text


def test_shares_counts_and_bounds() -> None:
    assert [figures.share(value) for value in (None, 0.0, 0.004, 0.331, 1.0)] == ["–", "0 %", "< 1 %", "33 %", "100 %"]
    assert figures.count(1_284_067) == "1 284 067"
    assert figures.bounds(2.81, 3.12) == "2.8 to 3.1 s"
    assert figures.bounds(0.2, 1.5) == "0.20 to 1.5 s"
    assert figures.bounds(0.02, 1.5) == "20 ms to 1.5 s"
    assert figures.bounds(None, 1.0) == figures.bounds(1.0, 1.001) == ""


@given(st.text(st.characters(codec=None)))
def test_nothing_hidden_is_left_in_a_shown_text(text: str) -> None:
    shown = escaped(text)

    assert not [character for character in shown if unicodedata.category(character) in HIDDEN]
    assert len(shortened(text, 20)) <= 20


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_with_nothing_hidden_means_the_same(document: object) -> None:
    shown = json_escaped(json.dumps(document, ensure_ascii=False))

    assert json.loads(shown) == document
    assert not [character for character in shown if unicodedata.category(character) in HIDDEN]


def test_text_of_the_world_is_shown_as_it_is() -> None:
    assert escaped("Füße ✓ 日本語 é") == "Füße ✓ 日本語 é"
    assert escaped("a\x1b[31m\nb\u202e") == "a\\x1b[31m\\nb\\u202e"
