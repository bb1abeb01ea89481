"""What telemetry costs the program: an event of its own, an exception, the writer's thread, a dead collector.

`log` stands beside the SDK's `Telemetry.log` and OpenTelemetry's logger, each with a fresh dict of three values; ours
is encoded at once, so that a dict changed later is recorded as it was, the others keep a reference. Wanted: 1/10 of the
SDK's, and 1.4 times a method that only appends the same six things, unencoded. An exception that passes
`capture_exceptions`, again and again, stands beside the SDK's `log_exception`, each less what raising and catching it
costs; wanted: 1/15. The program's own is a WARNING, which waits in memory as the SDK's does; an ERROR is in the file on
return. Ours is emptied by its real writer onto a real file, theirs into nothing: the SDK's queue is cleared,
OpenTelemetry's processor drops. The tape is brought up to date before each timing, so that no call is timed against the
writing of those before it (bench_tape.py says what writing costs).

The writer's share is its own processor time (wanted: 2 % at 1 000 events a second). A main loop that computes is timed
with so many events a second and with none, in turns (wanted: nothing to be measured at 1 000, 8 % at 10 000). A failure
is timed from where it is raised to where it is caught, with a collector that refuses and with one that never answers
(wanted: 5 ms; the SDK's own waits 30 s, facts/sdk.md D4).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import logging
import socket
import statistics
import sys
import tempfile
import threading
import time
import timeit
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from tinker.lib.telemetry import Telemetry as SdkTelemetry

import tinkertape
from compare import compare

LOG_WANTED, APPEND_WANTED, EXCEPTION_WANTED = 10.0, 1.4, 15.0
WRITER_WANTED, LOOP_WANTED, DELAY_WANTED_MS = 0.02, 0.08, 5.0
SECONDS = 0.5  # of a main loop's turn
TURNS = 12


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


class Appended:
    """The floor: a method that appends the same six things, unencoded. Wrong when the data changes later."""

    def __init__(self) -> None:
        self._queue: deque[Any] = deque(maxlen=1_000)
        self._index = itertools.count()
        self._scope: contextvars.ContextVar[Any] = contextvars.ContextVar("scope", default=None)

    def log(self, name: str, data: Any = None, severity: str = "INFO") -> bool:
        self._queue.append((next(self._index), time.perf_counter_ns(), name, data, severity, self._scope.get()))
        return True


def step() -> None:
    loss_of([])


def loss_of(batch: list[float]) -> float:
    return mean(batch)


def mean(values: list[float]) -> float:
    return total(values) / len(checked(values))


def total(values: list[float]) -> float:
    return sum(checked(values))


def checked(values: list[float]) -> list[float]:
    if not values:
        raise ValueError("the batch is empty")
    return values


def caught(context: Any = None) -> None:
    try:
        with context or contextlib.nullcontext():
            step()
    except ValueError:
        pass


def caught_by_sdk(sdk: Any) -> None:
    try:
        step()
    except ValueError as error:
        sdk._log(sdk._exception_or_user_error_event(error, "ERROR"))  # `log_exception`, without its coroutine
        sdk._queue.clear()


def of_log(telemetry: Any, sdk: Any) -> bool:
    provider = LoggerProvider()
    provider.add_log_record_processor(Dropped())
    names = {"telemetry": telemetry, "sdk": sdk, "logger": provider.get_logger("bench"), "LogRecord": LogRecord}
    ratios = compare(
        "log, a fresh dict of three values",
        "telemetry.log('train.step', {'step': 12, 'loss': 2.13, 'path': 'a/b'})",
        {
            "tinker SDK Telemetry.log": "sdk.log('train.step', {'step': 12, 'loss': 2.13, 'path': 'a/b'}); "
            "sdk._queue.clear()",
            "OpenTelemetry logger": "logger.emit(LogRecord(event_name='train.step', severity_number=INFO, "
            "attributes={'step': 12, 'loss': 2.13, 'path': 'a/b'}))",
            "a method that only appends": "appended.log('train.step', {'step': 12, 'loss': 2.13, 'path': 'a/b'})",
        },
        number=2_000,
        names={**names, "INFO": SeverityNumber.INFO, "appended": Appended()},
        settle=telemetry.flush,
    )
    of_sdk, of_append = ratios["tinker SDK Telemetry.log"], 1 / ratios["a method that only appends"]
    print(f"  1/{of_sdk:.1f} of the SDK's (wanted 1/{LOG_WANTED:.0f}), {of_append:.2f} x (wanted {APPEND_WANTED})")
    return of_sdk >= LOG_WANTED and of_append <= APPEND_WANTED


def of_exception(telemetry: Any, sdk: Any) -> bool:
    def least(work: Callable[[], object]) -> float:
        telemetry.flush()
        return min(timeit.repeat(work, number=200, repeat=15)) / 200 * 1e6

    raised = least(caught)
    soon = least(lambda: caught(tinkertape.capture_exceptions())) - raised
    at_once = least(lambda: caught(tinkertape.capture_exceptions(severity="ERROR"))) - raised
    theirs = least(lambda: caught_by_sdk(sdk)) - raised
    print("\nan exception, six frames deep, us more than to raise and catch it")
    print(f"  {'written soon, as a WARNING':34} {soon:8.1f}")
    print(
        f"  {'in the file on return, as an ERROR':34} {at_once:8.1f}   the SDK's is in memory: 1/{theirs / at_once:.1f}"
    )
    print(
        f"  {'tinker SDK, kept in memory':34} {theirs:8.1f}   1/{theirs / soon:.1f} (wanted 1/{EXCEPTION_WANTED:.0f})"
    )
    return theirs / soon >= EXCEPTION_WANTED


def writers_share(telemetry: Any, rate: int, seconds: float = 5.0) -> float:
    [writer] = [thread for thread in threading.enumerate() if thread.name == "tinkertape-writer"]
    clock = time.pthread_getcpuclockid(writer.ident or 0)
    began, used = time.perf_counter(), time.clock_gettime(clock)
    for number in range(int(rate * seconds)):
        while (left := began + number / rate - time.perf_counter()) > 0:
            time.sleep(left)
        telemetry.log("train.step", {"step": number, "loss": 2.13, "path": "a/b"})
    telemetry.flush()
    return (time.clock_gettime(clock) - used) / (time.perf_counter() - began)


def work_done(telemetry: Any, rate: int) -> int:
    """How much a main loop computes in its turn, with so many events a second."""
    done, logged, began = 0, 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        sum(range(200))
        done += 1
        if logged < passed * rate:
            telemetry.log("train.step", {"step": logged, "loss": 2.13, "path": "a/b"})
            logged += 1
    return done


def loops_loss(telemetry: Any, rate: int) -> tuple[float, float]:
    """The median loss, and what two loops without an event differ by."""
    lost, noise = [], []
    for turn in range(TURNS):
        rates = (0, rate, 0) if turn % 2 else (0, 0, rate)
        done = [work_done(telemetry, each) for each in rates]
        idle = [each for each, its_rate in zip(done, rates, strict=True) if its_rate == 0]
        [loaded] = [each for each, its_rate in zip(done, rates, strict=True) if its_rate]
        lost.append(1 - loaded * 2 / sum(idle))
        noise.append(abs(idle[0] - idle[1]) / max(idle))
        telemetry.flush()
    return statistics.median(lost), statistics.median(noise)


def delays_ms(url: str) -> tuple[float, float]:
    """From a raise to where it is caught: the median and the greatest of 50, fatal ones and others."""
    with tempfile.TemporaryDirectory() as directory:
        telemetry = tinkertape.start("bench", directory=directory, url=url, instrument=False, exit_timeout_s=0.1)
        took = []
        for number in range(50):
            telemetry.log("train.step", {"step": number})
            began = time.perf_counter()
            caught(tinkertape.capture_exceptions(fatal=number % 2 == 0))
            took.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.02)
        telemetry.close()
    return statistics.median(took), max(took)


def of_dead_collectors() -> bool:
    refuses, hangs = socket.socket(), socket.socket()
    with refuses, hangs:
        for door in (refuses, hangs):
            door.bind(("127.0.0.1", 0))
        hangs.listen(64)  # connects, and is never answered
        print("\na failure reaches who catches it, ms (median, greatest)")
        greatest = 0.0
        for what, url in (
            ("no collector", ""),
            ("a collector that refuses", f"http://127.0.0.1:{refuses.getsockname()[1]}"),
            ("a collector that never answers", f"http://127.0.0.1:{hangs.getsockname()[1]}"),
        ):
            median, most = delays_ms(url)
            greatest = max(greatest, most)
            print(f"  {what:34} {median:8.2f} {most:8.2f}")
    print(f"  wanted: {DELAY_WANTED_MS:g} at most")
    return greatest <= DELAY_WANTED_MS


def main() -> int:
    logging.disable(logging.CRITICAL)
    sdk = sdk_telemetry()
    with tempfile.TemporaryDirectory() as directory:
        telemetry = tinkertape.start("bench", directory=directory, url="", instrument=False, max_pending=10_000_000)
        held = [of_log(telemetry, sdk), of_exception(telemetry, sdk)]
        share = writers_share(telemetry, 1_000)
        print(f"\nthe writer's thread at 1 000 events a second: {share:.2%} of a core (wanted {WRITER_WANTED:.0%})")
        print("\na main loop that computes loses")
        held.append(share <= WRITER_WANTED)
        for rate in (1_000, 10_000):
            lost, noise = loops_loss(telemetry, rate)
            print(f"  {f'at {rate} events a second':34} {lost:8.1%}   two without an event differ by {noise:.1%}")
            held.append(lost <= (LOOP_WANTED if rate > 1_000 else noise))
        telemetry.close()
    held.append(of_dead_collectors())
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
