"""Programs under gunicorn, which forks its workers, and under gevent, which makes greenlets of threads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from tests.faults.processes import tape_below

from tinkertape.config import new_ulid

REQUESTS = 30
WORKERS = 2
APP = """
import os
import tinkertape

tinkertape.start("web", instrument=False)

def app(environ, start_response):
    assert tinkertape.get_telemetry().log("my.event", {"path": environ["PATH_INFO"]})
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent, threading
import tinkertape

telemetry = tinkertape.start(instrument=False)

def record(who):
    for number in range(50):
        assert telemetry.log("my.event", {"path": f"{who} {number}"}, severity="ERROR" if number == 20 else "INFO")
        gevent.sleep(0)
    assert telemetry.flush()

gevent.joinall([gevent.spawn(record, who) for who in range(20)])
threads = [threading.Thread(target=record, args=(f"thread {who}",)) for who in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "TINKERTAPE_DIRECTORY": str(directory)}


def recorded_paths(directory: Path) -> Counter[str]:
    """What each event of a whole tape says, and how often."""
    tape = tape_below(directory)
    ledger = tape.ledger()
    assert ledger.balanced and not ledger.dropped
    assert tape.verify().is_whole
    return Counter(event.metadata["path"] for event in tape if event.name == "my.event")


@pytest.mark.parametrize(
    "options",
    [["--preload"], [], ["--preload", "--worker-class", "gevent"]],
    ids=["forked after the start", "started in each worker", "gevent, forked after the start"],
)
def test_every_request_to_workers_of_gunicorn_is_on_the_tape_once_and_every_tape_is_closed(
    options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "web.py").write_text(APP)
    answered: Counter[bytes] = Counter()  # by worker
    command = [sys.executable, "-m", "gunicorn", "web:app", "--workers", str(WORKERS), "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--no-control-socket", *options],
        cwd=tmp_path,
        env={**environment(tmp_path / "home"), "TINKERTAPE_RUN": new_ulid()},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        said = iter(server.stderr)
        address = next(found[0] for line in said if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        try:
            while answered.total() < REQUESTS or len(answered) < WORKERS:  # one that still starts misses its SIGTERM
                with urllib.request.urlopen(f"{address}/{answered.total()}", timeout=60) as answer:
                    answered[answer.read()] += 1
        finally:
            server.terminate()
        assert "Traceback" not in server.stderr.read()
        assert server.wait(60) == 0

    assert recorded_paths(tmp_path / "home") == Counter(f"/{number}" for number in range(answered.total()))
    tape = tape_below(tmp_path / "home")
    assert set(tape.ends) == set(tape.processes())


def test_every_event_of_greenlets_and_patched_threads_is_on_the_tape_once(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(GREENLETS)

    ended = subprocess.run(
        [sys.executable, str(program)], env=environment(tmp_path / "home"), capture_output=True, text=True, timeout=100
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    whose = [*range(20), *(f"thread {who}" for who in range(4))]
    assert recorded_paths(tmp_path / "home") == Counter(f"{who} {number}" for who in whose for number in range(50))
