"""`tinkertape store rebuild`: the store again from the tapes, and everything as before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import TINKERTAPE, environment
from tests.collector.conftest import ACCEPTED, DATA, Served, WrittenTape, wire_body, wire_event
from tests.waiting import wait_until

from tinkertape.collector import rebuild as make_again
from tinkertape.collector.keeping import gone_path
from tinkertape.collector.rebuild import FORMER, NEW
from tinkertape.errors import StoreError, StoreLocked
from tinkertape.store import held
from tinkertape.tape.compression import compress
from tinkertape.tape.format import encode_line
from tinkertape.tape.marks import write_mark

IDENTITY = "0123456789abcdef"
module = sys.modules["tinkertape.collector.rebuild"]  # the package's own name is the function
OLD = {"timestamp": "2026-01-01T00:00:00Z"}  # so that the state of its run does not change while the test goes on


def rebuild(collector: Served) -> subprocess.CompletedProcess[str]:
    places = ["--store", f"chdb://{collector.store}", "--inbox", str(collector.inbox), "--tapes", str(collector.tapes)]
    return subprocess.run(
        [*TINKERTAPE, "store", "rebuild", *places],
        env=environment(collector.folder),
        capture_output=True,
        text=True,
        timeout=120,
    )


def states(collector: Served) -> dict[str, str]:
    return {row["run"]: row["state"] for row in collector.json("/api/v1/runs?limit=1000")}


def behind(collector: Served) -> list[str]:
    """The runs whose row in the list was made before their last events came."""
    rows = collector.json("/api/v1/runs?limit=1000")
    return [row["run"] for row in rows if row["events"] != collector.ledger(row["run"])["stored"]]


def in_order(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The indexes of each process, in the order in which they are given out."""
    found: dict[str, list[int]] = {}
    for event in events:
        found.setdefault(event["process"], []).append(event["event_session_index"])
    return found


def everything(collector: Served) -> dict[str, Any]:
    """What a collector answers about every run, without the cursors."""
    rows = collector.json("/api/v1/runs?limit=1000")
    found: dict[str, Any] = {"rows": [{k: v for k, v in row.items() if k != "cursor"} for row in rows]}
    for run in [row["run"] for row in rows]:
        events = collector.events(run)
        report = collector.json(f"/api/v1/runs/{run}")["report"]
        found[run] = {
            "events": sorted(json.dumps({**event, "cursor": ""}, sort_keys=True) for event in events),
            "order": in_order(events),
            "diagnosis": collector.json(f"/api/v1/runs/{run}/diagnosis"),
            "ledger": collector.ledger(run),
            "report": {
                key: report[key] for key in ("state", "status", "name", "project", "sessions", "events", "ledger")
            },
        }
    return {**found, "ledger": collector.ledger()}


