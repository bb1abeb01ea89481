"""Every numbered behaviour of docs/facts/beam.md, and every defect of the SDK's telemetry (docs/facts/sdk.md §6), is
covered by a test of its number, or explained.
"""

from __future__ import annotations

import pytest
from docs.conformance_page import explained, items, marks, to_come

NUMBERS = [item.number for item in items()]


def test_the_reference_is_read_whole():
    assert len(NUMBERS) == len(set(NUMBERS)) > 200
    assert [number for number in NUMBERS if number[0] == "D"] == [f"D{number}" for number in range(1, 14)]


def test_every_item_is_tested_or_explained():
    meaningless, coming = explained()
    tested = {mark.item for mark in marks()}

    left = [number for number in NUMBERS if number not in {*tested, *meaningless} and not to_come(number, coming)]
    assert left == []


def test_what_has_no_meaning_is_not_to_come():
    meaningless, coming = explained()

    assert meaningless.keys() & coming.keys() == set()


def test_no_item_is_both_tested_and_explained_away():
    meaningless, coming = explained()

    assert [mark.item for mark in marks() if mark.item in {**meaningless, **coming}] == []


def test_a_group_to_come_is_not_there_yet():
    _, coming = explained()
    tested = {mark.item for mark in marks()}

    done = [group for group in coming if group.isalpha() and {n for n in NUMBERS if n[0] == group} <= tested]
    assert done == []


def test_what_is_explained_exists():
    meaningless, coming = explained()

    assert [name for name in {**meaningless, **coming} if name not in {*NUMBERS, *"MCPSLD"}] == []


@pytest.mark.parametrize("mark", marks(), ids=lambda mark: mark.item)
def test_a_test_is_named_by_its_item(mark):
    assert mark.item in NUMBERS
    assert f"_{mark.item}_" in mark.test


@pytest.mark.parametrize("item", [item for item in items() if item.beat], ids=lambda item: item.number)
def test_what_is_to_be_beaten_is_done_better_and_said_so(item):
    meaningless, coming = explained()
    found = [mark for mark in marks() if mark.item == item.number]

    assert any(mark.beat for mark in found) or item.number in meaningless or to_come(item.number, coming)
