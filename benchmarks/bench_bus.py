"""`execute` and `span` beside blinker's `send` and OpenTelemetry's span: how much does an event cost whom nobody, one
or five listen to?

Wanted: `execute` at least 3 times as fast as blinker. OpenTelemetry's span is recorded and dropped by a processor that
does nothing, which favours it.
"""

from __future__ import annotations

import sys
import time
from functools import partial

import blinker
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from compare import compare
from tinkertape.bus import Bus, attach_many
from tinkertape.spans import span

WANTED = 3.0
MEASUREMENTS = {"duration": 1_000}
METADATA = {"path": "/api/v1/asample", "status": "success"}


class BlinkerSpan:
    """What a span over blinker is at its leanest: the same two events with the same data, no parent, no trace ids."""

    __slots__ = ("began_ns", "metadata", "name", "signal")

    def __init__(self, signal: blinker.Signal, name: str, metadata: dict[str, str]) -> None:
        self.signal, self.name, self.metadata = signal, name, metadata

    def __enter__(self) -> None:
        self.began_ns = time.perf_counter_ns()
        began = {"monotonic_time": self.began_ns, "system_time": time.time_ns()}
        self.signal.send(self.name, measurements=began, metadata=self.metadata)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        now_ns = time.perf_counter_ns()
        ended = {"duration": now_ns - self.began_ns, "monotonic_time": now_ns}
        self.signal.send(self.name, measurements=ended, metadata={**self.metadata, "status": "success"})


def hear(event: str, measurements: object, metadata: object, config: object) -> None:
    pass


def receive(sender: object, measurements: object = None, metadata: object = None) -> None:
    pass


def bench_execute(handlers: int) -> float:
    bus, signal = Bus(), blinker.Signal()
    for number in range(handlers):
        bus.attach(number, "tinker.http.request.stop", hear)
        signal.connect(partial(receive), weak=False)
    ratios = compare(
        f"execute, {handlers} handlers",
        "execute('tinker.http.request.stop', measurements, metadata)",
        {"blinker send": "send('sender', measurements=measurements, metadata=metadata)"},
        names={"execute": bus.execute, "send": signal.send, "measurements": MEASUREMENTS, "metadata": METADATA},
    )
    return ratios["blinker send"]


def bench_span(handlers: int) -> dict[str, float]:
    signal = blinker.Signal()
    for number in range(handlers):
        attach_many(f"bench-{number}", ["my.work.start", "my.work.stop", "my.work.exception"], hear)
        signal.connect(partial(receive), weak=False)
    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    tracer = provider.get_tracer("bench")

    names = {"span": span, "metadata": METADATA, "signal": signal, "blinker_span": BlinkerSpan, "tracer": tracer}
    return compare(
        f"span, {handlers} handlers: start and stop, with monotonic time, wall time, duration and status",
        "with span('my.work', metadata): pass",
        {
            "blinker, the same two events": "with blinker_span(signal, 'my.work', metadata): pass",
            "OpenTelemetry span": "with tracer.start_as_current_span('my.work', attributes=metadata): pass",
        },
        number=5_000,
        names=names,
    )


if __name__ == "__main__":
    print(f"CPython {sys.version.split()[0]}")
    executes = [bench_execute(handlers) for handlers in (0, 1, 5)]
    spans = [bench_span(handlers) for handlers in (0, 1)]
    slowest_span = min(ratios["blinker, the same two events"] for ratios in spans)
    print(f"\nagainst blinker, at the least: execute {min(executes):.1f} x, span {slowest_span:.1f} x; wanted {WANTED}")
    sys.exit(min(executes) < WANTED or slowest_span < WANTED)
