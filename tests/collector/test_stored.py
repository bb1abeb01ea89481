"""With `--ack stored` an answer means: it is in the store. What is not there in time is told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.collector.conftest import ACCEPTED, NOTHING, Served, WrittenTape, wire_body, wire_event

from tinkertape.collector.inbox import Place
from tinkertape.collector.stored import NotStored, Stored
from tinkertape.tape.format import encode_line


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    collector = Served(tmp_path_factory.mktemp("stored"), ack="stored").start()
    yield collector
    collector.stop()


def test_what_is_acknowledged_is_in_the_store_at_once(served: Served, session):
    for first in range(0, 200, 20):
        assert served.post(wire_body(session, [wire_event(index) for index in range(first, first + 20)])) == ACCEPTED

        assert served.ledger(session) == {**NOTHING, "recorded": first + 20, "stored": first + 20}
    assert [line["event_session_index"] for line in served.events(session)] == list(range(200))


def test_a_bad_event_is_in_the_table_of_what_is_set_aside_at_once(served: Served, session):
    assert served.post(wire_body(session, [wire_event(0), 7])) == ACCEPTED

    assert served.ledger(session) == {**NOTHING, "recorded": 2, "stored": 1, "rejected": 1}


def test_a_body_of_our_own_is_stored_with_its_header(served: Served, tmp_path):
    tape = WrittenTape(tmp_path)

    assert served.post(tape.body([encode_line(tape.event())])) == ACCEPTED

    assert served.ledger(tape.run)["stored"] == 1


def test_a_body_without_events_is_answered(served: Served, session):
    assert served.post(wire_body(session, [])) == ACCEPTED


async def test_who_waits_is_told_when_the_loader_has_passed_and_not_before():
    hurried: list[bool] = []
    stored = Stored(lambda: hurried.append(True))
    segment = Path("a.jsonl")
    first, second = (asyncio.ensure_future(stored.wait(Place(segment, end))) for end in (10, 20))
    await asyncio.sleep(0)

    await asyncio.to_thread(stored.reached, segment, 10)
    await first

    assert not second.done()
    await asyncio.to_thread(stored.reached, segment, 25)
    await second
    await stored.wait(Place(segment, 25))  # passed already
    assert len(hurried) == 2


async def test_a_store_that_takes_nothing_in_time_is_told_to_come_again():
    stored = Stored(lambda: None, within_s=0.01)

    with pytest.raises(NotStored, match="not in the store yet; come again in a second"):
        await stored.wait(Place(Path("a.jsonl"), 1))

    assert stored._waiting == []
