"""No update is lost, whoever makes it, and whoever reads meanwhile."""

from __future__ import annotations

import signal
import threading
from collections import Counter

import pytest
from tests.metrics.hammer import THREADS, TIMES, hammer
from tests.metrics.reading import value, values

from tinkertape.metrics import Aggregate, counter, distribution, last_value, sum_, summary


@pytest.fixture
def aggregate(bus):
    metrics = [
        counter("a.b.count", tags=["x", "y"]),
        sum_("a.b.size", tags=["x", "y"]),
        sum_("a.b.part", tags=["x", "y"]),
        distribution("a.b.size", tags=["x", "y"], buckets=[1]),
        summary("a.b.size", tags=["x", "y"]),
    ]
    with Aggregate(metrics, bus=bus) as aggregate:
        yield aggregate


def test_eight_threads_lose_no_update(bus, aggregate):
    calls = hammer(lambda number: bus.execute("a.b", {"size": 3, "part": 0.5}, {"x": "same", "y": "for all"}))

    count, size, part, histogram, quantiles = (values(aggregate, place)["same", "for all"] for place in range(5))
    assert (count, size, part) == (calls, 3 * calls, 0.5 * calls)
    assert (histogram.counts, histogram.sum, quantiles.count, quantiles.sum) == (
        (0, calls),
        3 * calls,
        calls,
        3 * calls,
    )


def test_the_same_load_takes_updates_from_a_version_that_does_not_care():
    counts = {}

    def careless(number):
        counts["same"] = counts.get("same", 0) + 1

    lost = any(hammer(careless) != counts.pop("same") for _ in range(20))

    assert lost


def test_updates_are_not_lost_to_collections_that_run_meanwhile(bus, aggregate):
    done = threading.Event()

    def collect():
        while not done.is_set():
            aggregate.collect()

    collector = threading.Thread(target=collect)
    collector.start()
    calls = hammer(lambda number: bus.execute("a.b", {"size": 1, "part": 1.0}, {"x": number, "y": 0}), times=500)
    done.set()
    collector.join()

    assert sum(values(aggregate).values()) == calls


def test_updates_are_not_lost_when_idle_series_expire_meanwhile(bus):
    """Every series is idle at once, so each collection takes out whatever it saw unchanged; lives are added up."""
    done, lives = threading.Event(), Counter()
    with Aggregate([counter("a.b.count", tags=["x"])], bus=bus, idle_s=0) as aggregate:

        def collect():
            while not done.is_set():
                note(aggregate, lives)

        collector = threading.Thread(target=collect)
        collector.start()
        calls = hammer(lambda number: bus.execute("a.b", {}, {"x": number % 3}), times=1_000)
        done.set()
        collector.join()
        note(aggregate, lives)

    assert sum(lives.values()) == calls


def note(aggregate, lives):
    """Nothing is reported of a series that goes with the collection that sees it first idle: so look inside."""
    registry = aggregate._registries[0]
    expire = registry.expire

    def noted(idle, tables):
        before = {tags: registry._known[tags].count for tags in idle}
        kept = expire(idle, tables)
        for tags in set(idle).difference(kept):
            lives[tags] += before[tags]
        return kept

    registry.expire = noted
    aggregate.collect()
    registry.expire = expire


def test_a_thread_that_ends_leaves_what_it_counted(bus, aggregate):
    for _ in range(3):
        thread = threading.Thread(target=bus.execute, args=("a.b", {"size": 1, "part": 1.0}, {"x": 2, "y": 3}))
        thread.start()
        thread.join()

    assert values(aggregate) == {("2", "3"): 3}
    assert aggregate._shards == []


def test_threads_that_come_and_go_while_nobody_collects_leave_one_shard_at_most(bus, aggregate):
    for _ in range(50):
        thread = threading.Thread(target=bus.execute, args=("a.b", {"size": "?"}, {"x": 2}))
        thread.start()
        thread.join()

    assert len(aggregate._shards) <= 1
    assert aggregate.skipped() == {
        ("a.b.count", "missing_tag"): 50,
        ("a.b.size", "not_a_number"): 150,
        ("a.b.part", "missing_measurement"): 50,
    }


def test_the_limit_of_series_holds_over_all_threads(bus):
    metric = counter("a.b.count", tags=["x"])
    with Aggregate([metric], bus=bus, series_max=5) as aggregate:
        numbers = [iter(range(10**6)) for _ in range(THREADS)]
        calls = hammer(lambda number: bus.execute("a.b", {}, {"x": next(numbers[number])}), times=100)

        found = values(aggregate)

    assert len(found) == 6
    assert sum(found.values()) == calls
    assert aggregate.overflowed() == {"a.b.count": found[("true",)]}


def test_the_last_value_is_the_last_by_time_whichever_thread_set_it(bus):
    with Aggregate([last_value("a.b.size")], bus=bus) as aggregate:
        bus.execute("a.b", {"size": 1})
        turns = [threading.Thread(target=bus.execute, args=("a.b", {"size": size})) for size in (9, 2)]
        for thread in turns:
            thread.start()
            thread.join()
        assert value(aggregate) == 2
        bus.execute("a.b", {"size": 5})

        assert value(aggregate) == 5


def test_an_event_of_a_signals_handler_inside_an_update_is_not_lost(bus):
    """The value's own comparison raises the signal, in the middle of the handler of the outer event."""
    outer = []

    class Interrupting(dict):
        def __getitem__(self, key):
            if not outer:
                outer.append(True)
                signal.raise_signal(signal.SIGUSR1)
            return super().__getitem__(key)

    previous = signal.signal(signal.SIGUSR1, lambda *_: bus.execute("a.b", {"size": 1}, {"x": "a"}))
    try:
        with Aggregate([sum_("a.b.size", tags=["x"])], bus=bus) as aggregate:
            bus.execute("a.b", {"size": 1}, Interrupting(x="a"))

            assert values(aggregate) == {("a",): 2}
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_a_signals_handler_may_execute_and_collect_in_the_middle_of_a_collection(bus):
    """The clock, which the collection asks, raises the signal."""
    nested = []

    def clock():
        if not nested:
            nested.append(None)
            signal.raise_signal(signal.SIGUSR1)
        return 10**12

    def handle(*_):
        bus.execute("a.b", {}, {"x": "new"})
        nested[0] = values(aggregate)

    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        with Aggregate([counter("a.b.count", tags=["x"])], bus=bus, idle_s=0, monotonic_ns=clock) as aggregate:
            thread = threading.Thread(target=bus.execute, args=("a.b", {}, {"x": "old"}))
            thread.start()
            thread.join()
            aggregate.collect()
            bus.execute("a.b", {}, {"x": "old"})

            assert nested == [{("old",): 1, ("new",): 1}]
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_as_many_calls_as_threads_and_times_were_made():
    made = []

    assert hammer(made.append) == len(made) == THREADS * TIMES
