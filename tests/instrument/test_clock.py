"""Time is an event, and a standstill is another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.instrument.watching import Events
from tests.waiting import wait_until

from tinkertape import Poller, bus
from tinkertape.instrument import clock
from tinkertape.instrument.clock import Ticker

SECOND = 1_000_000_000


@pytest.fixture
def heard() -> Iterator[Events]:
    events = Events()
    bus.attach_all("test", events.hear, prefix="clock")
    yield events
    bus.detach("test")


def run(ticker: Ticker, turns: int, *, busy: bool, from_s: int = 0) -> None:
    for second in range(from_s, from_s + turns):
        at_ns = second * SECOND
        ticker.turn(busy=busy, now_ns=at_ns, wall_ns=at_ns + 7, asleep_ns=0, cpu_ns=second)


def test_it_ticks_each_second_while_something_is_in_flight(heard: Events) -> None:
    run(Ticker(), 21, busy=True)
    assert len(heard.named("clock.tick")) == 21


def test_it_ticks_each_ten_seconds_otherwise(heard: Events) -> None:
    run(Ticker(), 21, busy=False)
    assert [tick.measurements["monotonic"] // SECOND for tick in heard.named("clock.tick")] == [0, 10, 20]
    assert heard[0].measurements == {"monotonic": 0, "wall": 7}


def test_a_machine_that_slept_is_a_gap_of_its_length(heard: Events) -> None:
    ticker = Ticker()
    run(ticker, 3, busy=True)
    ticker.turn(busy=True, now_ns=3 * SECOND, wall_ns=0, asleep_ns=600 * SECOND, cpu_ns=3)
    ticker.turn(busy=True, now_ns=4 * SECOND, wall_ns=0, asleep_ns=600 * SECOND, cpu_ns=4)

    gap = heard.one("clock.gap")
    assert gap.measurements == {"monotonic": 3 * SECOND, "duration": 600 * SECOND}


def test_a_process_that_was_stopped_is_a_gap(heard: Events) -> None:
    ticker = Ticker()
    run(ticker, 3, busy=True)
    run(ticker, 2, busy=True, from_s=30)
    assert heard.one("clock.gap").measurements["duration"] == 27 * SECOND


def test_a_process_that_worked_all_the_while_was_not_suspended(heard: Events) -> None:
    ticker = Ticker()
    run(ticker, 3, busy=True)
    ticker.turn(busy=True, now_ns=30 * SECOND, wall_ns=0, asleep_ns=0, cpu_ns=27 * SECOND)
    assert not heard.named("clock.gap")


def test_a_poller_ticks_at_once_and_until_it_stops(heard: Events) -> None:
    with Poller([], period_s=1000) as poller:
        poller.add(clock.ticking(lambda: 0), name="clock")
        wait_until(lambda: heard.named("clock.tick"))

    assert len(heard.named("clock.tick")) == 1
