"""A collector that is killed loses nothing, and stores nothing twice."""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from tests.collector.conftest import ROOT, Served, WrittenTape, wire_body, wire_event
from tests.waiting import wait_until

KILLS = int(os.environ.get("COLLECTOR_KILLS", "3"))  # 200 is the full size (benchmarks/RESULTS.md)
CLIENTS = 8
AGAIN = 0.1  # so many bodies are sent once more after they were acknowledged
PAUSE_S = 0.02  # of each client between two bodies: the disk is not to be filled
RECORDER = """
import sys
from tests.collector.conftest import WrittenTape
from tinkertape.config import process_started
import os, platform
from pathlib import Path
tape = WrittenTape(Path(sys.argv[1]), pid=os.getpid(), pid_started=process_started(os.getpid()), host=platform.node())
tape.append(4)
print(tape.run, flush=True)
sys.stdin.read()
"""


class Sender:
    """Sends bodies of 20 events as an SDK would: each until it is acknowledged, and some of them once more. It is never
    killed: what it counts was acknowledged.
    """

    def __init__(self, served: Served, session: str) -> None:
        self.session = session
        self._served = served
        self._random = random.Random(session)
        self._ended = threading.Event()
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    def _send_all(self) -> None:
        while not self._ended.wait(PAUSE_S):
            first = self.acknowledged
            events = [wire_event(index, event_id=f"e{index}") for index in range(first, first + 20)]
            body = json.dumps(wire_body(self.session, events)).encode()
            for _ in range(2 if self._random.random() < AGAIN else 1):
                while not self._is_accepted(body):
                    self._ended.wait(PAUSE_S)
            self.acknowledged = first + 20

    def _is_accepted(self, body: bytes) -> bool:
        try:
            return self._served.post(body)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def finish(self) -> int:
        self._ended.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        return self.acknowledged


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_collector_killed_under_load_loses_nothing_and_stores_nothing_twice(collector: Served, session):
    collector.start()
    tape = WrittenTape(collector.tapes)
    senders = [Sender(collector, f"{session}-{number}") for number in range(CLIENTS)]
    moments = random.Random(session)
    for _ in range(KILLS):
        counts = [sender.acknowledged for sender in senders]
        wait_until(
            lambda counts=counts: all(s.acknowledged > n for s, n in zip(senders, counts, strict=True)), within_s=30
        )
        tape.append(100)
        time.sleep(moments.uniform(0, 0.2))  # any moment will do: it is no wait for something
        collector.kill()
        collector.start()
    tape.append(500)
    tape.end()
    sent = {sender.session: sender.finish() for sender in senders}

    for name, count in sent.items():
        ledger = collector.settled(name, count, within_s=60)
        assert ledger == {"recorded": count, "stored": count, "pending": 0, "rejected": 0, "dropped": {}}
        assert sorted(line["event_session_index"] for line in collector.events(name)) == list(range(count))
    written = tape.next_index
    assert collector.settled(tape.run, written)["recorded"] == written
    assert [line["event_session_index"] for line in collector.events(tape.run)] == list(range(written))
    whole = collector.ledger()
    assert (whole["recorded"], whole["stored"]) == (written + sum(sent.values()),) * 2
    print(f"{KILLS} kills, {CLIENTS} clients: {sum(sent.values()):,} events acknowledged, each stored once")


def test_the_ledger_balances_at_every_moment_of_a_restart(collector: Served):
    tape = WrittenTape(collector.tapes)
    tape.append(20_000)
    tape.end(dropped={"exit": 3})
    for _ in range(2):
        collector.start()
        for _ in range(3):
            ledger = collector.ledger(tape.run)
            assert ledger["recorded"] == 20_003, ledger
            assert ledger["stored"] + ledger["pending"] + ledger["rejected"] + 3 == 20_003, ledger
        collector.kill()
    collector.start()

    assert collector.settled(tape.run, 20_000)["dropped"] == {"exit": 3}


def test_a_collector_told_to_stop_has_loaded_what_it_acknowledged(collector: Served, session):
    collector.start()
    for first in range(0, 300, 100):
        collector.post(wire_body(session, [wire_event(index) for index in range(first, first + 100)]))

    assert collector.stop() == 0

    [mark] = collector.inbox.glob("*.loaded-*")
    [segment] = collector.inbox.glob("*.jsonl")
    assert json.loads(mark.read_bytes())["offset"] == segment.stat().st_size


def test_a_lost_store_is_loaded_again_from_inbox_and_tapes(collector: Served, session):
    collector.start()
    tape = WrittenTape(collector.tapes)
    tape.append(10)
    collector.post(wire_body(session, [wire_event(0)]))
    collector.settled(tape.run, 10)
    collector.settled(session, 1)
    collector.stop()
    collector.store.rename(collector.folder / "lost")

    collector.start()

    assert collector.settled(tape.run, 10)["recorded"] == 10
    assert collector.settled(session, 1)["recorded"] == 1
    assert [line["event_session_index"] for line in collector.events(tape.run)] == list(range(10))


@pytest.mark.parametrize("collector_sees_it", [True, False])
def test_a_process_that_was_killed_is_a_killed_run(collector: Served, collector_sees_it):
    collector.start()
    program = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(collector.tapes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    run = program.stdout.readline().strip()
    collector.settled(run, 4)

    def state() -> str:
        return str(next((row["state"] for row in collector.json("/api/v1/runs") if row["run"] == run), ""))

    wait_until(lambda: state() == "running", otherwise=state)
    if not collector_sees_it:
        collector.stop()
    program.kill()
    program.wait()
    if not collector_sees_it:
        collector.start()

    wait_until(lambda: state() not in ("", "running"), otherwise=state)
    assert state() == "killed"