def test_after_a_rebuild_every_query_and_ledger_is_as_before(collector: Served, session):
    collector.tapes.mkdir(parents=True)
    collector.start()
    local = WrittenTape(collector.tapes)
    local.append(30)
    local.write(b"no line\n")
    local.write(encode_line(local.event("tinker.session.create", session_id=session)))
    local.end(dropped={"queue_full": 2})
    far = WrittenTape(collector.folder / "far")
    lines = [encode_line(far.event()) for _ in range(20)]
    plain = sorted(DATA.glob("*.jsonl"))[-1].read_bytes().splitlines()
    bodies = [
        *plain,
        json.dumps(wire_body(session, [wire_event(0, **OLD), 7, wire_event(1, timestamp="yesterday")])).encode(),
        far.body(lines),
        far.body(lines[10:], ledger={"recorded": 25, "dropped": {"exit": 5}, "closed": "success"}),
    ]
    for body in bodies:
        assert collector.post(body) == ACCEPTED
    wait_until(lambda: collector.ledger()["pending"] == 0, otherwise=collector.ledger)
    compressed = WrittenTape(collector.tapes)
    compressed.append(12)
    compressed.end()
    assert compress(compressed.path)
    collector.settled(compressed.run, 12)
    runs = {local.run, far.run, compressed.run, *(json.loads(body)["session_id"] for body in plain)}
    wait_until(lambda: states(collector).keys() == runs, otherwise=lambda: runs ^ states(collector).keys())
    wait_until(lambda: "running" not in states(collector).values(), otherwise=lambda: states(collector))
    wait_until(lambda: behind(collector) == [], otherwise=lambda: behind(collector))
    before = everything(collector)
    former_id = (collector.store / "tinkertape.id").read_text()
    refused = rebuild(collector)
    collector.stop()
    for leftover in (NEW, FORMER):  # of one that was killed
        shutil.copytree(collector.store, collector.folder / f"store{leftover}")

    done = rebuild(collector)

    assert collector.process is not None
    assert refused.stderr.splitlines()[-1].startswith(
        f"tinkertape: cannot open {collector.store}: process {collector.process.pid} is using it; stop it"
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (done.returncode, done.stderr.count("loading 100 %") <= 1) == (0, True), done.stderr
    assert "events of" in done.stdout
    assert "rebuilding the store from the tapes" in done.stderr
    assert (collector.store / "tinkertape.id").read_text() != former_id
    assert list(collector.folder.rglob(f"*.loaded-{former_id[:8]}")) == []
    assert {path.name for path in collector.folder.glob("store*")} == {"store"}
    collector.start()
    assert everything(collector) == before


class MadePlaces:
    """A store's folder with an id and nothing else, an inbox and a folder of tapes."""

    def __init__(self, folder: Path) -> None:
        self.store, self.inbox, self.tapes = folder / "store", folder / "inbox", folder / "tapes"
        for made in (self.store, self.inbox, self.tapes):
            made.mkdir()
        (self.store / "tinkertape.id").write_text(IDENTITY)

    def rebuild(self) -> None:
        make_again(f"chdb://{self.store}", self.inbox, self.tapes, progress=lambda what, done, whole: None)


@pytest.fixture
def places(tmp_path: Path) -> MadePlaces:
    return MadePlaces(tmp_path)


def test_a_rebuild_refuses_while_somebody_has_the_store(places: MadePlaces):
    with held(places.store), pytest.raises(StoreLocked, match=f"process {os.getpid()} is using it; stop it"):
        places.rebuild()


@pytest.mark.parametrize("where", ["inbox", "tapes"])
def test_a_rebuild_refuses_to_lose_what_is_in_the_store_alone(places: MadePlaces, where):
    if where == "inbox":
        write_mark(gone_path(places.inbox, IDENTITY), {"segments": 1, "events": 1_200, "set_aside": 0, "last": "x"})
    else:
        (places.tapes / "run").mkdir()
        write_mark(places.tapes / "run" / "p-00001.removed", {"elsewhere": 1_200})

    with pytest.raises(StoreError, match="1,200 events of 1 tape files that are kept no longer are in the store alone"):
        places.rebuild()

    assert (places.store / "tinkertape.id").read_text() == IDENTITY


def test_a_folder_that_is_no_store_is_left_alone(places: MadePlaces):
    (places.store / "tinkertape.id").rename(places.store / "letter.txt")

    with pytest.raises(StoreError, match="there is something in it, and no store; name the store's own folder"):
        places.rebuild()

    assert [path.name for path in places.store.iterdir()] == ["letter.txt"]


def test_a_new_store_that_comes_to_nothing_leaves_the_old_one(places: MadePlaces, monkeypatch):
    def failing(folder: Path, *rest: object) -> None:
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_load", failing)

    with pytest.raises(KeyboardInterrupt):
        places.rebuild()

    assert (places.store / "tinkertape.id").read_text() == IDENTITY
    assert {path.name for path in places.store.parent.iterdir()} == {"store", "inbox", "tapes"}
