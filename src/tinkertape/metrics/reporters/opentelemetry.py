"""Metrics for OpenTelemetry: into the program's own `MeterProvider`, or straight to a collector by OTLP over HTTP.

    counter       counter
    sum           counter, which only goes up: a negative value is skipped, and counted;
                  up-down counter with `reporter_options={"monotonic": False}`
    last_value    gauge
    distribution  histogram with the definition's buckets
    summary       histogram with the buckets that are usual for its unit: the API has no quantiles

With `endpoint`, all comes from an aggregate, and a histogram costs the program what any metric does. Into a
`MeterProvider`, counters, sums and last values are observed when its reader asks, but a histogram can only be recorded,
event by event: that costs what the SDK's `record` does (benchmarks/RESULTS.md), and in the main thread 0.07 us more
for each frame of the stack, for a look whether a signal's handler interrupted the SDK.

Threads  with `endpoint`, "tinkertape-opentelemetry" sends each `period_s`; else whatever thread the reader has.
Locks    `_reading`: one reader at a time takes a new snapshot; a signal's handler that interrupted that has one of its
         own. `_sending`: one export at a time, so that what arrives last is newest; it is waited for `timeout_s` at
         most, and not at all in a signal's handler that interrupted it. The SDK's own, which a record into a provider
         takes, are not waited for in a signal's handler that interrupted the SDK: that value is recorded by the next
         event, or `close`. A handler must not have the provider collect: the SDK would wait for itself.
Fork     with `endpoint` a child sends nothing; its parent goes on. Make a reporter there, if it has metrics of its own.
         Into a provider, a child's SDK reads what the child counted.
Exit     `close` sends what is left, `timeout_s` at the most; without it, what came since the last period is not sent.
"""

from __future__ import annotations

import codecs
import contextlib
import itertools
import netrc  # noqa: F401  requests would import it at its first request, in the thread that sends
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet

import opentelemetry.metrics
import opentelemetry.sdk.metrics
from opentelemetry.context import Context, get_current
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource

from tinkertape.bus import Bus, default_bus
from tinkertape.errors import MetricError
from tinkertape.guard import guarded
from tinkertape.metrics.aggregate import Aggregate
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.ending import Ending
from tinkertape.metrics.extraction import Extracted, Skipped, Tags, extractor
from tinkertape.metrics.limits import check_metrics, check_seconds
from tinkertape.metrics.notices import Notices
from tinkertape.metrics.otlp import (
    SCOPE,
    attributes_of,
    is_monotonic,
    metrics_data,
    names_of,
    number_of,
    shown_as,
    unit_of,
)
from tinkertape.metrics.tally import Tally
from tinkertape.metrics.turn import Turn
from tinkertape.metrics.values import OVERFLOW, Family
from tinkertape.version import VERSION

_numbers = itertools.count(1)
_SDK = frozenset(map(str, Path(opentelemetry.sdk.metrics.__file__).parent.rglob("*.py")))


