"""Metrics for StatsD, and for Datadog's agent: over UDP or a Unix socket, from a thread of its own.

                  standard                                         datadog
    counter       counter                                          counter
    sum           gauge, changed by as much: `+21|g`;              counter
                  counter with `reporter_options={"report_as": "counter"}`
    last_value    gauge                                            gauge
    summary       timing, each value                               histogram, each value
    distribution  timing, each value                               distribution, each value

Counters, sums and last values are added up here and sent each `period_s`, where an event changed them: they are
exact, and cost an event nothing more. Single values are sent as they come, many in a packet; `sampling_rate` in
`reporter_options` sends a share of them. In the standard dialect a tag's value is a segment of the name.

Threads  "tinkertape-statsd" sends (`statsd/sender.py`); only `flush` and `close` wait, for a time that is given.
Fork     a child begins with nothing: its own counts, buffer, socket and thread. Its parent sends what was.
Exit     what is left is sent when the interpreter ends, and when a worker of multiprocessing does, in EXIT_S at most.
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from tinkertape.bus import Bus, default_bus
from tinkertape.errors import MetricError
from tinkertape.guard import guarded
from tinkertape.metrics.aggregate import Aggregate
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.handlers import Cells
from tinkertape.metrics.limits import check_count, check_metrics, check_seconds
from tinkertape.metrics.statsd.buffer import Buffer
from tinkertape.metrics.statsd.deltas import Deltas
from tinkertape.metrics.statsd.lines import Line, Stream, stream_of
from tinkertape.metrics.statsd.losses import Losses
from tinkertape.metrics.statsd.options import SINGLE, Formatter, prepared, sampling_rate_of
from tinkertape.metrics.statsd.sender import Sender
from tinkertape.metrics.statsd.transport import Family, Transport, destination_of
from tinkertape.metrics.values import Kept
from tinkertape.workers import at_the_end_of_forked_workers, at_the_end_of_this_worker

UDP_MTU, UNIX_MTU = 1_432, 8_192  # bytes: an Ethernet frame less the headers; what Datadog's agent reads at once
MTU_MAX = 65_507
EXIT_S = 1.0
COLLECTING_S = 0.2  # far longer than it takes


class Ledger(msgspec.Struct, frozen=True):
    """Where values went: a counter's or gauge's line is one, and so is each value of a summary or distribution.

    `sent` the system took; `pending` wait for the next turn, or for somebody to send to; `dropped` by reason.
    """

    sent: int
    pending: int
    dropped: Mapping[str, int]


class StatsDReporter:
    """Sends these metrics to StatsD, from now on.

    To `host` and `port` over UDP, by IPv4 or IPv6 as the address or `family` ("ipv4", "ipv6") says; a name is looked up
    again each `resolve_period_s`. Or to the Unix datagram socket `socket_path`. `prefix` stands before every name.
    `global_tags` are the values of those tags that a metric lists and an event does not have. `mtu` is the most bytes
    of a packet (1 432, to a Unix socket 8 192). `packed_values` puts several values in a line where the formatter is
    "datadog"; an agent before 6.25 or 7.25 does not know that. At most `buffer_max` single values wait. `series_max` is
    the `Aggregate`'s, of single values too; a series that had no event for `idle_s` makes room, and loses nothing.

    Raises `MetricError` for what cannot be used, before anything changes. Nothing is looked up or opened here.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        *,
        bus: Bus | None = None,
        host: str = "127.0.0.1",
        port: int = 8125,
        socket_path: str | os.PathLike[str] | None = None,
        family: Family | None = None,
        resolve_period_s: float | None = 60.0,
        formatter: Formatter = "standard",
        prefix: str = "",
        global_tags: Mapping[str, Any] | None = None,
        mtu: int | None = None,
        packed_values: bool = True,
        period_s: float = 2.0,
        buffer_max: int = 50_000,
        series_max: int = 1_000,
        idle_s: float | None = 600.0,
    ) -> None:
        destination = destination_of(host, port, socket_path, family)
        self._formatter, self._prefix = _formatter_of(formatter), _prefix_of(prefix)
        self._mtu = _mtu_of(mtu, UDP_MTU if socket_path is None else UNIX_MTU)
        check_metrics(metrics)
        check_seconds("period_s", period_s)
        check_seconds("resolve_period_s", resolve_period_s, or_none=True)
        check_seconds("idle_s", idle_s, or_none=True)
        check_count("buffer_max", buffer_max)
        check_count("series_max", series_max)
        self._is_packed = packed_values and formatter == "datadog"
        self._idle_s = idle_s
        tags = _global_tags_of(global_tags)
        self._metrics = [prepared(metric, self._formatter, tags) for metric in metrics]
        for number in range(len(self._metrics)):
            self._stream(number, ())
        self._losses = Losses()
        transport = Transport(destination, self._losses, resolve_period_s=resolve_period_s)
        self._sender = Sender(self._take, transport, self._losses, mtu=self._mtu, period_s=period_s)
        self._begin_reporting(default_bus if bus is None else bus, buffer_max, series_max)

    def _begin_reporting(self, bus: Bus, buffer_max: int, series_max: int) -> None:
        numbers = range(len(self._metrics))
        self._aggregated = [number for number in numbers if self._metrics[number].kind not in SINGLE]
        self._forget_sent()
        aggregated = [self._metrics[number] for number in self._aggregated]
        self._aggregate = _Aggregate(aggregated, self._sender, bus=bus, series_max=series_max, idle_s=self._idle_s)
        single = [number for number in numbers if number not in self._deltas]
        rates = {number: sampling_rate_of(self._metrics[number], self._formatter) for number in single}
        self._buffer = Buffer(
            self._metrics,
            rates,
            self._stream,
            bus=bus,
            losses=self._losses,
            buffer_max=buffer_max,
            series_max=series_max,
            begun=self._sender.start,
            wake=self._sender.wake,
        )
        _reporters.add(self)
        at_the_end_of_this_worker(partial(_flush, weakref.ref(self)))

    def _forget_sent(self) -> None:
        self._deltas = {
            number: Deltas(self._metrics[number], partial(self._stream, number)) for number in self._aggregated
        }

    def _stream(self, number: int, tags: Tags) -> Stream:
        return stream_of(number, self._metrics[number], tags, self._formatter, self._prefix)

    # --- for the program ---

    def flush(self, timeout_s: float = 1.0) -> bool:
        """Send all that came until now; whether the system took it, in `timeout_s` at the most. Any thread."""
        return self._sender.flush(timeout_s)

    def ledger(self) -> Ledger:
        """How many values were sent, wait and were lost, as it was between two turns. Any thread."""
        sent, waiting = self._sender.ledger()
        return Ledger(sent, waiting + len(self._buffer), self._losses.by_reason())

    def skipped(self) -> Mapping[tuple[str, str], int]:
        """How many events a metric could not use, by (metric name, reason)."""
        return self._aggregate.skipped() + self._buffer.skipped()

    def overflowed(self) -> Mapping[str, int]:
        """How many events went into an overflow series, by metric name."""
        return self._aggregate.overflowed() + self._buffer.overflowed()

    def close(self, timeout_s: float = 1.0) -> bool:
        """Listen no longer, and send what is left; whether the system took it, in `timeout_s` at the most.

        Closing twice is closing once.
        """
        self._aggregate.close()
        self._buffer.close()
        return self._sender.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- for the thread that sends ---

    def _take(self, everything: bool) -> tuple[Iterator[Line], bool]:
        """The lines of what is new; single values only, if not `everything`. And whether that is what was wanted.

        It is not where a thread collects, for `ledger`'s kin: a signal's handler may have interrupted that, and wait.
        """
        changed: Mapping[int, list[Kept]] = {}
        is_all = True
        if everything:
            states = self._aggregate.states_within(COLLECTING_S)
            is_all = states is not None
            changed = dict(zip(self._aggregated, states or (), strict=is_all))
        single = self._single_values()
        if everything and self._idle_s is not None:
            self._buffer.forget_idle(time.monotonic() - self._idle_s)
        return self._lines(changed, single), is_all

    def _lines(
        self, changed: Mapping[int, list[Kept]], single: Mapping[int, Mapping[Stream, list[int | float]]]
    ) -> Iterator[Line]:
        """In the order of the definitions."""
        for number in range(len(self._metrics)):
            if number in changed:
                yield from (stream.line(value) for stream, value in self._deltas[number].take(changed[number]))
            for stream, values in single.get(number, {}).items():
                yield from self._lines_of(stream, values)

    def _single_values(self) -> dict[int, dict[Stream, list[int | float]]]:
        """The values that wait, in the unit reported, by metric and series."""
        now_s = time.monotonic()
        found: dict[int, dict[Stream, list[int | float]]] = {}
        for stream, value in self._buffer.take():
            stream.used_s = now_s
            value = self._metrics[stream.number].conversion.apply(value)
            found.setdefault(stream.number, {}).setdefault(stream, []).append(value)
        return found

    def _lines_of(self, stream: Stream, values: list[int | float]) -> Iterator[Line]:
        if self._is_packed:
            yield from stream.packed(values, self._mtu)
            return
        for value in values:
            if value < 0 and self._formatter == "standard":
                name = self._metrics[stream.number].name
                self._losses.count("negative", 1, f"a value of {name!r} is negative, which no timing may be")
            else:
                yield stream.line(value)

    def _start_over(self) -> None:
        """In a forked child; the aggregate does so itself."""
        self._losses.start_over()
        self._buffer.start_over()
        self._forget_sent()
        self._sender.start_over()


