"""What the answers to polls say of a queue; the times are the test's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.instrument.watching import Heard

from tinkertape import bus
from tinkertape.events import operation_events
from tinkertape.instrument.tinker import flight, queue

MS = 1_000_000


@pytest.fixture
def heard() -> Iterator[list[Heard]]:
    told: list[Heard] = []
    bus.attach_all("queue", lambda *event: told.append(Heard(*event[:3])), prefix="tinker.queue")
    yield told
    bus.detach("queue")


def test_a_pause_that_becomes_another_ends_where_that_one_begins(heard: list[Heard]) -> None:
    operation = flight.Operation("optim_step", operation_events("training", "optim_step"), 0, 1, is_coroutine=False)
    request = flight.Request("request", operation)
    request.accepted_ns = 100 * MS
    for at, state in [(150, "active"), (400, "paused_capacity"), (700, "paused_rate_limit"), (800, "active")]:
        queue.observe(request, state, None, at * MS)
        request.answered_ns = at * MS

    ended = [event for event in heard if event.name == "tinker.queue.resume"]
    assert [event.metadata["reason"] for event in ended] == ["capacity", "rate_limit"]
    assert [event.measurements["duration"] // MS for event in ended] == [250, 400]
    assert [event.measurements["duration_max"] // MS for event in ended] == [550, 400]
    assert operation.pause_ns == 650 * MS
    operation.close()
