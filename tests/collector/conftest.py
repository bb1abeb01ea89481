"""Real collectors on real sockets, each in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from tests.waiting import wait_until

from tinkertape.config import new_process_id, new_ulid
from tinkertape.context import Event
from tinkertape.tape.format import End, Header, encode_line, timestamp

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "telemetry"
ACCEPTED = (200, b'{"status":"accepted"}')
NOTHING = {"recorded": 0, "stored": 0, "pending": 0, "rejected": 0, "dropped": {}}


class Served:
    """A collector process over a folder; `kill` and `start` it as often as you like."""

    def __init__(self, folder: Path, body_time_s: float = 10.0, **options: Any) -> None:
        """`options` are those of `serve`."""
        self.folder = folder
        self.body_time_s = body_time_s
        self.options = options
        self.inbox, self.tapes, self.store = folder / "inbox", folder / "tapes", folder / "store"
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    def begin(self, stderr: IO[bytes] | None = None) -> subprocess.Popen[str]:
        """Start the process, and do not wait until it serves."""
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.collector.serve_process",
                str(self.folder),
                str(self.port),
                str(self.body_time_s),
                json.dumps(self.options),
            ],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=ROOT,
        )
        return self.process

    def start(self, stderr: IO[bytes] | None = None) -> Served:
        process = self.begin(stderr)
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        self.port = int(address.rpartition(":")[2])
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=20)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        return self.ask("GET", path, headers=headers)

    def json(self, path: str) -> Any:
        status, body = self.get(path)
        assert status == 200, body
        return json.loads(body)

    def post(self, body: bytes | dict[str, Any], **headers: str) -> tuple[int, bytes]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask(
            "POST", "/api/v1/telemetry", raw, {name.replace("_", "-"): text for name, text in headers.items()}
        )

    def ledger(self, run: str | None = None) -> dict[str, Any]:
        """What it has of a run, or of all; all zero for a run that it does not know yet."""
        status, body = self.get("/api/v1/ledger" + (f"?run={urllib.parse.quote(run, safe='')}" if run else ""))
        assert status == 200 or (run and status == 404), body
        found: dict[str, Any] = json.loads(body) if status == 200 else {**NOTHING}
        return found

    def events(self, run: str, limit: int = 10_000) -> list[dict[str, Any]]:
        """Every event of a run, page by page."""
        path, met, after = f"/api/v1/runs/{urllib.parse.quote(run, safe='')}/events", [], "0"
        while True:
            status, body = self.get(f"{path}?limit={limit}&after={after}")
            if status == 404 or not body:
                return met
            met += [json.loads(line) for line in body.splitlines()]
            after = met[-1]["cursor"]

    def settled(self, run: str, stored: int, within_s: float = 20.0) -> dict[str, Any]:
        """Wait until so many events of a run are stored, and nothing is pending; the ledger then."""
        return wait_until(
            lambda: (ledger := self.ledger(run))["stored"] == stored and ledger["pending"] == 0 and ledger,
            within_s=within_s,
            every_s=0.05,
            otherwise=lambda: self.ledger(run),
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One collector for the tests of a module; each has runs of its own."""
    collector = Served(tmp_path_factory.mktemp("served")).start()
    yield collector
    collector.stop()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Served]:
    """A collector of this test's own, not started."""
    made = Served(tmp_path / "collector")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


@pytest.fixture
def session() -> str:
    return f"session_{new_ulid()}"


def paths_below(folder: Path) -> list[Path]:
    """The folder, and everything in it that is no link; what the engine merges away meanwhile is left out."""
    found = [folder]
    for place, folders, files in os.walk(folder):
        found += [path for name in (*folders, *files) if not (path := Path(place) / name).is_symlink()]
    return [path for path in found if path.exists()]


def files_with(text: str, folder: Path) -> list[Path]:
    """The files below a folder that hold a text."""
    holders = []
    for path in paths_below(folder):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if text.encode() in path.read_bytes():
                holders.append(path)
    return holders


def wire_event(index: int, **changes: Any) -> dict[str, Any]:
    """An event as an SDK sends it."""
    return {
        "event": "GENERIC_EVENT",
        "event_id": f"{new_ulid()}-{index}",
        "event_session_index": index,
        "severity": "INFO",
        "timestamp": timestamp(time.time_ns()),
        "event_name": "user_event",
        "event_data": {"index": index},
        **changes,
    }


def wire_body(session: str, events: list[Any], **changes: Any) -> dict[str, Any]:
    """A body as SDK 0.38 sends it."""
    return {
        "events": events,
        "platform": "Linux",
        "sdk_version": "0.38.0",
        "session_id": session,
        "process_uuid": "99554c8e-2f22-4b4d-b345-300632440c2f",
        **changes,
    }


class WrittenTape:
    """A tape made by hand, as a recorder makes it."""

    def __init__(self, tapes: Path, run: str | None = None, **about: Any) -> None:
        self.run = run or new_ulid()
        self.process = new_process_id()
        self.path = tapes / self.run / f"{self.process}-00001.jsonl"
        self.header = Header(run=self.run, process=self.process, **{"name": "made", "wall_ns": time.time_ns(), **about})
        self.next_index = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.write(encode_line(self.header))

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def event(self, name: str = "tinker.request.stop", *, at_ns: int = 0, **metadata: Any) -> Event:
        made = Event(
            name=name,
            measurements={"duration": 5, "monotonic_time": self.next_index},
            metadata=metadata,
            time_ns=(at_ns or time.time_ns()) // 1000 * 1000,
            monotonic_ns=self.next_index,
            run=self.run,
            process=self.process,
            index=self.next_index,
        )
        self.next_index += 1
        return made

    def append(self, count: int) -> None:
        self.write(b"".join(encode_line(self.event()) for _ in range(count)))

    def end(self, status: str = "success", dropped: dict[str, int] | None = None) -> None:
        lost = dropped or {}
        recorded = self.next_index + sum(lost.values())
        self.write(encode_line(End(recorded=recorded, written=self.next_index, dropped=lost, status=status)))

    def body(self, lines: list[bytes], **changes: Any) -> bytes:
        """What our delivery sends for these lines."""
        header = encode_line(self.header).rstrip()
        rest = "".join(f', "{key}": {json.dumps(value)}' for key, value in changes.items()).encode()
        joined = b",".join(line.rstrip() for line in lines)
        return b'{"events":[%s],"session_id":"%s","tape":%s%s}' % (joined, self.run.encode(), header, rest)