class _Aggregate(Aggregate):
    """One that starts the thread that sends when an event comes: in a forked child, too."""

    def __init__(
        self, metrics: Sequence[Metric], sender: Sender, *, bus: Bus, series_max: int, idle_s: float | None
    ) -> None:
        self._sender = sender
        super().__init__(metrics, bus=bus, series_max=series_max, idle_s=idle_s)

    def begin(self, place: int, numbers: Sequence[int]) -> tuple[Cells, ...]:
        self._sender.start()
        return super().begin(place, numbers)


def _formatter_of(given: object) -> Formatter:
    if given == "standard":
        return "standard"
    if given == "datadog":
        return "datadog"
    raise MetricError(f"formatter is {given!r}; use 'standard' or 'datadog'")


def _prefix_of(given: object) -> str:
    if not isinstance(given, str):
        raise MetricError(f"prefix is {given!r}; want a text, such as 'my_app'")
    return given.strip(".")


def _mtu_of(given: object, usual: int) -> int:
    if given is None:
        return usual
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given <= MTU_MAX:
        raise MetricError(f"mtu is {given!r}; want bytes of a packet, from 1 to {MTU_MAX}")
    return given


def _global_tags_of(given: object) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(tag, str) for tag in given):
        raise MetricError(f"global_tags are {given!r}; want a mapping from tags to their values")
    return dict(given)


_reporters: weakref.WeakSet[StatsDReporter] = weakref.WeakSet()  # a fork hook cannot be removed: one, holding nobody


def _start_over() -> None:
    for reporter in list(_reporters):
        reporter._start_over()


def _close_all() -> None:
    """At the end of the interpreter: all of them in EXIT_S."""
    until_s = time.monotonic() + EXIT_S
    for reporter in list(_reporters):
        with guarded("metrics.statsd.exit"):
            reporter.close(max(0.0, until_s - time.monotonic()))


def _flush(reporter: weakref.ref[StatsDReporter]) -> None:
    """At the end of the worker that made it."""
    here = reporter()
    if here is not None:
        here.flush(EXIT_S)


os.register_at_fork(after_in_child=_start_over)
atexit.register(_close_all)
at_the_end_of_forked_workers(_close_all)
