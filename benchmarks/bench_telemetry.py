"""`Telemetry.log` beside the SDK's `Telemetry.log` and OpenTelemetry's logger: what does it cost the thread that logs?

Wanted: at most 1/8 of the SDK's. Each call has a fresh dict of three values; ours is encoded at once, so that a dict
changed later is recorded as it was, the others keep a reference. Ours is emptied by its real writer onto a real file,
theirs into nothing: the SDK's queue is cleared, OpenTelemetry's processor drops. The tape is brought up to date before
each timing, so that no call is timed against the writing of those before it (bench_tape.py says what writing costs).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from tinker.lib.telemetry import Telemetry as SdkTelemetry

import tinkertape
from compare import compare

WANTED = 8.0


class Dropped(LogRecordProcessor):
    def on_emit(self, log_record: Any) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def sdk_telemetry() -> Any:
    """The SDK's own object on a loop that never runs, so it never sends: only `log` itself is timed."""
    loop = asyncio.new_event_loop()
    return SdkTelemetry(SimpleNamespace(get_loop=lambda: loop), "session")  # type: ignore[arg-type]


def main() -> int:
    logging.disable(logging.CRITICAL)
    sdk = sdk_telemetry()
    provider = LoggerProvider()
    provider.add_log_record_processor(Dropped())
    logger = provider.get_logger("bench")
    with tempfile.TemporaryDirectory() as directory:
        telemetry = tinkertape.start("bench", directory=directory, instrument=False, max_pending=10_000_000)
        names = {
            "telemetry": telemetry,
            "sdk": sdk,
            "logger": logger,
            "LogRecord": LogRecord,
            "INFO": SeverityNumber.INFO,
        }
        ratios = compare(
            "log, a fresh dict of three values",
            "telemetry.log('train.step', {'step': 12, 'loss': 2.13, 'path': 'a/b'})",
            {
                "tinker SDK Telemetry.log": "sdk.log('train.step', {'step': 12, 'loss': 2.13, 'path': 'a/b'}); "
                "sdk._queue.clear()",
                "OpenTelemetry logger": "logger.emit(LogRecord(event_name='train.step', severity_number=INFO, "
                "attributes={'step': 12, 'loss': 2.13, 'path': 'a/b'}))",
            },
            number=2_000,
            names=names,
            settle=telemetry.flush,
        )
        telemetry.close()
    ratio = ratios["tinker SDK Telemetry.log"]
    print(f"\nours costs 1/{ratio:.1f} of the SDK's; wanted 1/{WANTED:.0f} or less")
    return int(ratio < WANTED)


if __name__ == "__main__":
    sys.exit(main())
