"""What is left on a machine's tapes is sent, once, whoever else is sending."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.delivery.conftest import Door
from tests.waiting import wait_until

from tinkertape.config import new_ulid
from tinkertape.delivery import Delivery, push
from tinkertape.delivery.post import Collector
from tinkertape.tape import Recorder, codecs, open_tape
from tinkertape.tape.compression import compress
from tinkertape.tape.hold import holding
from tinkertape.tape.removal import make_room


def a_run(tapes: Path, count: int = 3, **settings: Any) -> Path:
    """A run that recorded so many events and is over."""
    run = new_ulid()
    recorder = Recorder(tapes / run, run, header={"sdk_version": "0.38.0"}, **settings)
    for number in range(count):
        recorder.record("my.event", {"number": number}, {"run": run}, None)
        if settings:
            recorder.flush()
    recorder.close()
    return tapes / run


def test_what_every_run_left_is_sent_once_and_a_second_push_has_nothing_to_do(tmp_path: Path, ours: Door) -> None:
    runs = [a_run(tmp_path, 700), a_run(tmp_path, 40, segment_max=2_000)]
    compress(next(runs[0].glob("*.jsonl")))
    told: list[tuple[int, int]] = []

    pushed = push(runs, Collector(ours.url), told=lambda done, of: told.append((done, of)))
    again = push(runs, Collector(ours.url))

    assert (pushed.sent, pushed.left) == (740, [])
    assert (again.sent, again.left) == (0, [])
    numbers = [event["measurements"]["number"] for event in ours.events]
    assert numbers == [*range(700), *range(40)]
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_a_segment_that_this_python_cannot_read_holds_up_no_other_and_is_left(
    tmp_path: Path, ours: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(tmp_path, 70), a_run(tmp_path, 40)]
    [packed] = runs[0].glob("*.jsonl")
    compress(packed)
    monkeypatch.setattr(codecs, "_zstd_or_none", lambda: None)

    pushed = push(runs, Collector(ours.url))

    assert pushed.sent == 40
    [left] = pushed.left
    assert (left.run, left.events) == (runs[0].name, None)
    assert left.why.startswith(f"cannot read {packed}: compressed with Zstandard")
    monkeypatch.undo()
    again = push(runs, Collector(ours.url))
    assert (again.sent, again.left) == (70, [])


def test_what_a_collector_away_is_to_get_is_left_with_the_reason(tmp_path: Path) -> None:
    runs = [a_run(tmp_path), a_run(tmp_path, 5)]
    with socket.socket() as taken:  # bound and never listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        pushed = push(runs, Collector(f"http://127.0.0.1:{taken.getsockname()[1]}"))

    assert [(left.run, left.events) for left in pushed.left] == [(runs[0].name, 3), (runs[1].name, 5)]
    assert all("refused" in left.why for left in pushed.left)


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [(401, {}, "refused the key (HTTP 401: no)"), (503, {"Retry-After": "500"}, "HTTP 503")],
    ids=["key", "busy"],
)
def test_what_a_collector_does_not_take_is_left_with_its_word(
    tmp_path: Path, ours: Door, status: int, headers: dict[str, str], why: str
) -> None:
    run = a_run(tmp_path)
    ours.answers = lambda body: (status, headers)

    [left] = push([run], Collector(ours.url)).left

    assert (left.events, ours.requests) == (3, 1)
    assert why in left.why


def test_a_collector_that_is_busy_is_waited_for(tmp_path: Path, ours: Door) -> None:
    run = a_run(tmp_path)
    ours.answers = lambda body: (503, {"Retry-After": "0"}) if ours.requests < 4 else (200, {})

    pushed = push([run], Collector(ours.url))

    assert (pushed.sent, pushed.left, ours.requests) == (3, [], 4)


def test_a_poison_event_is_set_aside_and_one_alone_is_left(tmp_path: Path, ours: Door) -> None:
    runs = [a_run(tmp_path, 1), a_run(tmp_path, 9)]
    ours.answers = lambda body: (
        (400, {}) if any(e["measurements"]["number"] == 0 for e in body["events"]) else (200, {})
    )

    alone = push(runs[:1], Collector(ours.url))
    both = push(runs, Collector(ours.url))

    assert (alone.sent, alone.refused, [left.events for left in alone.left]) == (0, 0, [1])
    assert "HTTP 400: no" in alone.left[0].why
    assert (both.sent, both.refused, both.left) == (8, 2, [])
    assert [open_tape(run).ledger().rejected for run in runs] == [1, 1]


@pytest.mark.parametrize("takes_none", [True, False])
def test_the_last_event_is_set_aside_if_the_collector_took_others_and_takes_a_body_without_any(
    tmp_path: Path, foreign: Door, takes_none: bool
) -> None:
    run = new_ulid()
    recorder = Recorder(tmp_path / run, run, header={"sdk_version": "0.38.0"})
    recorder.log("my.event")
    recorder.flush()
    push([tmp_path / run], Collector(foreign.url))
    recorder.log("my.poison")
    recorder.close()
    foreign.answers = lambda body: (200, {}) if takes_none and not body["events"] else (400, {})

    pushed = push([tmp_path / run], Collector(foreign.url))

    assert (pushed.refused, [left.events for left in pushed.left]) == ((1, []) if takes_none else (0, [1]))
    ledger = open_tape(tmp_path / run).ledger()
    assert (ledger.recorded, ledger.rejected, ledger.balanced) == (2, pushed.refused, True)


def test_a_push_tells_what_was_removed_for_lack_of_room(tmp_path: Path, ours: Door) -> None:
    run = a_run(tmp_path)
    make_room(run, list(run.glob("*.jsonl")), 0)

    pushed = push([run], Collector(ours.url))

    assert (pushed.sent, pushed.left) == (0, [])
    assert [(body["events"], body["ledger"]["dropped"]) for body in ours.bodies] == [([], {"space": 3})]


def test_a_line_that_a_kill_cut_short_is_not_left(tmp_path: Path, ours: Door) -> None:
    run = a_run(tmp_path)
    [segment] = run.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-20])

    assert push([run], Collector(ours.url)).left == []
    assert len(ours.events) == 3


def test_a_segment_that_somebody_holds_is_waited_for_and_else_left(tmp_path: Path, ours: Door) -> None:
    run = a_run(tmp_path)
    [segment] = run.glob("*.jsonl")
    with holding(segment) as file:
        assert file is not None
        pushed = push([run], Collector(ours.url), patience_s=0.3)
        assert [(left.events, left.why) for left in pushed.left] == [(3, "another process is sending it")]
        assert ours.requests == 0

        threading.Timer(0.2, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        assert push([run], Collector(ours.url)).left == []


def test_two_collectors_each_get_everything_once(tmp_path: Path, ours: Door, foreign: Door) -> None:
    run = a_run(tmp_path)
    for door in (ours, foreign, ours, foreign):
        assert push([run], Collector(f"{door.url}/")).left == []

    assert (len(ours.events), len(foreign.events)) == (3, 3)


PUSHES = """
import sys
from pathlib import Path
from tinkertape.delivery import push
from tinkertape.delivery.post import Collector
sys.stdin.readline()
pushed = push(sorted(Path(sys.argv[1]).iterdir()), Collector(sys.argv[2]))
sys.exit(1 if pushed.left else 0)
"""


def test_four_processes_at_once_and_a_delivery_send_nothing_twice(tmp_path: Path, ours: Door) -> None:
    runs = [a_run(tmp_path / "tapes", 400, segment_max=20_000) for _ in range(2)]
    recorder = Recorder(tmp_path / "tapes" / (run := new_ulid()), run)
    delivery = Delivery(recorder.folder, ours.url)
    command = [sys.executable, "-c", PUSHES, str(tmp_path / "tapes"), ours.url]
    pushing = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(4)]
    delivery.start()
    for process in pushing:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
    for number in range(400):
        recorder.record("my.event", {"number": number}, {"run": run}, None)
    recorder.flush()
    statuses = [process.wait(60) for process in pushing]
    wait_until(lambda: delivery.close(5.0) or len(ours.events) == 1_200)
    recorder.close()

    assert statuses == [0, 0, 0, 0]
    found = sorted((event["metadata"]["run"], event["measurements"]["number"]) for event in ours.events)
    assert found == sorted((each, number) for each in [*(each.name for each in runs), run] for number in range(400))


def test_a_killed_sender_leaves_the_rest_to_the_next_one(tmp_path: Path, ours: Door) -> None:
    run = a_run(tmp_path, 2_000, segment_max=100_000)
    dead: list[int] = []

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if ours.requests == 3:  # it dies between the answer to the second batch and that to the third
            dead.append(os.kill(process.pid, 9) or process.wait())
            return 503, {}
        return 200, {}

    ours.answers = answer
    process = subprocess.Popen([sys.executable, "-c", PUSHES, str(tmp_path), ours.url], stdin=subprocess.DEVNULL)
    wait_until(lambda: bool(dead), within_s=30)
    before = len(ours.events)
    assert push([run], Collector(ours.url)).left == []

    assert dead == [-9] and 0 < before < 2_000
    numbers = [event["measurements"]["number"] for event in ours.events]
    assert numbers == list(range(2_000))
