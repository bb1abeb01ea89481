"""Stalls that really happen, each in a program of its own: its GIL is nobody else's."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import wait_until

from tinkertape import Bus, Poller
from tinkertape.events import PROCESS_STALL
from tinkertape.instrument import process
from tinkertape.instrument.stalls import timers
from tinkertape.instrument.stalls.evidence import Evidence, Seen, held_ns
from tinkertape.instrument.stalls.frames import STACK_MAX, likest, stack_of, stacks_in
from tinkertape.instrument.stalls.monitor import TOLD_MAX, Budget
from tinkertape.instrument.stalls.threads import Computed
from tinkertape.instrument.stalls.window import Window
from tinkertape.instrument.tinker import loop

MS = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's figures of threads are Linux's")

WATCHED = """
import asyncio, json, os, random, re, sys, threading, time
import tinkertape
from tinkertape.instrument import process

told, ready = [], threading.Event()

def hear(name, measured, metadata, config):
    told.append({**measured, **metadata})

def wait_until(condition, within_s=30):
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)

def stalls(function, *, again=3, found=lambda stall: True):
    "Do it until a stall of it is told, three times at most."
    for _ in range(again):
        time.sleep(0.2)  # the monitor has looked at the processor times before
        function()
        wait_until(lambda: any(map(found, told)), within_s=1)
        if any(map(found, told)):
            return

tinkertape.attach("test", "process.stall", hear)
process.install(stacks=True)
"""
END = """
process.uninstall()
print(json.dumps(told))
"""


def told_by(program: str, **popen: Any) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + program + END],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        **popen,
    )
    assert done.stderr == ""
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


GUILTY = {
    "regex": "guilty_pattern = re.compile(r'(a+)+b')\ndef guilty(): return len(guilty_pattern.findall('a' * 23))",
    "sort": "many = [random.random() for _ in range(1_500_000)]\ndef guilty(): return len(sorted(many))",
    "power": "def guilty(): return len([7 ** 1_500_000])",
    "json": "many = list(range(3_000_000))\ndef guilty(): return len(json.dumps(many))",
}


@linux
@pytest.mark.alone  # where others use both processors the wait is one for a processor, and told as that
@pytest.mark.parametrize("name", GUILTY)
def test_c_code_that_holds_the_gil_is_told_with_how_long_who_and_where(name):
    told = told_by(
        GUILTY[name]
        + """
def found(stall): return stall["cause"] == "gil" and any(" in guilty" in line for line in stall["stack"])
stalls(guilty, found=found)
"""
    )

    guilty = [each for each in told if any(" in guilty" in line for line in each["stack"])]
    [*_, stall] = [each for each in guilty if each["cause"] == "gil"]  # others "starved", where the machine is busy
    assert stall["thread_name"] == "MainThread"
    assert 50 * MS <= stall["duration"] <= stall["duration_max"]
    assert stall["cpu"] > 0


@linux
def test_a_long_one_has_its_stack_written_while_it_lasted():
    [*_, stall] = told_by(
        GUILTY["regex"]
        + """
stalls(guilty, found=lambda stall: stall["stack_taken"] == "during")
"""
    )

    assert stall["stack_taken"] == "during"
    assert " in guilty" in stall["stack"][0]


@linux
def test_it_is_found_in_whichever_thread_it_is():
    [*_, stall] = told_by(
        GUILTY["regex"]
        + """
def in_thread():
    thread = threading.Thread(target=guilty, name="the-guilty")
    thread.start()
    thread.join()
stalls(in_thread, found=lambda stall: stall["thread_name"] == "the-guilty")
"""
    )

    assert stall["thread_name"] == "the-guilty"


@linux
@pytest.mark.parametrize(
    "program",
    [
        "time.sleep(2)",
        "import itertools\nend = time.monotonic() + 2\nwhile time.monotonic() < end: sum(n * n for n in range(100))",
    ],
    ids=["idle", "busy in Python"],
)
def test_a_program_that_lets_others_run_has_no_stall(program):
    assert [stall for stall in told_by(program) if stall["cause"] in ("gil", "gc", "loop")] == []


@linux
def test_a_process_that_was_stopped_had_no_stall():
    program = subprocess.Popen(
        [sys.executable, "-c", WATCHED + "print(flush=True)\nsys.stdin.readline()" + END],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None and program.stdout is not None
    program.stdout.readline()
    for _ in range(3):
        program.send_signal(signal.SIGSTOP)
        until_s = time.monotonic() + 0.3
        wait_until(lambda until_s=until_s: time.monotonic() > until_s)
        program.send_signal(signal.SIGCONT)
        until_s = time.monotonic() + 0.2
        wait_until(lambda until_s=until_s: time.monotonic() > until_s)

    assert json.loads(program.communicate("\n", timeout=60)[0]) == []


def test_a_callback_that_holds_its_event_loop_is_told_with_its_stack():
    told = told_by(
        """