class OpenTelemetryReporter:
    """Brings these metrics to OpenTelemetry, from now on.

    `meter_provider` is the program's, by default the global one. With `endpoint` (`http://localhost:4318/v1/metrics`)
    none is needed: all series are sent there each `period_s` seconds, as `resource` (default: what the environment
    says), with `headers`. `series_max` is the `Aggregate`'s. Raises `MetricError` for names that become alike, or that
    are none to OpenTelemetry, and for an endpoint, a provider or a resource that is none.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        *,
        bus: Bus | None = None,
        meter_provider: MeterProvider | None = None,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        resource: Resource | None = None,
        period_s: float = 10.0,
        timeout_s: float = 5.0,
        series_max: int = 1_000,
    ) -> None:
        if endpoint is not None and meter_provider is not None:
            raise MetricError("give a meter_provider or an endpoint, not both")
        if endpoint is None and (headers is not None or resource is not None):
            raise MetricError("headers and resource are for an endpoint; a meter_provider has its own")
        check_metrics(metrics)
        check_seconds("period_s", period_s)
        check_seconds("timeout_s", timeout_s)
        if endpoint is not None and not str(endpoint).startswith(("http://", "https://")):
            raise MetricError(f"endpoint is {endpoint!r}; want an address, 'http://localhost:4318/v1/metrics'")
        if not isinstance(resource, Resource | None):
            raise MetricError(f"resource is {resource!r}; want a Resource of OpenTelemetry's, Resource.create({{…}})")
        if not isinstance(meter_provider, MeterProvider | None):
            raise MetricError(f"meter_provider is {meter_provider!r}; want a MeterProvider of OpenTelemetry's")
        bus = default_bus if bus is None else bus
        shown = [shown_as(metric) for metric in metrics]
        names = names_of(shown)
        self._to: _ToProvider | _ToEndpoint
        if endpoint is None:
            provider = opentelemetry.metrics.get_meter_provider() if meter_provider is None else meter_provider
            self._to = _ToProvider(shown, names, provider, bus, series_max)
        else:
            exporter = partial(OTLPMetricExporter, endpoint, headers=dict(headers or {}))
            self._to = _ToEndpoint(shown, names, exporter, resource or Resource.create(), bus, series_max, timeout_s)
            self._to.start(period_s)

    def flush(self) -> bool:
        """With `endpoint`: send now; whether it was taken. Into a provider there is nothing to send: True.

        False, too, where another export takes longer than `timeout_s`, or is what a signal's handler interrupted.
        """
        return self._to.flush()

    def skipped(self) -> Mapping[tuple[str, str], int]:
        """How many events a metric could not use, by (metric name, reason)."""
        return self._to.skipped()

    def close(self) -> None:
        """Listen no longer; with `endpoint`, send what is left. Closing twice is closing once."""
        self._to.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _ToProvider:
    """Instruments of a meter. What is observed goes through an aggregate, what is recorded does not."""

    def __init__(
        self, metrics: Sequence[Metric], names: Mapping[str, str], provider: MeterProvider, bus: Bus, series_max: int
    ) -> None:
        self._bus, self._notices = bus, Notices()
        self._meter = provider.get_meter(SCOPE, VERSION)
        observed = [metric for metric in metrics if metric.kind != "distribution"]
        self.aggregate = Aggregate(observed, bus=bus, series_max=series_max)
        self.start_over()
        _to_providers.add(self)
        self._families: list[Family] = []
        self._read: set[int] = set(range(len(observed)))  # nobody may read what was not collected
        self._leaves: list[Callable[[], None]] = []
        for number, metric in enumerate(observed):
            self._observe(number, metric, names[metric.name])
        self._handler_ids: list[object] = []
        for metric in metrics:
            if metric.kind == "distribution":
                self._record(metric, names[metric.name], series_max)

    def start_over(self) -> None:
        """In a forked child, where the SDK's reader goes on: a thread of the parent may have been reading."""
        self._reading = Turn()
        self._skipped: Tally[tuple[str, str]] = Tally()

    def _observe(self, number: int, metric: Metric, name: str) -> None:
        create: Callable[..., object] = {
            "counter": self._meter.create_observable_counter,
            "last_value": self._meter.create_observable_gauge,
        }.get(metric.kind, self._meter.create_observable_up_down_counter)
        if metric.kind == "sum" and is_monotonic(metric):
            create = self._meter.create_observable_counter

        sources = _Sources()
        instrument = create(name, [sources.observe], unit=unit_of(metric), description=metric.description)
        source = partial(self._observations, number)
        _sources.setdefault(instrument, sources).add(source)  # one that was there is asked by what it was made with
        self._leaves.append(partial(_sources[instrument].remove, source))

    def _observations(self, number: int) -> list[Observation]:
        with self._reading as is_outermost:
            if not is_outermost:
                family = self.aggregate.collect()[number]
            else:
                if number in self._read:  # a reader asks for each once: this is the next time
                    self._families, self._read = self.aggregate.collect(), set()
                self._read.add(number)
                family = self._families[number]
        values: list[Any] = [(series.value, series.tags) for series in family.series]
        return [Observation(number_of(value), attributes_of(tags)) for value, tags in values]

    def _record(self, metric: Metric, name: str, series_max: int) -> None:
        bounds = [float(bound) for bound in metric.buckets or ()]
        instrument = self._meter.create_histogram(
            name, unit_of(metric), metric.description, explicit_bucket_boundaries_advisory=bounds
        )
        extract = extractor(metric)
        known: dict[Tags, dict[str, str]] = {}
        waiting: deque[tuple[int | float, dict[str, str], Context]] = deque()

        def record(event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], _: object) -> None:
            extracted = extract(measurements, metadata)
            if isinstance(extracted, Extracted) and extracted.value < 0:  # the SDK would warn of each, and count none
                extracted = Skipped(
                    "error", ValueError(f"{extracted.value!r} is negative: the histogram would refuse it")
                )
            if not isinstance(extracted, Extracted):
                self._skip(metric, extracted)
                return
            attributes = known.get(extracted.tags)
            if attributes is None:
                tags = extracted.tags if len(known) < series_max else OVERFLOW
                attributes = known[tags] = attributes_of(tags)
            if _sdk_is_interrupted():
                waiting.append((extracted.value, attributes, get_current()))
                return
            record_waiting()
            instrument.record(extracted.value, attributes)

        def record_waiting() -> None:
            with contextlib.suppress(IndexError):  # none is left; another thread may have taken the last
                while True:
                    instrument.record(*waiting.popleft())

        handler_id = ("tinkertape.metrics.opentelemetry", next(_numbers))
        self._bus.attach(handler_id, metric.event_name, record, on_failure="keep")
        self._handler_ids.append(handler_id)
        self._leaves.append(record_waiting)

    def _skip(self, metric: Metric, skipped: Skipped | None) -> None:
        if skipped is not None:  # else `keep` says no
            self._notices.say(metric, skipped)
            self._skipped.add((metric.name, skipped.reason))

    def skipped(self) -> Counter[tuple[str, str]]:
        return self.aggregate.skipped() + self._skipped.total()

    def flush(self) -> bool:
        return True

    def close(self) -> None:
        while self._leaves:
            self._leaves.pop()()
        self.aggregate.close()
        while self._handler_ids:
            self._bus.detach(self._handler_ids.pop())


