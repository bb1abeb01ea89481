"""A run that is over: what the service really did, and what the collector says of it."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from tests.faults.processes import Collector
from tests.waiting import wait_until

from tinkertape.context import Event
from tinkertape.diagnosis import Diagnoser
from tinkertape.diagnosis.report import Report
from tinkertape.diagnosis.view import View
from tinkertape.sim import Scenario
from tinkertape.tape.format import decode_line

MS = 1_000_000
ENDED_S = 60.0


class Trained(msgspec.Struct):
    """A run. `starved` holds, for the process that trained and for that of the services, how long its threads waited
    for a processor: no stamp can be better than that.
    """

    scenario: Scenario
    run: str
    truth: list[dict[str, Any]]
    starved: list[list[tuple[int, int]]]
    report: Report | None = None  # the collector's, as it came over HTTP
    diagnosis: Any = None  # the same, as scripts read it
    ledger: dict[str, Any] = {}
    events: list[Event] = []  # as the collector gives them out
    view: Any = None  # the same, cut: for single requests and their bounds

    def said(self, what: str, **wanted: object) -> list[dict[str, Any]]:
        """The truth's lines of one kind, with these values."""
        return [line for line in self.truth if line["what"] == what and wanted.items() <= line.items()]

    def starved_ns(self, began: int, ended: int) -> int:
        """How long the two processes were kept from running between two instants."""
        total = 0
        for samples in self.starved:
            times = [at for at, _ in samples]
            low = samples[max(0, bisect_right(times, began) - 1)][1]
            high = samples[min(len(samples) - 1, bisect_left(times, ended))][1]
            total += high - low
        return total


def judged(trained: Trained, collector: Collector) -> Trained:
    """With what the collector says, once it has everything."""
    wait_until(
        lambda: collector.state(trained.run) == "ended" and collector.ledger(trained.run)["pending"] == 0,
        within_s=ENDED_S,
        every_s=0.1,
        otherwise=lambda: f"{collector.state(trained.run)} {collector.ledger(trained.run)}",
    )
    answer = collector.json(f"/api/v1/runs/{trained.run}")
    report = msgspec.convert(answer["report"], Report)
    diagnosis = collector.json(f"/api/v1/runs/{trained.run}/diagnosis")
    events = list(_events(collector, trained.run))
    ledger = collector.ledger(trained.run)
    told = msgspec.structs.replace(trained, report=report, diagnosis=diagnosis, ledger=ledger)
    return msgspec.structs.replace(told, events=events, view=_view(events))


def _events(collector: Collector, run: str) -> Iterator[Event]:
    for line in collector.events(run):
        del line["cursor"]
        event = decode_line(json.dumps(line).encode())
        assert isinstance(event, Event)
        yield event


def _view(events: Iterable[Event]) -> View | None:
    """The events, cut."""
    diagnoser = Diagnoser()
    for event in events:
        diagnoser.feed(event)
    return diagnoser.view()