def guilty(): time.sleep(0.4)
async def main():
    for _ in range(20):
        await asyncio.sleep(0.1)  # it is found within a second
        if len(told) > 0: break
        guilty()
asyncio.run(main())
"""
    )

    stall = next(each for each in told if each["cause"] == "loop")
    assert stall["duration"] >= 300 * MS
    assert (stall["thread_name"], stall["owner"], stall["stack_taken"]) == ("MainThread", "user", "during")
    assert any(" in guilty" in line for line in stall["stack"])


def test_a_loop_that_does_not_run_is_held_by_nobody():
    told = told_by(
        """
from tinkertape.instrument.tinker import loop
with asyncio.Runner() as runner:
    async def watched():
        while not loop.watched: await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
    runner.run(watched())
    time.sleep(0.4)
    runner.run(watched())
"""
    )

    assert [stall for stall in told if stall["cause"] == "loop"] == []


@linux
def test_the_collector_of_cycles_is_named_when_it_was_that():
    told = told_by(
        """
import gc
gc.disable()
many = [[n] for n in range(3_000_000)]
stalls(gc.collect, found=lambda stall: stall["cause"] == "gc")
os.sys.stdout.flush()
"""
    )

    assert "gc" in [stall["cause"] for stall in told]


@linux
def test_the_programs_own_timer_of_faulthandler_goes_on_and_keeps_its_file(tmp_path):
    [*_, stall] = told_by(
        f"""
import faulthandler
mine = open({str(tmp_path / "mine")!r}, "w")
faulthandler.dump_traceback_later(0.35, file=mine)  # 0.2 s are waited first
"""
        + GUILTY["regex"]
        + """
stalls(guilty, found=lambda stall: stall["stack_taken"] == "during")
"""
    )

    assert "in guilty" in (tmp_path / "mine").read_text()
    assert stall["stack_taken"] == "during"


@linux
def test_where_the_program_has_the_signal_the_stack_is_that_of_the_end(tmp_path):
    [*_, stall] = told_by(
        "process.uninstall()\nimport signal\nsignal.signal(signal.SIGURG, lambda *_: told.append('theirs'))\n"
        "process.install(stacks=True)\n" + GUILTY["regex"] + "\nstalls(guilty)"
    )

    assert stall["stack_taken"] == "after"


@linux
def test_a_program_that_takes_the_signal_later_gets_none_of_ours():
    told = told_by(
        "import signal\nsignal.signal(signal.SIGURG, lambda *_: told.append({'cause': 'theirs'}))\n"
        + GUILTY["regex"]
        + "\nstalls(guilty)"
    )

    assert "theirs" not in [stall["cause"] for stall in told]


@linux
def test_a_forked_child_is_not_watched_until_it_installs_and_then_finds_its_own():
    told = told_by(
        GUILTY["regex"]
        + """
reading, writing = os.pipe()
if os.fork() == 0:
    names = [thread.name for thread in threading.enumerate()]
    guilty()
    before = len(told)
    process.install()
    stalls(guilty)
    os.write(writing, json.dumps([names, before, [stall["cause"] for stall in told]]).encode())
    os._exit(0)
