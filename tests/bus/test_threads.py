"""Many threads on one bus lose no call; a fork in the midst of it leaves a bus that works."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest
from benchmarks.bus_hammer import hammer
from tests.bus.hearing import Heard

from tinkertape.bus import Bus, default_bus, list_handlers
from tinkertape.events import EventType
from tinkertape.spans import span

SECONDS = 3.0  # ./tt bench bus --soak 10 does it for longer


def test_attaching_and_executing_from_eight_threads_loses_no_call() -> None:
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads change over in the midst of everything
    try:
        counts = hammer(SECONDS)
    finally:
        sys.setswitchinterval(switching)

    assert counts.wrong == []
    assert counts.heard == counts.expected
    assert counts.changes > 0
    assert list_handlers("hammer") == []


def test_a_handler_may_attach_detach_and_list_while_others_execute(bus: Bus) -> None:
    done: list[int] = []

    def change(event: str, measurements: Any, metadata: Any, config: Any) -> None:
        bus.attach(("extra", config), "e.y", lambda *_: None)
        bus.list_handlers()
        bus.detach(("extra", config))
        done.append(config)

    for number in range(4):
        bus.attach(number, f"e.x{number}", change, number)
    threads = [threading.Thread(target=bus.execute, args=(f"e.x{number}", {})) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [0, 1, 2, 3]


def in_a_fork(check: Any) -> int:
    """The exit status of a forked child that runs `check`."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_is_forked_while_a_thread_changes_the_table_has_a_bus_that_works(bus: Bus) -> None:
    event = EventType("test.forked.done")
    heard = Heard()
    held, go_on = threading.Event(), threading.Event()

    def half_a_change() -> None:
        with default_bus._lock:  # in the midst of an attach: it is in the list, but nobody was told yet
            default_bus._attachments["forked"] = attachment
            held.set()
            go_on.wait()

    bus.attach("forked", "test.forked.done", heard)
    attachment = bus._attachments["forked"]
    thread = threading.Thread(target=half_a_change)
    thread.start()
    held.wait()
    try:

        def check() -> bool:
            if event.handlers:
                event.execute({})
            default_bus.execute("test.forked.done", {})
            default_bus.detach("forked")
            with span("test.forked"):
                default_bus.execute("test.forked.done", {})
            return len(heard) == 2

        assert in_a_fork(check) == 0
    finally:
        go_on.set()
        thread.join()
        default_bus.detach("forked")
