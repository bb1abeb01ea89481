"""What an event and a span cost whom nobody, one or five listen to, beside BEAM's telemetry, blinker and OpenTelemetry.

./tt bench bus                    beside blinker and OpenTelemetry
./tt bench bus --beam DIR         beside BEAM's telemetry too; DIR is a checkout of it that has been compiled
./tt bench bus --soak SECONDS     attach, detach and execute from eight threads for so long, and count what was lost

All take turns in one run, in slices so short that the least of many is hardly disturbed by other work. A figure is that
least one, a ratio that of two such. The loop is included, and beside BEAM the making of the arguments, which it cannot
leave out. OpenTelemetry's spans are recorded and
dropped by a processor that does nothing, which favours it.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import blinker
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from beam_peer import Beam, BeamMissing
from bus_hammer import hammer
from tinkertape.bus import Bus, attach, attach_many, detach
from tinkertape.events import EventType
from tinkertape.spans import span

Timing = Callable[[], float]  # nanoseconds of one call
ROUNDS = 100
SLICE_S = 0.004
BEAM_NUMBER = 100_000  # calls: it needs longer slices to be at its best
EVENT = "tinker.http.request.stop"
DECLARED = EventType("bench.declared")
START, STOP, EXCEPTION = (EventType(f"my.work.{end}") for end in ("start", "stop", "exception"))
SPAN_EVENTS = [START.name, STOP.name, EXCEPTION.name]
METADATA = {"path": "/api/v1/asample", "status": "success"}
NEW = "{'path': '/api/v1/asample', 'number': 1}"
BY_HAND = f"""
metadata = {NEW}
began_ns = clock_ns()
if start.handlers:
    start.execute({{'monotonic_time': began_ns, 'system_time': wall_ns()}}, metadata)
now_ns = clock_ns()
if stop.handlers:
    stop.execute({{'duration': now_ns - began_ns, 'monotonic_time': now_ns}}, {{**metadata, 'status': 'success'}})
"""  # as our own sources do it; such a span knows no parent, and is none


class Figure(NamedTuple):
    """A ratio that is wanted, ours to theirs; it must not be above `must`."""

    ours: str
    theirs: str
    wanted: float
    must: float


FIGURES = (
    *(Figure(f"execute by name, {count}", f"BEAM execute, {count}", 1.0, 1.1) for count in (0, 1, 5)),
    *(Figure(f"execute of a declared event, {count}", f"BEAM execute, {count}", 0.8, 0.85) for count in (0, 1, 5)),
    Figure("hot form, 0", "BEAM execute, 0", 0.2, 0.2),
    Figure("execute by name, data at hand, 0", "blinker send, data at hand, 0", 1 / 3, 1 / 3),
    Figure("execute by name, data at hand, 1", "blinker send, data at hand, 1", 1 / 8, 1 / 8),
    Figure("execute by name, data at hand, 5", "blinker send, data at hand, 5", 1 / 12, 1 / 12),
    Figure("span in a span, 0", "BEAM span, 0", 0.5, 0.6),
    Figure("start and stop by hand, 1", "BEAM span, 1", 1.15, 1.25),
    *(Figure(f"{form}, 1", "BEAM span, 1", 1.6, 1.75) for form in ("span", "decorated call", "span in a span")),
    Figure("span, 1", "span over blinker, 1", 1 / 3, 1 / 3),
    Figure("span in a span, 1", "OpenTelemetry span in a span, 1", 1 / 14, 1 / 12),
)


class BlinkerSpan:
    """What a span over blinker is at its leanest: the same two events with the same data, no parent, no trace ids."""

    __slots__ = ("began_ns", "metadata", "name", "signal")

    def __init__(self, signal: blinker.Signal, name: str, metadata: dict[str, Any]) -> None:
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


def python(statement: str, around: Callable[[], Any] | None = None, **names: Any) -> Timing:
    """One call of a statement; `around` makes a block that the slice runs in."""
    timer = timeit.Timer(statement, globals=names)
    timer.timeit(1_000)
    number = max(10, int(SLICE_S / min(timer.repeat(5, 200)) * 200))

    def slice_ns() -> float:
        with ExitStack() as stack:
            if around is not None:
                stack.enter_context(around())
            return timer.timeit(number) / number * 1e9

    return slice_ns


def measure(title: str, rows: dict[str, Timing]) -> dict[str, float]:
    """The least of each row's slices, taken in turns; printed with the median."""
    slices: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, timing in rows.items():
            slices[name].append(timing())
    print(f"\n{title:42} {'least':>8} {'median':>8}  ns a call")
    for name, taken in slices.items():
        print(f"  {name:40} {min(taken):8.0f} {median(taken):8.0f}")
    return {name: min(taken) for name, taken in slices.items()}


def signal_with(receivers: int) -> blinker.Signal:
    signal = blinker.Signal()
    for _ in range(receivers):
        signal.connect(partial(receive), weak=False)
    return signal


