"""Times that cannot be: of clocks that are wrong, and of events that come in another order."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from tests.collector.conftest import ACCEPTED, Served, WrittenTape, wire_body, wire_event
from tests.waiting import wait_until

from tinkertape.tape.format import encode_line, timestamp


def test_a_run_of_the_far_future_is_over_once_nothing_comes(served: Served, session):
    events = [wire_event(0, timestamp="2026-01-01T00:00:00Z"), wire_event(1, timestamp="2099-01-01T00:00:00Z")]
    assert served.post(wire_body(session, events)) == ACCEPTED
    served.settled(session, 2)

    page = served.json(f"/api/v1/runs/{session}")

    heard = datetime.datetime.fromisoformat(page["run"]["last_event"])
    assert heard <= datetime.datetime.now(datetime.UTC)
    assert page["run"]["state"] == "running"


def test_events_in_any_order_have_the_earliest_as_the_begin_and_the_latest_as_the_end(served: Served, session):
    events = [wire_event(index, timestamp=f"2026-02-01T00:{59 - index:02d}:00Z") for index in range(30)]
    assert served.post(wire_body(session, events)) == ACCEPTED
    served.settled(session, 30)

    def row() -> dict[str, object]:
        found: dict[str, object] = served.json(f"/api/v1/runs/{session}")["run"]
        return found

    wait_until(lambda: row()["state"] == "ended", otherwise=row)
    found = row()
    assert (found["began"], found["ended"]) == ("2026-02-01T00:30:00.000000Z", "2026-02-01T00:59:00.000000Z")
    assert found["wall_s"] == 29 * 60


@pytest.mark.parametrize(
    ("clock_ns", "stored_as"),
    [
        (300 * 10**9, ["2000-01-01T00:05:00.000000Z", "2000-01-01T00:05:01.000000Z"]),
        (5_000_000_000 * 10**9, ["2099-12-31T23:59:59.999999Z"] * 2),
    ],
    ids=["1970", "2128"],
)
def test_a_tape_of_a_machine_without_a_clock_is_loaded(served: Served, clock_ns, stored_as):
    tape = WrittenTape(served.tapes, wall_ns=clock_ns)
    events = [
        msgspec.structs.replace(tape.event(), time_ns=clock_ns + second * 10**9, monotonic_ns=second * 10**9)
        for second in range(2)
    ]
    tape.write(b"".join(encode_line(event) for event in events))
    tape.end()

    ledger = served.settled(tape.run, 2)

    assert ledger == {"recorded": 2, "stored": 2, "pending": 0, "rejected": 0, "dropped": {}}
    stored = served.events(tape.run)
    assert [line["timestamp"] for line in stored] == stored_as
    assert [line["metadata"]["time_given"] for line in stored] == [timestamp(event.time_ns) for event in events]


@pytest.mark.parametrize("stamp", ["1999-12-31T23:59:59Z", "2100-01-01T00:00:00Z"])
def test_a_plain_event_of_another_century_is_set_aside_and_counted(served: Served, session, stamp):
    assert served.post(wire_body(session, [wire_event(0), wire_event(1, timestamp=stamp)])) == ACCEPTED

    assert served.settled(session, 1) == {"recorded": 2, "stored": 1, "pending": 0, "rejected": 1, "dropped": {}}
