"""The items L1 to L20 of docs/facts/beam.md: what BEAM's telemetry_poller does, and where ours does better.

Without a meaning here: L2 (global names; processes of other machines), L15 (persistent_term, an Erlang store), L19 (ids
for a supervisor).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tests.instrument.watching import Events
from tests.waiting import wait_until

import tinkertape
from tinkertape import Bus, Poller
from tinkertape.errors import MeasurementNotFound, PollerError

item = pytest.mark.conformance


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def heard(bus: Bus) -> Events:
    events = Events()
    bus.attach_all("test", events.hear)
    return events


@pytest.fixture
def pollers() -> Iterator[list[Poller]]:
    """Whatever is in the list is stopped at the end."""
    running: list[Poller] = []
    yield running
    assert all([poller.stop(5.0) for poller in running])


def failing() -> None:
    raise ValueError("no figure")


@item("L1", differs="a poller is an object and needs no name; its measurements have names")
def test_L1_a_measurement_has_a_name_and_is_found_by_it():
    poller = Poller([failing])

    assert poller.add(failing, name="mine") == "mine"
    poller.remove("mine")

    assert [polled.name for polled in poller.list()] == ["failing"]
    with pytest.raises(MeasurementNotFound, match="no measurement 'mine' is polled; there are: failing"):
        poller.remove("mine")
    with pytest.raises(PollerError, match="is polled already"):
        poller.add(failing, name="failing")


@item("L3")
def test_L3_several_pollers_run_side_by_side(bus, heard, pollers):
    for name in ("one", "two"):
        pollers.append(Poller([lambda name=name: (name, {"n": 1})], period_s=0.01, bus=bus))
        pollers[-1].start()

    wait_until(lambda: heard.named("one") and heard.named("two"))
    assert all(poller.running for poller in pollers)


@item("L4", differs="in seconds, 10 by default, fractions too; raises `PollerError`")
@pytest.mark.parametrize("period_s", ["1", 0, -1, True, None, float("nan"), float("inf")])
def test_L4_a_period_that_is_no_number_above_zero_is_refused(period_s):
    with pytest.raises(PollerError, match=r"cannot poll with period_s=.*: it must be a number of seconds above 0"):
        Poller([], period_s=period_s)
    with pytest.raises(PollerError, match="period_s"):
        Poller([]).add(failing, period_s=0)


@item("L5", differs="in seconds, fractions too; raises `PollerError`")
@pytest.mark.parametrize("init_delay_s", ["1", -1, False])
def test_L5_a_first_delay_that_is_no_number_is_refused(init_delay_s):
    with pytest.raises(PollerError, match="cannot poll with init_delay_s="):
        Poller([], init_delay_s=init_delay_s)


@item("L6")
def test_L6_the_first_measurement_comes_after_the_delay_and_never_inside_start(pollers):
    measured: list[tuple[float, int]] = []
    poller = Poller([lambda: measured.append((time.monotonic(), threading.get_ident()))], init_delay_s=0.1)
    pollers.append(poller)

    started_s = time.monotonic()
    poller.start()

    wait_until(lambda: measured)
    assert measured[0][0] - started_s >= 0.1
    assert measured[0][1] != threading.get_ident()


@item(
    "L7",
    differs="any function without arguments will do, a lambda too; for a builtin's name misspelt the nearest is said",
)
@pytest.mark.parametrize("measurements", ["memory", 7, {"memory": 1}])
def test_L7_measurements_that_are_no_list_are_refused(measurements):
    with pytest.raises(PollerError, match="measurements must be a list of functions and builtin names"):
        Poller(measurements)


@item("L7")
def test_L7_an_unknown_measurement_is_refused_and_the_nearest_name_is_said():
    with pytest.raises(PollerError, match="unknown measurement 'memroy'; did you mean 'memory'"):
        Poller(["memroy"])
    with pytest.raises(PollerError, match="the builtin ones are counts, cpu, gc, memory, run_queue"):
        Poller(["x"])
    with pytest.raises(PollerError, match="give a function without arguments"):
        Poller([("module", "function")])


async def coroutine() -> None:
    pass


@item("L8", differs="no process is asked by its name; a measurement's function, name and period are checked")
def test_L8_what_cannot_be_measured_is_refused_in_the_caller_and_changes_nothing():
    poller = Poller([failing])

    for wrong in ({"name": ""}, {"name": 3}, {"period_s": "1"}):
        with pytest.raises(PollerError):
            poller.add(failing, **wrong)
    with pytest.raises(PollerError, match="is called, and not awaited"):
        poller.add(coroutine)

    assert len(poller.list()) == 1


@item("L9", differs="a function takes the place of module, name and arguments; what it returns is executed, too")
def test_L9_a_function_is_called_each_period_and_its_events_are_heard_as_it_gave_them(bus, heard, pollers):
    def counts() -> None:
        bus.execute("my.queue", {"length": 3}, {"name": "work"})

    pollers.append(Poller([counts], period_s=0.01, bus=bus))
    pollers[0].start()

    wait_until(lambda: len(heard.named("my.queue")) >= 3)
    assert heard[0] == ("my.queue", {"length": 3}, {"name": "work"})


@item("L9")
def test_L9_what_a_measurement_returns_becomes_its_events(bus, heard):
    several = [("a", {"n": 1}), ("b", {"n": 2}, {"k": "v"})]
    poller = Poller([lambda: several[1], lambda: several, lambda: None], bus=bus)

    poller.collect()

    assert list(heard) == [("b", {"n": 2}, {"k": "v"}), ("a", {"n": 1}, {}), ("b", {"n": 2}, {"k": "v"})]


@item("L10", differs="each with its period, its state, and how often it ran, failed and was skipped")
def test_L10_list_says_the_measurements_in_order_with_what_became_of_their_ticks(bus):
    poller = Poller(["memory", failing], period_s=2.5, bus=bus)
    poller.collect()

    memory, function = poller.list()

    assert (memory.name, memory.period_s, memory.state, memory.runs, memory.failures) == (
        "memory",
        2.5,
        "waiting",
        1,
        0,
    )
    assert (function.name, function.function, function.state) == ("failing", failing, "failing")
    assert (function.runs, function.failures, function.skipped) == (1, 1, 0)


@item(
    "L11",
    beat="a failing measurement stays, is told and tried again; BEAM's is removed for good, which only a log says",
)
@pytest.mark.parametrize("error", [ValueError("no figure"), SystemExit(3)], ids=["raise", "exit"])
def test_L11_a_measurement_that_raises_or_exits_stays_and_is_told_and_tried_again(bus, heard, pollers, error):
    calls = []

    def sometimes() -> tuple[str, dict[str, int]]:
        calls.append(1)
        if len(calls) < 3:
            raise error
        return "my.figure", {"n": len(calls)}

    pollers.append(Poller([sometimes, lambda: ("other", {})], period_s=0.01, bus=bus))
    pollers[0].start()

    wait_until(lambda: heard.named("my.figure"))
    failures = heard.named("poller.measurement.failure")
    assert [failure.measurements["failures"] for failure in failures] == [1, 2]
    assert failures[0].metadata["error_type"] == type(error).__name__
    assert failures[0].metadata["kind"] == ("exit" if isinstance(error, SystemExit) else "error")
    assert failures[0].metadata["measurement"].endswith("sometimes")
    assert "sometimes" in failures[0].metadata["stacktrace"]
    assert heard.named("other")
    assert pollers[0].list()[0].state != "failing"


@item("L12", differs="`process.memory`: what the whole process has, `rss`, `peak` and `uss`")
def test_L12_memory_says_how_much_the_process_has(bus, heard):
    Poller(["memory"], bus=bus).collect()

    measured = heard.one("process.memory").measurements
    assert 1_000_000 < measured["uss"] <= measured["rss"] <= measured["peak"]
    assert heard[0].metadata == {}


@item(
    "L13",
    differs="`process.run_queue`: `io` is what waits in event loops, `cpu` threads that want a processor",
)
def test_L13_run_queue_says_what_is_ready_and_waits(bus, heard):
    Poller(["run_queue"], bus=bus).collect()

    measured = heard.one("process.run_queue").measurements
    assert measured["total"] == measured["cpu"] + measured["io"]


@item("L14", differs="`process.counts`: threads and open files, and how many there may be")
def test_L14_counts_says_what_is_open_and_what_may_be(bus, heard):
    Poller(["counts"], bus=bus).collect()

    measured = heard.one("process.counts").measurements
    assert 1 <= measured["python_threads"] <= measured["threads"]
    assert 3 <= measured["open_files"] <= measured["open_files_max"]


@item("L16", differs="what is to be asked is a function of the program's; one that has nothing to say returns None")
def test_L16_a_measurement_that_has_nothing_to_say_is_silent_and_stays(bus, heard):
    poller = Poller([lambda: None], bus=bus)

    assert poller.collect() == ("test_L16_a_measurement_that_has_nothing_to_say_is_silent_and_stays.<locals>.<lambda>",)

    assert list(heard) == []
    assert poller.list()[0].failures == 0


@item(
    "L17", differs="`tinkertape.start()` has one, which `instrument=False` leaves without the process; each ten seconds"
)
def test_L17_start_polls_the_clock_and_the_process_by_itself_and_can_be_told_not_to(tmp_path, monkeypatch):
    def polled(**settings):
        with tinkertape.start("run", directory=tmp_path, **settings) as telemetry:
            poller = telemetry._poller
            return None if poller is None else {polled.name: polled.period_s for polled in poller.list()}

    process = {f"process.{name}": 10.0 for name in ("memory", "cpu", "counts", "gc", "run_queue")}
    assert polled() == {"clock": 1.0, **process}
    assert polled(instrument=False) == {"clock": 1.0}
    monkeypatch.setenv("TINKERTAPE_OFF", "1")
    assert polled() is None


@item(
    "L18",
    beat="ticks lie on a fixed grid and a slow one delays no other; BEAM's run in sequence, timed from the last end",
)
def test_L18_a_slow_measurement_delays_no_other_and_is_never_run_twice_at_once(bus, heard, pollers):
    let_go = threading.Event()
    inside: list[int] = []

    def slow() -> None:
        inside.append(1)
        let_go.wait(30)

    poller = Poller([slow, lambda: ("quick", {})], period_s=0.01, bus=bus)
    pollers.append(poller)
    poller.start()

    wait_until(lambda: len(heard.named("quick")) >= 10 and poller.list()[0].skipped >= 5)
    assert inside == [1]
    assert poller.list()[0].state == "running"
    let_go.set()
    wait_until(lambda: len(inside) > 1)


@item(
    "L20",
    beat="added, removed, paused, collected at any time, each with its own period; BEAM's are fixed at start",
)
def test_L20_measurements_are_added_removed_paused_and_collected_at_any_time(bus, heard, pollers):
    poller = Poller([], period_s=1000, bus=bus)
    pollers.append(poller)
    poller.start()

    poller.add(lambda: ("fast", {}), name="fast", period_s=0.01)
    poller.add(lambda: ("slow", {}), name="slow")
    wait_until(lambda: len(heard.named("fast")) >= 3 and len(heard.named("slow")) == 1)

    poller.pause("fast")
    assert [polled.state for polled in poller.list()] == ["paused", "waiting"]
    assert poller.collect() == ("slow",)
    wait_until(lambda: poller.collect("fast") == ("fast",))  # a run may be under way
    told = len(heard.named("fast"))
    poller.resume("fast")
    wait_until(lambda: len(heard.named("fast")) > told)

    poller.pause()
    poller.remove("fast")
    assert [polled.name for polled in poller.list()] == ["slow"]
    poller.start()
    assert len(heard.named("slow")) == 2


def test_poller_is_a_public_name():
    assert tinkertape.Poller is Poller
