"""The public API as a user writes it: type-checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tinkertape


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


@tinkertape.capture_exceptions
def captured(number: int) -> str:
    return str(number)


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