os.wait()
told.append(json.loads(os.read(reading, 10_000)))
"""
    )

    names, before, causes = told[-1]
    assert (names, before) == (["MainThread"], 0)
    assert "gil" in causes


def test_install_measures_the_process_and_uninstall_leaves_nothing_behind():
    before = (list(gc.callbacks), {thread.name for thread in threading.enumerate()})
    heard: list[str] = []
    bus = Bus()
    bus.attach_all("test", lambda name, *_: heard.append(name))
    poller = Poller([], bus=bus)

    process.install(poller=poller)
    process.install(poller=poller)
    names = [polled.name for polled in poller.list()]
    process.uninstall()
    process.uninstall()

    assert names == ["process.memory", "process.cpu", "process.counts", "process.gc", "process.run_queue"]
    assert {"process.memory", "process.cpu", "process.counts"} <= set(heard)  # once more at the end
    assert poller.list() == ()
    assert (list(gc.callbacks), {thread.name for thread in threading.enumerate()}) == before


async def test_a_watched_loop_gets_its_selector_back():
    running = asyncio.get_running_loop()
    loop.watch(running, threading.get_ident(), "user")
    assert "select" in vars(running._selector)

    loop.unwatch()

    assert "select" not in vars(running._selector)
    assert loop.watched == {}


async def test_what_the_program_put_over_a_watched_select_stays_and_ours_tells_nothing_more():
    running, asked = asyncio.get_running_loop(), []
    selector = running._selector
    loop.watch(running, threading.get_ident(), "user")
    found, ours = loop.watched[id(selector)], selector.select

    def probe(timeout=None):
        asked.append(timeout)
        return ours(timeout)

    selector.select = probe
    loop.unwatch()
    found.woke_ns = 0  # as after a busy run
    await asyncio.sleep(0)

    assert selector.select is probe and asked
    assert not found.held
    del selector.select


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="such events are epoll's")
@pytest.mark.parametrize("flag", ["EPOLLET", "EPOLLONESHOT"])
async def test_an_event_that_is_told_once_reaches_a_watched_loop(flag):
    running, (here, there) = asyncio.get_running_loop(), socket.socketpair()
    loop.watch(running, threading.get_ident(), "user")
    received = []
    running.add_reader(here, lambda: received.append(here.recv(10)))
    running._selector._selector.modify(here.fileno(), select.EPOLLIN | getattr(select, flag))

    there.send(b"once")
    for _ in range(10):
        await asyncio.sleep(0)

    running.remove_reader(here)
    here.close(), there.close()
    loop.unwatch()
    assert received == [b"once"]


async def test_a_watched_loop_takes_what_is_ready_in_its_own_order():
    running, pairs, taken = asyncio.get_running_loop(), [socket.socketpair() for _ in range(4)], []
    loop.watch(running, threading.get_ident(), "user")
    for number, (here, there) in enumerate(pairs):
        running.add_reader(here, taken.append, number)  # it stays ready: nobody reads it
        there.send(b"x")

    for _ in range(6):
        await asyncio.sleep(0)

    for here, there in pairs:
        running.remove_reader(here)
        here.close(), there.close()
    loop.unwatch()
    assert taken[:8] == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(
    ("late_ms", "switches", "starved_ms", "held"),
    [
        pytest.param(300, 60, 0, 298 * MS, id="waited for the GIL"),
        pytest.param(300, 20, 0, 298 * MS, id="on a busy machine each wake takes longer"),
        pytest.param(300, 2, 0, 0, id="stopped, or asleep"),
        pytest.param(300, 3, 295, 3 * MS, id="without a processor nearly all the while"),
        pytest.param(300, 30, 100, 198 * MS, id="without a processor for a third"),
        pytest.param(1, 0, 0, 0, id="on time"),
    ],
)
def test_only_a_thread_that_asked_for_the_gil_was_kept_from_it(late_ms, switches, starved_ms, held):
    before, after = Seen(100, 7 * MS), Seen(100 + 3 + switches, (7 + starved_ms) * MS)

    assert held_ns(late_ms * MS, before, after, 3, 0.005) == held


def test_where_the_system_tells_nothing_of_threads_a_lateness_is_taken_for_a_stall():
    assert held_ns(300 * MS, Seen(None, None), Seen(None, None), 3, 0.005) == 298 * MS


@linux
def test_where_the_program_put_a_file_of_its_own_in_place_of_ours_the_waits_are_not_told():
    evidence = Evidence()
    assert evidence.now().starved_ns is not None
    with Path(os.devnull).open("rb") as other:
        os.dup2(other.fileno(), evidence._file.descriptor)

    assert evidence.now().starved_ns is None
    number = evidence._file.descriptor
    del evidence
    os.close(number)  # not closed by us: it was not ours


def test_stacks_that_faulthandler_wrote_are_read():
    head = "Stack (most recent call first):\n"
    dump = f'{head}  File "/a b.py", line 7 in inner\n  File "<string>", line 1 in <module>\n'
    dump += f'{head}  <no Python frame>\n{head}  File "/c.py", line ??? in f'

    assert stacks_in(dump) == [["/a b.py:7 in inner", "<string>:1 in <module>"], ["/c.py:??? in f"]]
    assert stacks_in("") == []


def test_of_several_stacks_the_one_that_began_like_the_holders_is_its():
    after = ["/a.py:9 in caller", "/a.py:1 in <module>"]
    other, its = ["/x.py:1 in run"], ["/a.py:3 in guilty", "/a.py:8 in caller", "/a.py:1 in <module>"]

    assert likest([other, its], after) == its
    assert likest([other], after) is None
    assert likest([], after) is None


def test_a_deep_stack_is_cut_at_the_outermost():
    def deep(depth: int) -> list[str]:
        return deep(depth - 1) if depth else stack_of(sys._getframe())

    assert len(deep(100)) == STACK_MAX
    assert deep(100)[0].endswith(" in deep")


def test_too_many_stalls_are_summed_up_in_the_next_one_told():
    budget = Budget()
    assert all(budget.allows(at_ns, 1) for at_ns in range(TOLD_MAX))
    assert not budget.allows(60, 70 * MS)
    assert not budget.allows(61, 80 * MS)

    assert budget.allows(60_000_000_001, 50 * MS)
    assert budget.left_out() == {"left_out": 2, "left_out_duration": 150 * MS}
    assert budget.left_out() == {}


def test_a_second_of_the_fine_probe_sums_up_its_late_wakes_and_the_next_begins_anew():
    window = Window()
    wakes = [(100 + 20 * number, 100 + 20 * number + late) for number, late in enumerate([1, 2, 7, 3, 0])]
    over = [window.add(asked * MS, woke * MS, 20 * MS) for asked, woke in wakes]

    assert over == [False] * 5
    seen = window.close()
    assert seen is not None
    assert (seen["wakes"], seen["count"], seen["total"], seen["longest"]) == (5, 2, 10 * MS, 7 * MS)
    assert (seen["duration"], seen["monotonic_time"]) == (100 * MS, 180 * MS)
    assert window.add(2_000 * MS, 2_001 * MS, 20 * MS) is False
    assert window.add(3_000 * MS, 3_000 * MS, 20 * MS) is True
    assert window.close() is None


def test_threads_that_take_turns_for_the_gil_are_told_by_the_second_while_something_is_in_flight():
    told = told_by(
        """
