"""What a poller measures of the process by name."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest
from tests.instrument.watching import Events
from tests.waiting import wait_until

from tinkertape import Bus, Poller
from tinkertape.instrument import pauses, readings
from tinkertape.instrument.measurements import cpu, memory, run_queue
from tinkertape.instrument.readings import Proc, Psutil, StandardLibrary


@pytest.fixture
def heard() -> Events:
    return Events()


@pytest.fixture
def bus(heard: Events) -> Bus:
    found = Bus()
    found.attach_all("test", heard.hear)
    return found


@pytest.fixture
def loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="my-loop")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_proc_and_psutil_say_the_same():
    psutil = Psutil(pytest.importorskip("psutil"))
    proc = Proc()

    def said() -> tuple[int, dict[str, float], dict[str, float]]:
        ours, theirs = proc.counts(), psutil.counts()
        return theirs.pop("open_files") - ours.pop("open_files"), ours, theirs

    def agree() -> bool:
        """Another thread may open and close between the two. psutil counts the folder that it lists, too; we, the
        number that is kept for a thread that waits in `accept`."""
        more, ours, theirs = said()
        return -ours["threads"] <= more <= 1 and ours == theirs

    wait_until(agree, otherwise=said)
    assert proc.memory()["rss"] == pytest.approx(psutil.memory()["rss"], rel=0.05)
    assert proc.uss() == pytest.approx(psutil.uss(), rel=0.05)
    assert proc.cpu().keys() == psutil.cpu().keys()


def test_where_neither_is_there_the_standard_library_says_what_it_knows():
    found = StandardLibrary()

    assert found.memory()["peak"] > 1_000_000
    assert found.cpu()["user"] > 0
    assert (found.uss(), found.runnable_threads()) == (None, None)


def test_uss_is_read_again_only_when_its_cost_is_a_small_part_of_the_time(monkeypatch):
    reads: list[int] = []
    monkeypatch.setattr(readings.Proc, "uss", lambda self: reads.append(1) or 5)
    measure = memory.Measurement()

    assert measure()[1]["uss"] == 5
    measure._uss_at_ns += 60_000_000_000
    assert "uss" not in measure()[1]
    assert len(reads) == 1


def test_the_share_of_a_processor_is_that_of_the_time_between_two_measurements(monkeypatch):
    used = iter([1_000, 1_250])
    monkeypatch.setattr(readings.Proc, "cpu", lambda self: {"user": next(used), "system": 0})
    monkeypatch.setattr(cpu.time, "perf_counter_ns", iter([0, 500]).__next__)
    measure = cpu.Measurement()

    assert "share" not in measure()[1]
    assert measure()[1]["share"] == 0.5


def test_a_collection_of_cycles_is_counted_and_its_pause_timed(bus, heard):
    poller = Poller(["gc"], bus=bus)
    gc.collect()

    poller.collect()

    [oldest] = heard.named("process.gc", generation=2)
    assert oldest.measurements["collections"] == 1
    assert oldest.measurements["pause_max"] == oldest.measurements["pause"] > 0


def test_collections_are_timed_only_while_a_poller_wants_it():
    before = list(gc.callbacks)
    poller = Poller(["gc"])
    assert len(gc.callbacks) == len(before) + 1

    poller.remove("gc")

    assert gc.callbacks == before
    assert pauses._watchers == 0


def test_every_event_loop_that_runs_is_found_with_its_ready_callbacks(bus, heard, loop_thread):
    release = threading.Event()
    entered = threading.Event()
    loop_thread.call_soon_threadsafe(lambda: (entered.set(), release.wait(10)))
    assert entered.wait(10)
    for _ in range(5):
        loop_thread.call_soon_threadsafe(lambda: None)

    Poller(["run_queue"], bus=bus).collect()
    release.set()

    told = heard.one("process.loop", thread_name="my-loop")
    assert told.measurements["ready"] in (5, 6)  # the loop's own reader of its waker may be among them
    assert told.measurements["lag"] >= 40_000_000  # it was asked, and waited for as long as we wait
    assert told.metadata["owner"] == "user"
    queue, loops = heard.one("process.run_queue").measurements, heard.named("process.loop")
    assert queue["loops"] == len(loops)  # the SDK's may be among them
    assert queue["io"] == sum(loop.measurements.get("ready", 0) for loop in loops)  # a loop not of asyncio tells none
    assert queue["lag"] == max(loop.measurements["lag"] for loop in loops)


async def test_the_loop_of_asyncio_run_is_found_from_another_thread(bus, heard):
    await asyncio.to_thread(Poller(["run_queue"], bus=bus).collect)

    assert heard.one("process.loop", loop=id(asyncio.get_running_loop())).metadata["owner"] == "user"


def test_the_loop_of_uvloop_is_found(bus, heard):
    uvloop = pytest.importorskip("uvloop")

    async def measured() -> int:
        await asyncio.to_thread(Poller(["run_queue"], bus=bus).collect)
        return id(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.run(measured())

    assert "ready" not in heard.one("process.loop", loop=loop).measurements


def test_a_loop_that_was_just_closed_is_no_failure():
    loop = asyncio.new_event_loop()
    loop.close()
    probe = run_queue._Probe(run_queue.RunningLoop(loop, 0))

    probe.wait(10)

    assert probe.lag_ns == 0


def test_a_thread_that_computes_without_the_gil_is_runnable():
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            bytearray(1_000_000).translate(bytes(256))

    thread = threading.Thread(target=busy)
    thread.start()
    runnable = wait_until(lambda: Proc().runnable_threads())
    stop.set()
    thread.join()

    assert runnable >= 1
