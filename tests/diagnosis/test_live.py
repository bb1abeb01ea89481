"""The same on a live bus, a tape and events: one fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.diagnosis.builder import BEGAN, training_run

from tinkertape.bus import Bus
from tinkertape.context import Event, replaying
from tinkertape.diagnosis import causes, diagnose, watch, watcher
from tinkertape.diagnosis.report import as_dict
from tinkertape.errors import ConfigError, TapeNotFound

RUN = training_run([100.0] * 8 + [350.0] * 5 + [100.0] * 4, pauses={4: (0, 2000)}, hold=500)


def execute(bus: Bus, events: Sequence[Event]) -> None:
    for event in events:
        with replaying(event):
            bus.execute(event.name, event.measurements, event.metadata)


def test_a_live_run_is_told_like_its_tape() -> None:
    bus = Bus()
    events = RUN.events()
    with watch(bus) as watching:
        for began in range(0, len(events), 50):
            execute(bus, events[began : began + 50])
            watching.report()

        assert as_dict(watching.report()) == as_dict(diagnose(events).report)
        assert [finding.cause for finding in watching.findings()] == ["capacity-pause", "slow-service"]


def test_a_closed_watcher_hears_nothing() -> None:
    bus = Bus()
    watching = watch(bus)
    execute(bus, RUN.events()[:10])
    watching.close()
    watching.close()
    execute(bus, RUN.events()[10:20])

    assert watching.report().events == 10
    assert bus.list_handlers() == []


def test_a_watcher_that_nobody_asks_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "MOST", 10)
    bus = Bus()
    with watch(bus) as watching:
        execute(bus, RUN.events()[:25])

        assert watching.missed == 15
        assert watching.report().events == 10


def test_its_own_bookkeeping_is_no_part_of_a_run() -> None:
    bus = Bus()
    with watch(bus) as watching:
        bus.execute("tape.written", {}, {})
        bus.execute("delivery.sent", {}, {})

        assert watching.report().events == 0


def test_now_is_what_the_caller_says() -> None:
    events = [event for event in RUN.events() if event.monotonic_ns <= BEGAN + 300_000_000]
    bus = Bus()
    with watch(bus) as watching:
        execute(bus, events)

        later = watching.report(now_ns=events[0].time_ns + 5_000_000_000)

    assert later.wall_s == pytest.approx(5, abs=0.001)
    assert sum(part.seconds for part in later.parts) == pytest.approx(later.wall_s, abs=1e-9)


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
