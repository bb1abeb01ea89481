"""Kills at random moments, counted; a witness that is never killed holds what was acknowledged.

`programs` kills programs that record, rotate, compress and deliver; `collector` kills a collector under the load of 8
clients, a tenth of whose bodies are sent twice. `.venv/bin/python -m tests.faults.kills 200` does each 200 times.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from tests.collector.conftest import ACCEPTED, ROOT, Served, wire_body, wire_event
from tests.waiting import wait_until

from tinkertape.config import new_ulid
from tinkertape.tape import open_tape

LIVES_S = 0.4  # at most, from its first words to its kill
AT_ONCE = 4  # programs
CLIENTS = 8
BODY = 5  # events
TWICE = 10  # every tenth body is sent once more
SETTLES_S = 300.0

# Says how many events it logged, each time that `flush` brought them to its tape.
PROGRAM = """
import random, sys, threading
from pathlib import Path
from tinkertape.delivery import Delivery
from tinkertape.tape import Recorder
tapes, run, url = sys.argv[1:]
recorder = Recorder(Path(tapes) / run, run, segment_max=30_000)
Delivery(recorder.folder, url).start()
logged, pause = 0, threading.Event()
while True:
    for _ in range(random.randrange(1, 20)):
        recorder.log("my.event", {"n": logged})
        logged += 1
    if recorder.flush():
        print(logged, flush=True)
    pause.wait(0.001)
"""


class Killed(msgspec.Struct):
    """A program that was killed: its run, and how many events it had flushed by its last word."""

    run: str
    flushed: int


class Counted(msgspec.Struct):
    """What the witness found in the end. `torn` tapes had a line that was cut short."""

    kills: int
    acknowledged: int
    stored: int
    torn: int = 0
    sent_twice: int = 0


def a_moment(chance: random.Random, most_s: float) -> None:
    """Until a moment that nobody chose."""
    threading.Event().wait(chance.uniform(0, most_s))


# --- programs ---


def programs(collector: Served, kills: int, seed: int) -> Counted:
    """Kill so many programs on the collector's own machine: it reads their tapes, and is sent them as well."""
    chance = random.Random(seed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda number: program(collector, number), [chance.random() for _ in range(kills)]))
    total = Counted(kills, acknowledged=sum(each.flushed for each in found), stored=0)
    for killed in found:
        on_tape, torn = on_tape_of(collector, killed)
        ledger = collector.settled(killed.run, on_tape, within_s=SETTLES_S)
        assert ledger["recorded"] == on_tape + torn, ledger
        assert sorted(line["event_session_index"] for line in collector.events(killed.run)) == list(range(on_tape))
        total.stored += on_tape
        total.torn += torn
    return total


def program(collector: Served, number: float) -> Killed:
    run, chance = new_ulid(), random.Random(number)
    command = [sys.executable, "-c", PROGRAM, str(collector.tapes), run, collector.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        listening = threading.Thread(target=said.extend, args=(process.stdout,))
        listening.start()
        a_moment(chance, LIVES_S)
        process.kill()
        listening.join()
    return Killed(run, max(int(line) for line in said if line.endswith("\n")))


def on_tape_of(collector: Served, killed: Killed) -> tuple[int, int]:
    """Events on the tape, and torn lines; everything that was flushed is there, once, in order, and nothing else."""
    tape = open_tape(collector.tapes / killed.run)
    numbers = [(event.index, event.metadata["n"]) for event in tape]
    verified = tape.verify()
    assert numbers == [(index, index) for index in range(len(numbers))]
    assert len(numbers) >= killed.flushed, f"{killed.flushed} flushed, {len(numbers)} there"
    assert verified.ledger.balanced
    assert {damage.kind for damage in verified.damage} <= {"torn line"}, verified.damage
    return len(numbers), tape.torn


# --- the collector ---


class Client(threading.Thread):
    """Sends bodies as an SDK would, each until it is acknowledged, and a tenth of them once more."""

    def __init__(self, collector: Served) -> None:
        super().__init__(daemon=True)
        self._collector = collector
        self._pause = threading.Event()
        self.session = f"session_{new_ulid()}"
        self.acknowledged: list[str] = []  # the ids of events
        self.sent_twice = 0
        self.going_on = True

    def run(self) -> None:
        for first in itertools.count(step=BODY):
            if not self.going_on:
                return
            events = [wire_event(index) for index in range(first, first + BODY)]
            body = json.dumps(wire_body(self.session, events)).encode()
            while not self._is_accepted(body):
                self._pause.wait(0.02)
            self.acknowledged += [event["event_id"] for event in events]
            if first // BODY % TWICE == 0:
                self.sent_twice += 1
                self._is_accepted(body)
            self._pause.wait(0.005)

    def _is_accepted(self, body: bytes) -> bool:
        try:
            return self._collector.post(body) == ACCEPTED
        except (OSError, http.client.HTTPException):
            return False


def collector(served: Served, kills: int, seed: int) -> Counted:
    """Kill a collector so many times under load, every fifth time while it starts."""
    chance = random.Random(seed)
    served.start()
    clients = [Client(served) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for kill in range(kills):
        if kill % 5 == 4:
            served.begin()
            a_moment(chance, 1.5)
        else:
            if kill:
                served.start()
            a_moment(chance, 0.6)
        served.kill()
    served.start()
    for client in clients:
        before = len(client.acknowledged)
        wait_until(lambda client=client, before=before: len(client.acknowledged) > before, within_s=60)
    for client in clients:
        client.going_on = False
    for client in clients:
        client.join(60)
        assert not client.is_alive()
    return witnessed(served, clients, kills)


def witnessed(served: Served, clients: list[Client], kills: int) -> Counted:
    """Every event that was acknowledged is stored, once; and nothing else."""
    total = Counted(kills, acknowledged=0, stored=0)
    for client in clients:
        sent = len(client.acknowledged)
        ledger = served.settled(client.session, sent, within_s=SETTLES_S)
        assert ledger == {"recorded": sent, "stored": sent, "pending": 0, "rejected": 0, "dropped": {}}
        stored = Counter(line["event_id"] for line in served.events(client.session))
        assert stored == Counter(client.acknowledged)
        total.acknowledged += sent
        total.stored += len(stored)
        total.sent_twice += client.sent_twice
    return total


def a_collector() -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="tinkertape-kills-") as folder:
        served = Served(Path(folder) / "collector")
        served.folder.mkdir()
        yield served
        served.kill()


def main(kills: int) -> None:
    for served in a_collector():
        served.start()
        began_s = time.monotonic()
        print("programs:", programs(served, kills, seed=1), f"{time.monotonic() - began_s:.0f} s", flush=True)
    for served in a_collector():
        began_s = time.monotonic()
        print("collector:", collector(served, kills, seed=2), f"{time.monotonic() - began_s:.0f} s", flush=True)


if __name__ == "__main__":
    assert Path.cwd() == ROOT, f"run it in {ROOT}"
    main(int(sys.argv[1]))
