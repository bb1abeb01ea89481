"""Times that cannot be: of clocks that are wrong, and of events that come in another order."""

from __future__ import annotations

import datetime

from tests.collector.conftest import ACCEPTED, Served, wire_body, wire_event
from tests.waiting import wait_until


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