from tinkertape.events import operation_events
from tinkertape.instrument.tinker.flight import Operation
windows = []
tinkertape.attach("windows", "process.stall.window", lambda name, measured, *_: windows.append(dict(measured)))
def spin():
    while not windows: sum(range(1000))
for _ in range(3): threading.Thread(target=spin, daemon=True).start()
operation = Operation("sample", operation_events("sampling", "sample"), 0, 0, is_coroutine=False)
wait_until(lambda: windows)
operation.close()
told.append(windows[0])
"""
    )

    window = told[-1]
    assert 1 <= window["count"] <= window["wakes"]
    assert window["longest"] <= window["total"]


@pytest.mark.parametrize(
    ("most_ms", "before_ms", "all_ms", "held_ms", "cause"),
    [
        pytest.param(300, 50, 310, 300, "gil", id="computed all the while"),
        pytest.param(120, 50, 130, 400, "gil", id="computed on a full machine, for longer than Python would"),
        pytest.param(60, 50, 70, 100, "starved", id="may have computed before, and had no processor then"),
        pytest.param(100, 50, 210, 200, "contention", id="one of two"),
        pytest.param(5, 50, 6, 200, "unknown", id="nobody"),
    ],
)
def test_who_held_the_gil_is_told_by_who_computed(most_ms, before_ms, all_ms, held_ms, cause):
    computed = Computed(threading.main_thread(), most_ms * MS, before_ms * MS, all_ms * MS)

    assert computed.cause(held_ms * MS) == cause
    assert computed.cause(held_ms * MS, dumped=True) == ("gil" if cause == "starved" else cause)
    assert (computed.holder(held_ms * MS) is not None) == (cause in ("gil", "starved"))


@linux
def test_a_signal_that_somebody_catches_is_not_free(tmp_path):
    assert not timers.is_free(signal.SIGINT)
    assert timers.is_free(signal.SIGUSR2)


def test_a_stall_is_declared_with_everything_that_it_carries():
    assert {"duration", "duration_max", "left_out"} <= PROCESS_STALL.measurements.keys()
    assert {"cause", "thread", "thread_name", "loop", "stack", "stack_taken"} <= PROCESS_STALL.metadata.keys()


def test_the_process_source_is_found_without_a_start_before_it(tmp_path: Path):
    program = "import tinkertape; tinkertape.instrument.process.install(); tinkertape.instrument.process.uninstall()"

    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={**os.environ}, timeout=60)

    assert done.returncode == 0


def test_no_signal_is_taken_and_no_stack_written_during_a_stall_unless_somebody_asks(tmp_path: Path):
    program = (
        "import signal, tinkertape\nfrom tinkertape.instrument import process\n"
        "from tinkertape.instrument.stalls import timers\n"
        "tinkertape.start('mine'); print(timers.is_free(signal.SIGURG)); tinkertape.get_telemetry().close()\n"
        "process.install(); print(timers.is_free(signal.SIGURG)); process.uninstall()\n"
        "process.install(stacks=True); print(timers.is_free(signal.SIGURG)); process.uninstall()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)

    assert ran.stdout.split() == ["True", "True", "False"]
