"""How long our threads waited for a processor is told with every exchange, where the kernel counts it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tinker
from tests.instrument.watching import MODEL, Events, adam, batch, ends
from tests.waiting import wait_until

from tinkertape.instrument import tinker as source
from tinkertape.instrument.tinker import starvation

Connect = Callable[..., tinker.ServiceClient]
SUBMITTED = "tinker.submit.stop"
EXCHANGES = ("tinker.http.request.", "tinker.future.poll.", "tinker.submit.")

counted = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not count it")


def train_once(service: tinker.ServiceClient) -> None:
    training = service.create_lora_training_client(base_model=MODEL).result()
    training.forward_backward(batch(), "cross_entropy").result()
    training.optim_step(adam()).result()


def all_open() -> dict[str, str]:
    """The counts that this process has open, by descriptor."""
    links = {link.name: link for link in list(Path("/proc/self/fd").iterdir()) if link.is_symlink()}
    return {name: str(link.readlink()) for name, link in links.items() if link.readlink().name == "schedstat"}


others: dict[str, str] = {}


@pytest.fixture(autouse=True)
def what_other_tests_left_open() -> None:
    others.clear()
    others.update(all_open())


def open_counts() -> list[str]:
    """The counts that were opened since this test began."""
    return [path for name, path in all_open().items() if others.get(name) != path]


@counted
def test_every_exchange_says_how_long_its_threads_waited(connect: Connect, events: Events) -> None:
    train_once(connect())

    told = [event for event in ends(events) if event.name.startswith(EXCHANGES)]
    assert {event.name.removesuffix(".stop") + "." for event in told} == set(EXCHANGES)
    for event in told:
        assert event.measurements["starved"] >= 0, event
    submits = {event.metadata["submission_id"]: event.measurements["starved"] for event in events.named(SUBMITTED)}
    for event in events.named("tinker.http.request.stop"):
        if event.metadata["submission_id"] is not None:
            assert event.measurements["starved"] == submits[event.metadata["submission_id"]]


@counted
def test_the_transports_own_threads_are_counted_and_each_file_is_opened_once(connect: Connect, events: Events) -> None:
    service = connect()
    train_once(service)
    wait_until(lambda: time.perf_counter_ns() >= starvation._threads._look_at_ns, within_s=5)
    train_once(service)
    train_once(service)

    threads = starvation._threads
    assert len(threads._callers) == 1
    assert len(threads._network) >= 1
    assert len(set(open_counts())) == len(open_counts()) == len(threads._callers) + len(threads._network)


@counted
def test_a_thread_that_was_kept_waiting_is_told_as_long(events: Events) -> None:
    """Two threads that share one processor, without the GIL between them: one is another process."""
    processor = min(os.sched_getaffinity(0))
    program = f"import os\nos.sched_setaffinity(0, [{processor}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program]) as other:
        told: list[int] = []

        def share() -> None:
            os.sched_setaffinity(0, [processor])
            began = starvation.waited_ns()
            wait_until(
                lambda: told.append(starvation.since(began, 20_000_000) or 0) or told[-1] > 20_000_000, within_s=20
            )

        thread = threading.Thread(target=share)
        thread.start()
        thread.join()
        other.kill()
    assert told[-1] > 20_000_000
    assert told == sorted(told)


@counted
def test_no_count_is_read_that_could_not_change_an_answer_by_4_ms(events: Events) -> None:
    starvation.forget()
    began = starvation.waited_ns()
    read = starvation._threads._newest

    assert starvation.since(began, lasted_ns=3_999_999) == 0
    assert starvation._threads._newest is read

    wait_until(lambda: time.perf_counter_ns() - read[1] > 20_000_000, within_s=5)
    assert starvation.since(began, lasted_ns=4_000_000) is not None
    assert starvation._threads._newest is not read


def test_where_it_is_not_counted_nothing_is_said_and_nothing_fails(
    connect: Connect, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starvation, "_TASKS", tmp_path)
    starvation.forget()

    train_once(connect())

    assert events.named("tinker.future.poll.stop")
    assert not any("starved" in event.measurements for event in events)


@counted
def test_a_forked_child_counts_its_own_threads(events: Events) -> None:
    assert starvation.waited_ns() is not None
    parent = open_counts()
    child = os.fork()
    if child == 0:
        inherited = open_counts()  # the parent's would be named by its id
        starvation.waited_ns()
        own = [f"/proc/{os.getpid()}/task/{threading.get_native_id()}/schedstat"]
        os._exit(0 if inherited == [] and open_counts() == own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert open_counts() == parent


def test_uninstall_closes_every_file(connect: Connect, events: Events) -> None:
    train_once(connect())
    source.uninstall()
    assert open_counts() == []
