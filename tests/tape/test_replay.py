"""A tape is executed again, and every handler sees what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.tape.test_reader import HEAD, line

from tinkertape.bus import Bus
from tinkertape.context import Event, current_severity
from tinkertape.errors import TapeNotFound
from tinkertape.tape import Recorder, Replayed, open_tape, replay


def test_a_handler_sees_the_events_that_were_recorded(folder: Path) -> None:
    recorder, bus, again = Recorder(folder, "run-1"), Bus(), Bus()
    recorder.attach(bus)
    bus.execute("a.stop", {"duration": 5, "loss": float("inf")}, {"operation": "x"})
    recorder.log("my.log", {"x": [1]}, "WARNING")
    recorder.close()
    seen: list[Event] = []

    def hear(name: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], config: object) -> None:
        seen.append(Event.of(name, measurements, metadata))

    again.attach_all("seen", hear)
    other = Recorder(folder.parent / "run-2", "run-2")
    other.attach(again)

    assert replay(folder, again) == Replayed(executed=2, torn=0, set_aside=0)
    assert seen == list(open_tape(folder))
    assert [(event.name, event.severity) for event in seen] == [("a.stop", "INFO"), ("my.log", "WARNING")]
    assert other.ledger().recorded == 0


def test_a_torn_last_line_and_a_bad_one_are_counted_and_the_rest_replays(tmp_path: Path) -> None:
    path = tmp_path / "p-00001.jsonl"
    path.write_bytes(HEAD + line(0) + b"garbage\n" + line(1) + b'{"event":"GENERIC_EVENT","event_name":"tinker.ret')

    assert replay(path, Bus()) == Replayed(executed=2, torn=1, set_aside=1)


def test_at_a_speed_the_replay_waits_as_long_as_it_took(tmp_path: Path) -> None:
    path = tmp_path / "p-00001.jsonl"
    path.write_bytes(HEAD + line(0, time_ns=0) + line(1, time_ns=4_000_000_000) + line(2, time_ns=3_000_000_000))
    waited: list[float] = []

    replay(path, Bus(), speed=2.0, sleep=waited.append)

    assert 1.5 < waited[0] <= 2.0
    assert len(waited) == 2


def test_a_tape_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TapeNotFound):
        replay(tmp_path / "missing", Bus())


def test_a_handler_of_a_replay_sees_the_severity_that_was_given_to_log(folder: Path) -> None:
    recorder = Recorder(folder, "run-1")
    recorder.log("my.event", {}, "WARNING")
    recorder.close()
    bus = Bus()
    seen: list[str | None] = []
    bus.attach("seen", "my.event", lambda *_: seen.append(current_severity()))

    replay(folder, bus)

    assert seen == ["WARNING"]


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_speed_that_cannot_be_meant_is_refused(tmp_path: Path, speed: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        replay(tmp_path, Bus(), speed=speed)