def bench_execute(handlers: int, beam: Beam | None) -> dict[str, float]:
    bus, send = Bus(), signal_with(handlers).send
    for number in range(handlers):
        bus.attach(number, EVENT, hear)
        attach(("bench", number), DECLARED.name, hear)
    data = "{'duration': 1000}, metadata"
    rows = {
        f"execute by name, {handlers}": python(f"execute({EVENT!r}, {data})", execute=bus.execute, metadata=METADATA),
        f"execute of a declared event, {handlers}": python(f"event.execute({data})", event=DECLARED, metadata=METADATA),
        f"hot form, {handlers}": python(f"if event.handlers: event.execute({data})", event=DECLARED, metadata=METADATA),
    }
    if beam is not None:
        rows[f"BEAM execute, {handlers}"] = partial(beam.time, "execute", handlers, BEAM_NUMBER)
    made = {"made": {"duration": 1000}, "metadata": METADATA}
    rows[f"execute by name, data at hand, {handlers}"] = python(
        f"execute({EVENT!r}, made, metadata)", execute=bus.execute, **made
    )
    rows[f"blinker send, data at hand, {handlers}"] = python(
        "send('sender', measurements=made, metadata=metadata)", send=send, **made
    )
    least = measure(f"an event, {handlers} handlers", rows)
    for number in range(handlers):
        detach(("bench", number))
    return least


def bench_many_events() -> dict[str, float]:
    """Does an event cost more among many than alone?"""
    events = [EventType(f"bench.many.number_{number}") for number in range(64)]
    attach_many("bench", [event.name for event in events], hear)
    names: dict[str, Any] = {"data": {"duration": 1000}, "metadata": METADATA}
    each = "; ".join(f"e{number}.execute(data, metadata)" for number in range(64))
    among = python(each, **names, **{f"e{number}": event for number, event in enumerate(events)})
    alone = python("; ".join(["e.execute(data, metadata)"] * 64), e=events[0], **names)
    found = measure("64 calls of declared events, 1 handler each", {"one event": alone, "64 events in turn": among})
    detach("bench")
    return found


@contextmanager
def tracer() -> Iterator[Any]:
    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    yield provider.get_tracer("bench")
    provider.shutdown()


def bench_span(handlers: int, beam: Beam | None) -> dict[str, float]:
    for number in range(handlers):
        attach_many(("bench", number), SPAN_EVENTS, hear)
    attach("bench", "my.outer.start", hear)
    ours, theirs = f"with span('my.work', {NEW}): pass", f"with blinker_span(signal, 'my.work', {NEW}): pass"
    with tracer() as opentelemetry:
        open_span = opentelemetry.start_as_current_span
        otel = f"with open_span('my.work', attributes={NEW}): pass"
        rows = {
            f"span, {handlers}": python(ours, span=span),
            f"span in a span, {handlers}": python(ours, partial(span, "my.outer"), span=span),
            f"start and stop by hand, {handlers}": python(
                BY_HAND, start=START, stop=STOP, clock_ns=time.perf_counter_ns, wall_ns=time.time_ns
            ),
            f"decorated call, {handlers}": python("call()", call=span("my.work", METADATA)(lambda: None)),
            f"span over blinker, {handlers}": python(theirs, blinker_span=BlinkerSpan, signal=signal_with(handlers)),
            f"OpenTelemetry span, {handlers}": python(otel, open_span=open_span),
            f"OpenTelemetry span in a span, {handlers}": python(otel, partial(open_span, "outer"), open_span=open_span),
        }
        if beam is not None:
            rows[f"BEAM span, {handlers}"] = partial(beam.time, "span", handlers, BEAM_NUMBER)
        least = measure(f"a span, {handlers} handlers on its three events", rows)
    for number in range(handlers):
        detach(("bench", number))
    detach("bench")
    return least


def compare_all(beam: Beam | None) -> bool:
    """Print every figure that is wanted; were all reached that must be?"""
    least: dict[str, float] = {}
    for handlers in (0, 1, 5):
        least |= bench_execute(handlers, beam)
    for handlers in (0, 1):
        least |= bench_span(handlers, beam)
    least |= bench_many_events()
    print(f"\n{'ours : theirs':68} {'ratio':>7} {'wanted':>7} {'must':>6}")
    missed = False
    for figure in FIGURES:
        pair = f"{figure.ours} : {figure.theirs}"
        if figure.theirs not in least:
            print(f"  {pair:66} not measured")
            continue
        ratio = least[figure.ours] / least[figure.theirs]
        verdict = "" if ratio <= figure.wanted else "not what is wanted" if ratio <= figure.must else "MISSED"
        missed |= ratio > figure.must
        print(f"  {pair:66} {ratio:7.3f} {figure.wanted:7.3f} {figure.must:6.3f}  {verdict}")
    return not missed


def soak(seconds: float) -> bool:
    """Attach, detach and execute from eight threads; was every call there?"""
    counts = hammer(seconds)
    lost = sum(counts.expected.values()) - sum(counts.heard.values())
    print(f"{sum(counts.expected.values())} calls, {counts.changes} attached and detached, lost {lost}")
    print(*counts.wrong, sep="\n")
    return counts.expected == counts.heard and not counts.wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="./tt bench bus", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--beam", type=Path, metavar="DIR", help="a compiled checkout of the Erlang library telemetry")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="hammer the bus from eight threads instead")
    arguments = parser.parse_args()
    if arguments.soak:
        return not soak(arguments.soak)
    print(f"{platform.python_implementation()} {sys.version}".replace("\n", " "))
    with ExitStack() as stack:
        try:
            beam = stack.enter_context(Beam(arguments.beam)) if arguments.beam else None
        except BeamMissing as error:
            print(f"bench bus: {error}", file=sys.stderr)
            return 2
        return not compare_all(beam)


if __name__ == "__main__":
    sys.exit(main())
