"""npm's statsd, the daemon itself: started on loopback, asked what it received, stopped, and read."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
STATSD = ROOT / ".venv" / "statsd" / "node_modules" / "statsd" / "stats.js"
BACKEND = Path(__file__).with_name("statsd_backend.js")


class Daemon:
    """Takes UDP at `port` until `stop`, which says what it has: counters, gauges, timers."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        node = shutil.which("node")
        if node is None or not STATSD.exists():
            pytest.fail(f"this test runs npm's statsd, and found no node or no {STATSD}; ./tt test installs it")
        self.port = free_port(socket.SOCK_DGRAM) if port is None else port
        self._manager = free_port(socket.SOCK_STREAM)
        self._results = folder / "results.json"
        config = {
            "address": "127.0.0.1",
            "port": self.port,
            "mgmt_address": "127.0.0.1",
            "mgmt_port": self._manager,
            "backends": [str(BACKEND)],
            "results": str(self._results),
            "flushInterval": 3_600_000,  # it flushes when it is told to end
        }
        settings = folder / "config.js"
        settings.write_text(json.dumps(config), encoding="utf-8")
        self._process = subprocess.Popen(
            [node, "--require", str(BACKEND), str(STATSD), str(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._is_up, within_s=30)

    def _is_up(self) -> bool:
        try:
            return "up" in self._ask("health", "\n")
        except OSError:
            return False

    def _ask(self, command: str, end: str) -> str:
        with socket.create_connection(("127.0.0.1", self._manager), timeout=10) as connection:
            connection.sendall(f"{command}\n".encode())
            answer = b""
            while not answer.endswith(end.encode()):
                answer += connection.recv(65_536)
        return answer.decode()

    def lines(self) -> int:
        """How many lines it received, good ones and bad."""
        return self._own_counter("metrics_received")

    def bad_lines(self) -> int:
        """How many it could not read."""
        return self._own_counter("bad_lines_seen")

    def _own_counter(self, name: str) -> int:
        answer = self._ask("counters", "END\n\n")
        return int(answer.partition(f"'statsd.{name}': ")[2].partition(",")[0].partition("\n")[0].rstrip(" }"))

    def stop(self) -> dict[str, Any]:
        """End it, and read what it had."""
        self._process.terminate()
        self._process.wait(30)
        found: dict[str, Any] = json.loads(self._results.read_text(encoding="utf-8"))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def free_port(kind: socket.SocketKind) -> int:
    """A port of loopback that nobody has at the moment."""
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
