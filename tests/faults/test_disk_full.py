"""A full disk: senders are told to come again, memory does not grow, the pages work, and it goes on once there is room.

On a small tmpfs of its own where this process may mount one (CI's root); elsewhere the inbox's seam alone is tested, in
tests/collector/test_inbox.py.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.collector.conftest import ACCEPTED, NOTHING, wire_body, wire_event
from tests.faults.processes import Collector
from tests.waiting import wait_until

from tinkertape.config import new_ulid

SIZE_MB = 96
BODY = 1_000_000  # bytes, of bodies that are refused
BODIES = 150
GROWN_MAX_MB = 75  # of memory, for 150 MB of refused bodies: 0.6 on a quiet machine, 34 on a busy one


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that is soon full."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(ballast: Path) -> None:
    """Leave no room."""
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65_536)
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 512)


def rss_mb(collector: Collector) -> float:
    assert collector.process is not None
    status = Path(f"/proc/{collector.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


def refusal(collector: Collector, body: bytes) -> tuple[int, str | None, bytes]:
    """Status, Retry-After and the line of the answer to a body."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/api/v1/telemetry", body)
        answer = connection.getresponse()
        return answer.status, answer.headers["retry-after"], answer.read()


def test_a_full_disk_refuses_shows_its_pages_and_goes_on_with_room(small: Path):
    session = f"session_{new_ulid()}"
    collector = Collector(small / "collector").start()
    try:
        assert collector.post(wire_body(session, [wire_event(0)])) == ACCEPTED
        collector.settled(session, 1)
        fill(small / "ballast")
        large = json.dumps(wire_body(session, [wire_event(1, event_data="x" * BODY)])).encode()
        status, again, line = wait_until(lambda: (found := refusal(collector, large))[0] != 200 and found)
        assert (status, again) == (503, "1")
        assert line.endswith(b"No space left on device; make room, the senders come again\n")
        before_mb = rss_mb(collector)

        refused = [refusal(collector, large)[0] for _ in range(BODIES)]

        assert set(refused) <= {200, 503}  # the engine gives back what it has merged: then one more has room
        assert refused.count(503) > BODIES / 2
        assert rss_mb(collector) - before_mb < GROWN_MAX_MB
        assert collector.get("/")[0] == 200
        assert [row["run"] for row in collector.runs()] == [session]
        assert collector.get(f"/runs/{session}")[0] == 200
        assert collector.ledger(session)["stored"] >= 1
        (small / "ballast").unlink()
        wait_until(lambda: collector.post(wire_body(session, [wire_event(2)])) == ACCEPTED)  # "the senders come again"
        wait_until(
            lambda: (ledger := collector.ledger(session))["pending"] == 0 and ledger["stored"] >= 2,
            within_s=60,
            otherwise=lambda: collector.ledger(session),
        )
        ledger = collector.ledger(session)
        assert ledger == {**NOTHING, "recorded": ledger["stored"], "stored": ledger["stored"]}
        indexes = sorted(line["event_session_index"] for line in collector.events(session))
        assert {0, 2} <= set(indexes) and len(indexes) == ledger["stored"]
    finally:
        collector.end()
