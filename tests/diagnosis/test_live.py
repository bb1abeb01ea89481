"""The same on a live bus, a tape and events: what is found, and when it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.diagnosis.builder import Script, training_run
from tests.waiting import wait_until

from tinkertape.bus import Bus
from tinkertape.context import Event, replaying
from tinkertape.diagnosis import causes, diagnose, watch, watcher
from tinkertape.diagnosis.watcher import Watcher
from tinkertape.errors import ConfigError, TapeNotFound

RUN = training_run([100.0] * 8 + [350.0] * 5 + [100.0] * 4, pauses={4: (0, 2000)}, hold=500)


class Told:
    """Every `diagnosis.finding` of a bus: its measurements and metadata."""

    def __init__(self, bus: Bus) -> None:
        self.all: list[tuple[dict[str, Any], dict[str, Any]]] = []
        bus.attach("told", "diagnosis.finding", lambda _, measured, metadata, __: self.all.append((measured, metadata)))

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(metadata["cause"], metadata["state"]) for _, metadata in self.all]


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def watching(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    """A watcher that looks when the test says, at every event."""
    monkeypatch.setattr(watcher, "BUSY", 1 << 30)
    with Watcher(bus) as made:
        yield made


def execute(bus: Bus, events: Sequence[Event]) -> None:
    for event in events:
        with replaying(event):
            bus.execute(event.name, event.measurements, event.metadata)


def test_a_live_run_has_the_findings_of_its_tape(bus: Bus, watching: Watcher) -> None:
    events = RUN.events()
    for began in range(0, len(events), 50):
        execute(bus, events[began : began + 50])
        watching.look()

    live, taped = watching.findings(), diagnose(events).findings
    assert [finding.cause for finding in live] == ["capacity-pause", "slow-service"]
    assert {finding.cause: finding.summary for finding in live} == {each.cause: each.summary for each in taped}


def test_a_finding_is_told_when_it_is_seen_when_it_has_doubled_and_when_it_ends(bus: Bus, watching: Watcher) -> None:
    told = Told(bus)
    script = Script()
    script.start(0)
    script.call("optim_step", 10, paused=(0, 20_000), hold=500)
    for second in range(1, 22):
        script.tick(1000 * second)
    execute(bus, script.events())
    watching.look()

    assert told.states == [("capacity-pause", "open")] * 4 + [("capacity-pause", "over")]
    costs_s = [round(measured["cost"] / 1e9) for measured, _ in told.all]
    assert costs_s[:4] == [2, 4, 8, 16] and costs_s[4] >= 20
    measured, metadata = told.all[0]
    assert metadata["owner"] == "service" and metadata["step"] == 1 and metadata["request_ids"] == ["req-1"]
    assert metadata["summary"].startswith("The service keeps `optim_step` queued") and measured["since"] > 0


def test_what_a_live_diagnosis_told_is_passed_over_by_that_of_the_tape(bus: Bus, watching: Watcher) -> None:
    events = RUN.events()
    told = Told(bus)
    execute(bus, events)
    watching.look()
    again = [
        Event(
            name="diagnosis.finding", measurements=measured, metadata=metadata, time_ns=0, monotonic_ns=0, process="x"
        )
        for measured, metadata in told.all
    ]

    diagnosed, alone = diagnose([*events, *again]), diagnose(events)

    assert diagnosed.findings == alone.findings
    assert diagnosed.report.events == len(events) + len(again)


def test_the_thread_looks_by_itself(bus: Bus) -> None:
    told = Told(bus)
    with watch(bus):
        execute(bus, RUN.events())
        assert "tinkertape-watcher" in [thread.name for thread in threading.enumerate()]

        wait_until(lambda: len(told.all) >= 2)


def test_a_closed_watcher_hears_nothing_and_has_no_thread(bus: Bus) -> None:
    watching = watch(bus)
    execute(bus, RUN.events()[:10])
    watching.close()
    watching.close()

    assert bus.list_handlers() == []
    assert "tinkertape-watcher" not in [thread.name for thread in threading.enumerate()]


def test_only_what_the_detectors_and_the_records_need_is_heard(bus: Bus, watching: Watcher) -> None:
    for name in ("tape.written", "delivery.sent", "my.thing.done", "diagnosis.finding", "tinker.future.poll.start"):
        bus.execute(name, {}, {})

        assert bus.handlers_of(name) == ()
    assert len(bus.handlers_of("tinker.sampling.made_up_today.stop")) == 1
    assert len(bus.handlers_of("tinker.http.request.stop")) == 1


def test_a_watcher_that_is_held_up_counts_what_it_missed_and_begins_anew(
    bus: Bus, watching: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "MOST", 100)
    execute(bus, RUN.events())
    assert watching.missed > 100
    watching.look()
    assert watching.findings() == []

    monkeypatch.setattr(watcher, "MOST", 1 << 20)
    execute(bus, RUN.events())
    watching.look()

    assert [finding.cause for finding in watching.findings()] == ["capacity-pause", "slow-service"]


def many_samples(number: int, **changes: Any) -> list[Event]:
    script = Script()
    script.start(0)
    for each in range(number):
        script.call("sample", 10 + each, family="sampling", **changes)
    return script.events()


def test_of_very_many_sampling_calls_some_are_left_out_and_none_stays_open(bus: Bus) -> None:
    with Watcher(bus) as watching:
        events = many_samples(2000)
        for began in range(0, len(events), 1000):
            execute(bus, events[began : began + 1000])
            watching.look()

        assert 0.5 * len(events) < watching.thinned < 0.99 * len(events)
        assert watching.missed == 0
        assert watching.calls_kept < 200


def test_a_pause_of_a_call_that_is_left_out_is_told(bus: Bus) -> None:
    told = Told(bus)
    with Watcher(bus) as watching:
        execute(bus, many_samples(200))
        watching.look()
        execute(bus, many_samples(200, paused=(0, 5000), hold=200))
        watching.look()

        assert watching.thinned > 0
        assert told.states == [("capacity-pause", "open"), ("capacity-pause", "over")]


def test_training_that_is_too_fast_is_left_out_whole_and_the_step_is_known(bus: Bus) -> None:
    told = Told(bus)
    script = training_run([5.0] * 40, optim=5, between=1)
    script.call("optim_step", 30_000, paused=(0, 3000), hold=200)
    events = script.events()
    with Watcher(bus) as watching:
        execute(bus, events[:400])
        watching.look()
        execute(bus, events[400:])
        watching.look()

        assert watching.thinned > 300
        assert told.states == [("capacity-pause", "over")]
        assert told.all[0][1]["step"] == 41


def test_a_cause_that_nobody_watches_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="no detector for the cause 'gremlins'"):
        diagnose([], only="gremlins")


def test_a_tape_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TapeNotFound):
        diagnose(tmp_path / "nowhere")


def test_a_detector_that_fails_does_not_take_the_others_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(self: object, event: Event) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(causes()["capacity-pause"].Detector, "detect", detect)

    assert [finding.cause for finding in diagnose(RUN.events())] == ["slow-service"]
