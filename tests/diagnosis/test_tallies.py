"""Sums over runs of any length, in bounded memory: the same as the plain sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.diagnosis import tallies
from tinkertape.diagnosis.tallies import Costs, Covered, RequestIds

intervals = st.lists(st.tuples(st.integers(0, 300), st.integers(-5, 60)).map(lambda each: (each[0], sum(each))))


def instants(of: list[tuple[int, int]]) -> set[int]:
    return {at for began, ended in of for at in range(began, ended)}


@given(intervals, st.integers(0, 300), st.integers(0, 400))
def test_what_is_covered_is_the_length_of_the_union(of: list[tuple[int, int]], since: int, until: int) -> None:
    covered = Covered()
    for began, ended in of:
        covered.add(began, ended)

    assert covered.length_ns() == len(instants(of))
    assert covered.length_ns(until, since) == len(instants([*of, (since, until)]))


def test_of_many_pieces_the_earliest_become_one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "PIECES_MAX", 3)
    covered = Covered()
    for began in range(0, 1000, 10):
        covered.add(began, began + 4)
    covered.add(0, 5)  # so long ago that it is counted already

    assert covered.length_ns() == 400
    assert covered.length_ns(1002, 995) == 407


def test_costs_are_summed_whole_and_the_newest_are_named() -> None:
    costs = Costs(most=2)
    for number in range(5):
        costs.add(("p", number), 10)
        costs.add(("p", number), 1)
    costs.put(("p", 4), 50)
    costs.add(("p", 4), 1000)  # part of the whole

    assert costs.total_ns == 4 * 11 + 50
    assert costs.by_operation == {("p", 3): 11, ("p", 4): 50}


def test_requests_are_counted_once_and_the_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "IDS_SHOWN", 2)
    ids = RequestIds()
    ids.add(["a", None, "", "b"])
    ids.add(["b", "c"])

    assert (ids.count, ids.first, "c" in ids, "d" in ids) == (3, ["a", "b"], True, False)