def _sdk_is_interrupted() -> bool:
    """Does this run in a signal's handler that came upon the SDK, which may hold a lock that a record waits for?"""
    if threading.get_ident() != threading.main_thread().ident:  # where no signal's handler runs
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename in _SDK:
            return True
        frame = frame.f_back
    return False


class _Sources:
    """Who is asked for an instrument's values: reporters come and go, the SDK keeps an instrument and its callback."""

    def __init__(self) -> None:
        self._each: tuple[Callable[[], list[Observation]], ...] = ()  # replaced whole: a reader may go through it

    def add(self, source: Callable[[], list[Observation]]) -> None:
        self._each = (*self._each, source)

    def remove(self, source: Callable[[], list[Observation]]) -> None:
        self._each = tuple(each for each in self._each if each is not source)

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        return [observation for source in self._each for observation in source()]


_sources: WeakKeyDictionary[object, _Sources] = WeakKeyDictionary()  # by the provider's instrument, which it makes once


_to_providers: WeakSet[_ToProvider] = WeakSet()  # a fork hook cannot be removed: one, holding nobody alive


def _start_over() -> None:
    for each in list(_to_providers):
        each.start_over()


os.register_at_fork(after_in_child=_start_over)


class _ToEndpoint:
    """Sends an aggregate's series by OTLP, again and again."""

    def __init__(
        self,
        metrics: Sequence[Metric],
        names: Mapping[str, str],
        exporter: Callable[..., OTLPMetricExporter],
        resource: Resource,
        bus: Bus,
        series_max: int,
        timeout_s: float,
    ) -> None:
        self.aggregate = Aggregate(metrics, bus=bus, series_max=series_max)
        self._names, self._resource = names, resource
        self._new_exporter, self._timeout_s = exporter, timeout_s
        self._exporter = exporter(timeout=timeout_s)
        codecs.lookup("idna")  # a look-up of the host, in the thread that sends, would import it
        self._sending = Turn()
        self._ended = Ending()
        self._process = os.getpid()

    def start(self, period_s: float) -> None:
        self._thread = threading.Thread(
            target=self._send_each, args=(period_s,), name="tinkertape-opentelemetry", daemon=True
        )
        self._thread.start()

    def _send_each(self, period_s: float) -> None:
        while not self._ended.wait(period_s):
            self.flush()

    def skipped(self) -> Counter[tuple[str, str]]:
        return self.aggregate.skipped()

    def flush(self) -> bool:
        if self._process != os.getpid():
            return False
        with self._sending.if_free(self._timeout_s) as is_free:
            return is_free and self._send(self._exporter)

    def _send(self, exporter: OTLPMetricExporter) -> bool:
        with guarded("metrics.opentelemetry"):
            families = [family for family in self.aggregate.collect() if family.series]
            data = metrics_data(families, self._names, self._resource)
            return exporter.export(data) is MetricExportResult.SUCCESS
        return False

    def close(self) -> None:
        self.aggregate.close()
        if not self._ended.say():
            return
        if self._process != os.getpid():
            return
        until_s = time.monotonic() + self._timeout_s
        self._thread.join(self._timeout_s)
        with self._sending.if_free(max(0.0, until_s - time.monotonic())) as is_free:
            if is_free:  # else an export hangs, and may go on
                self._send_last(until_s - time.monotonic())
        with guarded("metrics.opentelemetry"):
            self._exporter.shutdown()

    def _send_last(self, left_s: float) -> None:
        if left_s > 0:
            exporter = self._new_exporter(timeout=left_s)  # what it was made with is all the time that it takes
            self._send(exporter)
            exporter.shutdown()
