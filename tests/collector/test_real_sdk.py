"""The real SDK's own telemetry, sent by the SDK's own client to the collector as its server."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.collector.conftest import ROOT, Served, files_with

SECRET = "tml-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
PROGRAM = """
import asyncio, contextlib, sys, threading
from tinker._client import AsyncTinker
from tinker.lib.telemetry import Telemetry

url, session, secret, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


class Provider:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.client = AsyncTinker(base_url=url, api_key=secret)

    def get_loop(self):
        return self.loop

    @contextlib.contextmanager
    def aclient(self, pool):
        yield self.client


provider = Provider()
telemetry = Telemetry(provider, session)
for index in range(count):
    assert telemetry.log("user.event", {"index": index, "request_headers": {"x-api-key": secret}})
try:
    raise ValueError(f"refused with Bearer {secret}")
except ValueError as error:
    telemetry.log_fatal_exception_sync(error)
asyncio.run_coroutine_threadsafe(telemetry.close(), provider.loop).result(20)
"""


def test_the_sdks_own_telemetry_is_accepted_and_stored_without_its_key(served: Served, session):
    count = 250  # three bodies

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, served.url, session, SECRET, str(count)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    ledger = served.settled(session, count + 3)
    assert ledger["rejected"] == 0
    stored = sorted(served.events(session), key=lambda line: line["event_session_index"])
    kinds = [line["event"] for line in stored]
    assert kinds == ["SESSION_START", *["GENERIC_EVENT"] * count, "UNHANDLED_EXCEPTION", "SESSION_END"]
    assert [line["event_data"]["index"] for line in stored[1:-2]] == list(range(count))
    assert stored[-2]["event_data"]["error_type"] == "ValueError"
    assert SECRET not in json.dumps(stored)
    assert files_with(SECRET, served.folder) == []
