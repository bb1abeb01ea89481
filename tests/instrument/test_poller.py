"""A poller's life: threads that come and go, forks, and a schedule that never drifts."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.instrument.watching import Events
from tests.waiting import wait_until

from tinkertape import Bus, Poller
from tinkertape.errors import PollerError
from tinkertape.instrument import poller as poller_module
from tinkertape.instrument.schedule import BACK_OFF_MAX_NS, Schedule

MS = 1_000_000


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("tinkertape-poller"))


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1))
def test_every_tick_is_run_or_skipped_and_none_ever_leaves_the_grid(period, turns):
    schedule = Schedule(period, began_ns=7)
    now = runs = 0
    for passed, still_runs in turns:
        now += passed
        if schedule.due_ns <= now:
            runs += not still_runs
            (schedule.skip if still_runs else schedule.take)(now)
        assert (schedule.due_ns - 7) % period == 0

    ticks = 0 if now < 7 else (now - 7) // period + 1
    assert runs + schedule.skipped <= ticks
    assert schedule.due_ns > now or runs + schedule.skipped < ticks


def test_a_failing_measurement_is_tried_again_at_ticks_that_double_their_distance_to_a_cap():
    schedule = Schedule(10 * MS, began_ns=0)
    tried = []
    for _ in range(5):
        tried.append(schedule.due_ns // MS)
        schedule.take(schedule.due_ns)
        schedule.fail(schedule.due_ns - 9 * MS)

    assert tried == [0, 10, 30, 70, 150]
    for _ in range(100):
        assert schedule.fail(schedule.due_ns) <= BACK_OFF_MAX_NS + 10 * MS


def test_after_a_success_the_next_failure_begins_with_one_period_again():
    schedule = Schedule(10 * MS)
    for _ in range(4):
        schedule.fail(0)
    schedule.succeed()
    schedule.begin(0)

    assert schedule.fail(1) == 10 * MS - 1


def test_one_thread_runs_many_quick_measurements_and_all_leave_at_the_stop():
    poller = Poller([lambda: None] * 6, period_s=0.02)
    with poller:
        wait_until(lambda: all(polled.runs >= 3 for polled in poller.list()))
        assert threads() == ["tinkertape-poller", "tinkertape-poller-worker"]
        assert all(thread.daemon for thread in threading.enumerate() if thread.name in threads())

    assert threads() == []
    assert not poller.running


def test_a_worker_that_is_idle_leaves(monkeypatch):
    monkeypatch.setattr(poller_module, "WORKER_IDLE_S", 0.01)
    with Poller([lambda: None], period_s=1000) as poller:
        wait_until(lambda: poller.list()[0].runs == 1)
        left = wait_until(lambda: "tinkertape-poller-worker" not in threads() and threads())

    assert left == ["tinkertape-poller"]


def test_more_slow_measurements_than_workers_wait_for_one_of_them(monkeypatch):
    monkeypatch.setattr(poller_module, "WORKERS_MAX", 2)
    let_go = threading.Event()
    with Poller([let_go.wait] * 4, period_s=0.01) as poller:
        wait_until(lambda: threads().count("tinkertape-poller-worker") == 2)
        wait_until(lambda: all(polled.skipped for polled in poller.list()))
        working = threads().count("tinkertape-poller-worker")
        let_go.set()
        wait_until(lambda: all(polled.runs for polled in poller.list()))

    assert working == 2


def test_what_waits_for_a_worker_is_collected_at_once_and_not_twice(monkeypatch):
    monkeypatch.setattr(poller_module, "WORKERS_MAX", 1)
    let_go = threading.Event()
    poller = Poller([let_go.wait], period_s=1000)
    runs: list[str] = []
    poller.add(lambda: runs.append(threading.current_thread().name), name="second")
    with poller:
        wait_until(lambda: [polled.state for polled in poller.list()] == ["running", "running"])

        assert poller.collect("second") == ("second",)

        let_go.set()
        wait_until(lambda: poller.list()[0].runs == 1)
    assert runs == [threading.current_thread().name]


def test_a_stop_waits_no_longer_than_it_is_told_and_drops_what_comes_after():
    bus = Bus()
    heard = Events()
    bus.attach_all("test", heard.hear)
    let_go = threading.Event()
    entered = threading.Event()

    def slow() -> tuple[str, dict[str, int]]:
        entered.set()
        let_go.wait(30)
        return "late", {}

    poller = Poller([slow], bus=bus)
    poller.start()
    assert entered.wait(10)

    assert poller.stop(0.0) is False
    let_go.set()

    wait_until(lambda: threads() == [])
    assert list(heard) == []
    assert poller.stop() is True


def test_a_measurement_may_stop_its_own_poller():
    stopped: list[bool] = []
    poller = Poller([lambda: stopped.append(poller.stop())], period_s=0.01)
    poller.start()

    wait_until(lambda: stopped)
    wait_until(lambda: threads() == [])
    assert stopped == [True]


def test_it_starts_again_after_a_stop():
    poller = Poller([lambda: None], period_s=1000)
    for runs in (1, 2, 3):
        poller.start()
        wait_until(lambda runs=runs: poller.list()[0].runs == runs)
        assert poller.stop()


def test_what_a_removed_measurement_returns_is_dropped():
    bus = Bus()
    heard = Events()
    bus.attach_all("test", heard.hear)
    poller = Poller([], bus=bus)
    poller.add(lambda: (poller.remove("itself"), ("late", {}))[1], name="itself")

    poller.collect("itself")

    assert list(heard) == []


def test_a_measurement_that_is_removed_and_added_again_while_it_runs_is_not_run_twice_at_once():
    at_once, most, runs = [], [], []
    go_on = threading.Event()

    def measure():
        at_once.append(None)
        most.append(len(at_once))
        runs.append(None)
        go_on.wait(60)
        at_once.pop()

    poller = Poller([measure], period_s=0.001)
    with poller:
        assert wait_until(lambda: runs)
        for _ in range(3):
            poller.remove(measure)
            poller.add(measure)
            assert poller.collect(measure) == ()
            skipped = poller.list()[0].skipped
            assert wait_until(lambda before=skipped: poller.list()[0].skipped > before)
        assert len(runs) == 1
        go_on.set()
        assert wait_until(lambda: len(runs) > 3)

    assert max(most) == 1


def test_what_waited_for_a_worker_at_a_stop_runs_after_the_next_start(monkeypatch):
    monkeypatch.setattr(poller_module, "WORKERS_MAX", 1)
    started, go_on, runs = threading.Event(), threading.Event(), []

    def slow():
        started.set()
        go_on.wait(60)

    poller = Poller([slow, lambda: runs.append(None)], period_s=0.001)
    poller.start()
    assert started.wait(60)
    assert wait_until(lambda: poller.list()[1].state == "running")  # it stands in the line
    poller.stop(0)
    go_on.set()
    with poller:
        assert wait_until(lambda: runs)


class Awaited:
    """What is called like a function, and awaited."""

    async def __call__(self):
        pass


def gone_through():
    yield "my.queue", {"length": 3}


@pytest.mark.parametrize("function", [lambda wanted: None, lambda *, wanted: None, Awaited(), gone_through])
def test_what_a_call_without_arguments_does_not_run_is_refused(function):
    with pytest.raises(PollerError, match=r"without arguments|is called, and not"):
        Poller([function])


def test_a_period_that_no_float_holds_is_refused():
    with pytest.raises(PollerError, match="a number of seconds"):
        Poller([], period_s=10**400)


@pytest.mark.parametrize("returned", [3, "name", ("name",), ("name", 3), [3], ("a", {}, {}, {}), ("a", {}, 5)])
def test_a_measurement_that_returns_something_else_has_failed(returned):
    bus = Bus()
    heard = Events()
    bus.attach_all("test", heard.hear)

    Poller([lambda: returned], bus=bus).collect()

    assert (
        "return None or (event, measurements, metadata)" in heard.one("poller.measurement.failure").metadata["reason"]
    )


@pytest.mark.parametrize("name", ["a b", "", None])
def test_a_measurement_that_returns_what_is_no_event_name_has_failed(name):
    bus = Bus()
    heard = Events()
    bus.attach_all("test", heard.hear)

    Poller([lambda: (name, {})], bus=bus).collect()

    assert heard.one("poller.measurement.failure").metadata["error_type"] == "EventNameError"


def test_a_failure_is_logged_once_in_a_row_and_again_after_it_recovered(caplog):
    fail = [True, True, False, True]
    poller = Poller([lambda: [1 // (not fail.pop(0))].clear()])
    for _ in range(4):
        poller.collect()

    assert len(caplog.records) == 2


def test_a_builtin_measures_nothing_while_nobody_listens():
    poller = Poller([], bus=Bus())
    poller.add("cpu")

    poller.collect()

    assert poller.list()[0].function._measured_ns is None


def test_a_forked_child_has_nothing_running_until_it_starts_it():
    def in_child() -> bool:
        was = (poller.running, [polled.state for polled in poller.list()], threads())
        before = poller.list()[0].runs
        poller.start()
        wait_until(lambda: poller.list()[0].runs > before)
        return was == (False, ["waiting", "waiting"], []) and poller.stop(5)

    let_go = threading.Event()
    with Poller([lambda: None, let_go.wait], period_s=0.01) as poller:
        wait_until(lambda: poller.list()[1].state == "running" and poller.list()[0].runs > 0)
        with poller._lock:  # as if another thread held it
            child = os.fork()
            if child == 0:
                let_go.set()
                os._exit(0 if in_child() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        runs = poller.list()[0].runs
        wait_until(lambda: poller.list()[0].runs > runs)
        let_go.set()
