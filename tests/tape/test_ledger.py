"""recorded = stored + pending + rejected + dropped, and it shows when it is not so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tape.test_reader import HEAD, line

from tinkertape.tape import End, encode_line, open_tape
from tinkertape.tape.ledger import Ledger, total
from tinkertape.tape.marks import mark_path, write_mark


def end(recorded: int, written: int, **dropped: int) -> bytes:
    return encode_line(End(recorded=recorded, written=written, dropped=dropped, status="success"))


BAD = b"garbage\n"


@pytest.mark.parametrize(
    ("lines", "ledger"),
    [
        ([], Ledger()),
        ([line(0), line(1)], Ledger(recorded=2, pending=2)),
        ([line(0), line(1), end(2, 2)], Ledger(recorded=2, pending=2)),
        ([line(0), line(5), end(6, 2, memory_full=4)], Ledger(recorded=6, pending=2, dropped={"memory_full": 4})),
        ([line(0), BAD, line(2), end(3, 3)], Ledger(recorded=3, pending=2, rejected=1)),
        ([line(0), BAD, line(1), end(2, 2)], Ledger(recorded=2, pending=2)),
        ([line(0), BAD, line(2)], Ledger(recorded=3, pending=2, rejected=1)),
        ([line(0), line(3)], Ledger(recorded=4, pending=2, dropped={"unknown": 2})),
        ([line(0), line(1), b'{"event":"GEN'], Ledger(recorded=3, pending=2, dropped={"torn": 1})),
        ([line(0), line(3), end(4, 4)], Ledger(recorded=4, pending=2, dropped={"damaged": 2})),
        ([line(0), BAD, line(4), end(5, 5)], Ledger(recorded=5, pending=2, rejected=1, dropped={"damaged": 2})),
        ([line(3), end(5, 4, exit=1)], Ledger(recorded=5, pending=1, dropped={"exit": 1, "damaged": 3})),
        ([BAD, line(0), BAD, BAD, end(1, 1), BAD], Ledger(recorded=1, pending=1)),
        ([line(0), b'{"torn\n', end(3, 1, disk_full=2)], Ledger(recorded=3, pending=1, dropped={"disk_full": 2})),
    ],
)
def test_the_ledger_of_a_tape(tmp_path: Path, lines: list[bytes], ledger: Ledger) -> None:
    path = tmp_path / "p-00001.jsonl"
    path.write_bytes(HEAD + b"".join(lines))

    assert open_tape(path).ledger() == ledger
    assert ledger.balanced


@pytest.mark.parametrize(
    "lines",
    [
        [line(0), line(0), end(1, 1)],  # one is there twice
        [line(0), line(0), end(2, 2)],  # one is there twice, and another vanished
        [line(0), line(1), end(2, 2, memory_full=1)],  # the process said what cannot be
    ],
)
def test_a_closed_tape_that_does_not_hold_what_it_says_is_not_balanced(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "p-00001.jsonl"
    path.write_bytes(HEAD + b"".join(lines))

    assert not open_tape(path).ledger().balanced


def test_what_a_store_has_loaded_is_stored_for_that_store(tmp_path: Path) -> None:
    path = tmp_path / "p-00001.jsonl"
    path.write_bytes(HEAD + line(0) + line(1) + line(2) + end(3, 3))
    write_mark(mark_path(path, "loaded-abcd1234"), {"offset": len(HEAD + line(0) + line(1)), "rows": 2})

    tape = open_tape(path)

    assert tape.ledger("abcd1234") == Ledger(recorded=3, stored=2, pending=1)
    assert tape.ledger("another1") == tape.ledger() == Ledger(recorded=3, pending=3)


def test_the_last_segment_speaks_for_its_process(tmp_path: Path) -> None:
    (tmp_path / "p-00001.jsonl").write_bytes(HEAD + line(0) + end(1, 1))
    (tmp_path / "p-00002.jsonl").write_bytes(HEAD + line(1) + line(2))
    (tmp_path / "q-00001.jsonl").write_bytes(HEAD + line(0, "q") + end(2, 1, exit=1))

    tape = open_tape(tmp_path)

    assert tape.ledger() == Ledger(recorded=5, pending=4, dropped={"exit": 1})
    assert set(tape.ends) == {"q"}


_counts = st.integers(0, 10**9)
_ledgers = st.builds(
    Ledger,
    _counts,
    _counts,
    _counts,
    _counts,
    st.dictionaries(st.sampled_from(["exit", "memory_full"]), st.integers(1, 99)),
)


@given(st.lists(_ledgers, max_size=4))
def test_the_sum_of_ledgers_sums_every_part(ledgers: list[Ledger]) -> None:
    summed = total(ledgers)

    assert summed.recorded == sum(ledger.recorded for ledger in ledgers)
    assert summed.accounted == sum(ledger.accounted for ledger in ledgers)


def test_what_a_killed_process_said_it_dropped_at_the_end_of_an_earlier_segment_holds(tmp_path: Path) -> None:
    closed = line(0) + line(1) + b'{"tape_end":1,"recorded":5,"written":2,"dropped":{"memory_full":3},"status":""}\n'
    (tmp_path / "p-00001.jsonl").write_bytes(HEAD + closed)
    (tmp_path / "p-00002.jsonl").write_bytes(HEAD)

    assert open_tape(tmp_path).ledger() == Ledger(recorded=5, pending=2, dropped={"memory_full": 3})
