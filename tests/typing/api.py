"""The public API as a user writes it: type-checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tinkertape
from tinkertape import metrics


def handler(event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], config: Any) -> None:
    whole: tinkertape.Event = tinkertape.Event.of(event, measurements, metadata)
    print(whole.time_ns, whole.severity, whole.scope, config)


def use_the_bus() -> None:
    tinkertape.attach("one", "my.thing.done", handler)
    tinkertape.attach("two", ["my", "thing", "done"], handler, {"key": 1}, on_failure="keep")
    tinkertape.attach_many("three", ["my.thing.start", "my.thing.stop"], handler)
    tinkertape.attach_all("four", handler, prefix="my")
    tinkertape.execute("my.thing.done", {"rows": 3}, {"path": "x"})
    tinkertape.execute("my.thing.done", {})
    names: list[str] = [found.event_name for found in tinkertape.list_handlers("my")]
    print(names)
    tinkertape.detach("one")
    bus = tinkertape.Bus()
    bus.attach("one", "my.thing.done", handler)


DONE = tinkertape.EventType(
    "my.thing.done", measurements={"rows": "count"}, metadata={"path": "where"}, severity="INFO"
)


def use_an_event_type() -> None:
    if DONE.handlers:
        DONE.execute({"rows": 3}, {"path": "x"})


@tinkertape.span("my.function")
def traced(number: int) -> str:
    return str(number)


@tinkertape.span("my.coroutine", {"key": "value"})
async def traced_coroutine(number: int) -> str:
    async with tinkertape.span("my.block") as span:
        span.add({"rows": number})
    return traced(number)


def use_spans() -> int:
    with tinkertape.span("my.block", {"path": "x"}) as span:
        span.add({"rows": 3}, {"more": "y"})
    text: str = traced(3)
    return len(text)


@tinkertape.span("my.rows")
def traced_rows(number: int) -> Iterator[int]:
    yield from range(number)


@tinkertape.span("my.async_rows")
async def traced_async_rows(number: int) -> AsyncIterator[int]:
    yield number


def use_generators_and_calls() -> int:
    rows: list[int] = list(traced_rows(3))
    source: AsyncIterator[int] = traced_async_rows(3)
    text: str = tinkertape.span("my.call", {"path": "x"})(traced)(3)
    with tinkertape.span(["my", "block"]) as span:
        span.add(metadata={"status": "error"})
    print(source, text)
    return len(rows)


def use_scopes(pool: ThreadPoolExecutor, batches: list[str], headers: dict[str, str]) -> None:
    with tinkertape.scope(step=3, phase="train"):
        future: Future[str] = pool.submit(tinkertape.carry(traced), 3)
        print(future.result())
    for batch in tinkertape.step(batches, start=10):
        text: str = batch
        print(text)
    with tinkertape.scope_from(headers.get("traceparent")):
        header: str | None = tinkertape.traceparent()
        print(header)


@tinkertape.capture_exceptions
def captured(number: int) -> str:
    return str(number)


class Client:
    def get_telemetry(self) -> tinkertape.Telemetry | None:
        return tinkertape.get_telemetry()


@tinkertape.capture_exceptions(fatal=True, severity="ERROR", telemetry=Client())
def captured_by(number: int) -> str:
    return str(number)


def use_redaction() -> None:
    tinkertape.redact.add(secret_keys=["corp_pin"], secret_shapes=[r"corp-\d+"], emails=True)
    text: str = tinkertape.redact.redact_text("x")
    print(text, tinkertape.redact.redact({"a": 1}))


def use_the_exception_hooks() -> None:
    tinkertape.instrument.exceptions.install()
    tinkertape.instrument.exceptions.uninstall()


def use_telemetry(directory: Path) -> None:
    telemetry: tinkertape.Telemetry = tinkertape.start("my-run", url=None, directory=directory, tags=["a"])
    accepted: bool = telemetry.log("my.event", {"rows": 3}, severity="WARNING")
    telemetry.flush(timeout_s=1.0)
    telemetry.close(status="success")
    with tinkertape.record("other") as other:
        other.log("my.event")
    current: tinkertape.Telemetry | None = tinkertape.get_telemetry()
    print(accepted, current, telemetry.run, telemetry.ledger(), captured(3))


def use_faults(error: Exception) -> None:
    if not tinkertape.is_user_error(error):
        fault = tinkertape.classify(error)
        print(fault.owner, fault.kind, fault.retryable)


def use_tapes(path: Path, bus: tinkertape.Bus) -> None:
    tape = tinkertape.open_tape(path)
    for event in tape:
        name: str = event.name
        print(name)
    replayed = tinkertape.replay(path, bus, speed=None)
    print(replayed.executed, replayed.torn, replayed.set_aside, tape.ledger())
    diagnosis = tinkertape.diagnose(path)
    for finding in diagnosis.findings:
        print(finding.cause, finding.owner, finding.cost_s)
    print(diagnosis.partition, diagnosis.ledger)


def use_sources() -> None:
    tinkertape.instrument.tinker.install()
    tinkertape.instrument.tinker.uninstall()
    tinkertape.instrument.process.install()
    tinkertape.instrument.process.uninstall()


def queue_length() -> tuple[str, dict[str, int], dict[str, str]]:
    return "my.queue", {"length": 3}, {"name": "work"}


def use_a_poller(bus: tinkertape.Bus) -> None:
    poller = tinkertape.Poller(["memory", queue_length, lambda: None], period_s=5.0, init_delay_s=1.0, bus=bus)
    poller.start()
    name: str = poller.add(queue_length, name="again", period_s=0.5)
    poller.pause(name)
    poller.resume(name)
    measured: tuple[str, ...] = poller.collect()
    for polled in poller.list():
        print(polled.name, polled.runs, polled.failures, polled.skipped, polled.state, measured)
    poller.remove(queue_length)
    stopped: bool = poller.stop()
    with poller:
        print(stopped)


def share_of_errors(measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> float:
    return float(measurements["errors"]) / float(metadata["of"])


def use_metrics(bus: tinkertape.Bus) -> None:
    defined: list[metrics.Metric] = [
        metrics.counter("my.thing.count", event_name=["my", "thing", "done"], tags=["path"]),
        metrics.sum_("my.thing.done.rows", tag_values=lambda metadata: metadata, drop=lambda metadata: True),
        metrics.last_value("my.memory.total", unit="byte", keep=lambda metadata, measurements: "total" in measurements),
        metrics.summary("my.thing.done.errors", measurement=share_of_errors, description="errors"),
        metrics.distribution("my.thing.duration", unit=("nanosecond", "second"), buckets=range(1, 10)),
        metrics.distribution("my.thing.size", buckets=metrics.exponential_buckets(1, 2, 8), reporter_options={"a": 1}),
        *metrics.default(),
    ]
    with metrics.Aggregate(defined, bus=bus, series_max=100, idle_s=60.0) as aggregate:
        for family in aggregate.collect():
            for series in family.series:
                value: int | float | metrics.Histogram | metrics.Quantiles = series.value
                if isinstance(value, metrics.Quantiles):
                    median: float = value.quantile(0.5)
                    print(median, value.relative_error)
                print(family.metric.name, series.tags, value, series.began_ns)
        skipped: int = aggregate.skipped()["my.thing.count", "missing_tag"]
        print(skipped, aggregate.overflowed())
    metrics.counter("my.thing.count", tgas=["path"])  # type: ignore[call-arg]
    tinkertape.metrics.counter("my.thing.count")
