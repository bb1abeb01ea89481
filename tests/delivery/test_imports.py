"""No thread of ours imports anything: another one may fork meanwhile, and the child would find the half of a module."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.delivery.conftest import Door
from tests.metrics.reporters.ends.opentelemetry import OtlpServer

PROGRAM = """
import os, sys, threading

imported = []

def look(event, arguments):  # an import that finds its module in place is none
    if event == "import" and threading.current_thread().name.startswith("tinkertape"):
        imported.append((threading.current_thread().name, arguments[0]))

sys.addaudithook(look)
import tinkertape
from tinkertape.metrics import OpenTelemetryReporter, PrometheusReporter, StatsDReporter, default

collector, otlp, directory = sys.argv[1:]
telemetry = tinkertape.start(url=collector, directory=directory, watch=True)
statsd = StatsDReporter(default(), host="localhost")
opentelemetry = OpenTelemetryReporter(default(), endpoint=otlp, period_s=0.01)
prometheus = PrometheusReporter(default(), directory=os.path.join(directory, "metrics"))
for _ in range(20):
    with tinkertape.span("tinker.http.request", {"path": "/x", "method": "GET"}):
        telemetry.log("hello", {"what": os})
assert telemetry.flush(60)
for reporter in (statsd, opentelemetry, prometheus):
    reporter.close()
telemetry.close()
print(imported)
"""


@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "foreign"])
def test_no_thread_imports_anything_so_that_a_fork_meanwhile_leaves_the_child_whole(
    is_ours: bool, tmp_path: Path
) -> None:
    with closing(Door(is_ours)) as door, closing(OtlpServer()) as otlp:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, door.url, otlp.endpoint, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )

        assert door.bodies
        assert otlp.received
    assert done.stdout == "[]\n"
