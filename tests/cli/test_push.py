"""`push`, as a process of its own over real tapes, to a real collector and to none."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import TINKERTAPE, Run, call, environment
from tests.cli.test_reading import record
from tests.delivery.conftest import Door
from tests.waiting import wait_until

from tinkertape.cli import push
from tinkertape.errors import DeliveryError


@pytest.fixture
def door() -> Iterator[Door]:
    """A collector that takes whole lines."""
    made = Door(ours=True)
    yield made
    made.close()


def test_all_runs_are_sent_then_one_and_then_nothing_is_left(tinkertape: Run, directory: Path, door: Door) -> None:
    record(directory, "first")
    record(directory, "second")

    one = tinkertape("push", "second", "--url", door.url)
    sent = len(door.events)
    rest = tinkertape("push", TINKERTAPE_URL=door.url)
    again = tinkertape("push", "--json", "--url", f"{door.url}/")

    assert [done.returncode for done in (one, rest, again)] == [0, 0, 0], one.stderr + rest.stderr
    assert one.stdout == f"sent {sent} events to {door.url}\n"
    assert rest.stdout == f"sent {len(door.events) - sent} events to {door.url}\n"
    assert (one.stderr, rest.stderr) == ("", "")
    assert json.loads(again.stdout) == {"url": door.url, "sent": 0, "skipped": 0, "refused": 0, "left": []}
    assert {body["tape"]["name"] for body in door.bodies} == {"first", "second"}
    assert len({event["event_id"] for event in door.events}) == len(door.events)


def test_what_is_left_is_said_with_the_reason_and_status_1(tinkertape: Run, directory: Path, door: Door) -> None:
    record(directory, "mine")
    door.answers, door.said = lambda body: (403, {}), "go \x1b]0;away\x07"

    done = tinkertape("push", "--url", door.url)
    lines = done.stdout.splitlines()

    assert done.returncode == 1
    assert lines[0] == f"nothing was sent to {door.url}"
    assert lines[1].startswith("left: ") and "refused the key (HTTP 403: go " in lines[1]
    assert "\x1b" not in done.stdout


def test_a_collector_that_is_not_there_leaves_everything(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine")
    with socket.socket() as taken:  # bound and never listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        done = tinkertape("push", "--url", f"http://127.0.0.1:{taken.getsockname()[1]}")

    assert done.returncode == 1
    assert "left: " in done.stdout and "Connection refused" in done.stdout


def test_the_bar_is_on_a_terminal_only(directory: Path, door: Door) -> None:
    record(directory, "long", 3_000)
    theirs, ours = pty.openpty()
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                shown.extend(os.read(theirs, 65_536))
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    command = [*TINKERTAPE, "push", "--url", door.url]
    done = subprocess.run(
        command, env=environment(directory, TERM="xterm"), stdout=subprocess.PIPE, stderr=ours, timeout=60
    )
    os.close(ours)
    reader.join(10)
    os.close(theirs)

    assert done.returncode == 0
    assert b"sending to" in shown and b"MB" in shown
    assert done.stdout.startswith(b"sent 3 0")


@pytest.mark.parametrize("words", [("push", "nothing"), ("push", "--url", "ftp://x")], ids=" ".join)
def test_what_cannot_be_meant_is_one_line_and_status_2(
    tinkertape: Run, directory: Path, words: tuple[str, ...]
) -> None:
    record(directory, "mine")

    done = tinkertape(*words)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_nothing_on_this_machine_is_nothing_left(tinkertape: Run, door: Door) -> None:
    done = tinkertape("push", "--url", door.url)

    assert (done.returncode, done.stdout) == (0, f"nothing is left for {door.url}\n")


def test_without_an_address_the_running_collector_is_meant(
    tinkertape: Run, directory: Path, door: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(directory, "mine")
    monkeypatch.setenv("TINKERTAPE_DIRECTORY", str(directory))
    monkeypatch.chdir(directory)
    monkeypatch.setattr(push, "RUNNING", door.url)

    status = push.command.main([], standalone_mode=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(push, "RUNNING", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(DeliveryError, match="name one with --url or TINKERTAPE_URL"):
            push.command.main([], standalone_mode=False)

    assert status == 0
    assert capsys.readouterr().out == f"sent {len(door.events)} events to {door.url}\n"


def test_ctrl_c_ends_it_with_130_and_what_was_sent_stays_sent(directory: Path, door: Door) -> None:
    record(directory, "long", 8_000)  # more than one body holds
    door.answers = lambda body: (503, {"Retry-After": "20"}) if door.requests == 2 else (200, {})
    command = [*TINKERTAPE, "push", "--url", door.url]
    with subprocess.Popen(
        command, env=environment(directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: door.requests >= 2, within_s=30)
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=60)
    again = call(command, directory)

    assert (process.returncode, said, complained) == (130, b"", b"")
    assert again.returncode == 0
    numbers = [event["event_data"]["number"] for event in door.events if event["event_name"] == "my.event"]
    assert numbers == list(range(8_000))


def test_what_a_collector_refused_is_in_the_ledger_and_no_damage(tinkertape: Run, directory: Path, door: Door) -> None:
    record(directory, "mine")
    door.answers = lambda body: (
        (422, {}) if any(event.get("event_data", {}).get("number") == 1 for event in body["events"]) else (200, {})
    )

    pushed = tinkertape("push", "--url", door.url)
    verified = tinkertape("tape", "verify", "mine")
    shown = tinkertape("show", "mine")

    assert pushed.returncode == verified.returncode == shown.returncode == 0
    assert "which refused 1 (" in pushed.stdout
    assert "rejected 1 + dropped 0" in verified.stdout
    assert "my.event, index " in verified.stdout and f"was refused by {door.url}: HTTP 422: no" in verified.stdout
    assert "damaged" not in shown.stdout
    assert json.loads(tinkertape("diagnose", "mine", "--json").stdout)["healthy"] is True
