"""What our own sources tell, to be described later, is recorded as anything else."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from typing import Any

import pytest

from tinkertape.bus import default_bus
from tinkertape.context import Event, replaying
from tinkertape.events import EventType
from tinkertape.scopes import scope
from tinkertape.spans import span
from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.snapshot import AsTold

TOLD = EventType("test.recorder.told", metadata={"n": "a number"})


@pytest.fixture
def recording(recorder: Recorder) -> Iterator[Recorder]:
    """Attached to the default bus, where declared events are."""
    recorder.attach(default_bus)
    yield recorder
    default_bus.detach("tinkertape.recorder")


def as_it_is(subject: Any) -> Any:
    """A description: the measurements and metadata themselves."""
    return subject


def events_of(recorder: Recorder) -> list[Event]:
    assert recorder.flush(10)
    return [event for event in open_tape(recorder.path) if event.name == TOLD.name]


def test_what_is_told_has_the_line_that_it_would_have_otherwise(recording: Recorder) -> None:
    for number in range(4):  # from the third on its form is known
        TOLD.execute({"duration": number}, {"n": number, "key": "sk-1234567890abcdef1234567890abcdef"})
        TOLD.tell(as_it_is, ({"duration": number}, {"n": number, "key": "sk-1234567890abcdef1234567890abcdef"}))
        with scope(step=number), span("test.outer"):
            TOLD.execute({"duration": number}, {"n": None})
            TOLD.tell(as_it_is, ({"duration": number}, {"n": None}))
    TOLD.tell(as_it_is, ({"duration": math.nan}, {"n": b"\xff", "at": datetime.date(2026, 11, 29)}))

    *lines, odd = events_of(recording)
    for executed, told in zip(lines[::2], lines[1::2], strict=True):
        assert said(executed) == said(told)
    assert len(lines) == 16 and odd.metadata["at"] == "2026-11-29"
    assert math.isnan(odd.measurements["duration"])


def changes(event: str, measurements: Any, metadata: Any, config: Any) -> None:
    """A handler that does what it should not."""
    metadata.clear()


def said(event: Event) -> tuple[Any, ...]:
    """All but who and when."""
    return event.measurements, event.metadata, dict(event.scope), event.trace_id, event.span_id, event.severity


def test_what_is_told_is_recorded_as_it_was_where_somebody_may_change_it(recording: Recorder) -> None:
    steps = [1]
    with scope(steps=steps):
        TOLD.tell(as_it_is, ({}, {"n": 1}))
        steps.append(2)
    with scope(steps=1):
        TOLD.tell(as_it_is, ({}, {"n": 2}))
    default_bus.attach("changes", TOLD.name, changes)
    TOLD.tell(as_it_is, ({}, {"n": 3}))
    default_bus.detach("changes")

    first, second, third = events_of(recording)
    assert (first.metadata, first.scope) == ({"n": 1}, {"steps": [1]})
    assert (second.metadata, second.scope, third.metadata) == ({"n": 2}, {"steps": 1}, {"n": 3})


def test_few_events_wait_unencoded(recording: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording._told, "room", 3)
    with recording.writer._file_lock:
        for number in range(10):
            TOLD.tell(as_it_is, ({}, {"n": number}))
        assert [type(taken) for taken in recording.queue] == [AsTold] * 3 + [bytes] * 7

    assert [line.metadata["n"] for line in events_of(recording)] == list(range(10))


def test_a_replay_and_a_closed_recorder_take_nothing_over(recording: Recorder) -> None:
    TOLD.tell(as_it_is, ({}, {"n": 1}))
    with replaying(Event(name="a", measurements={}, metadata={}, time_ns=0, monotonic_ns=0)):
        TOLD.tell(as_it_is, ({}, {"n": 2}))
    recording.close()
    TOLD.tell(as_it_is, ({}, {"n": 3}))

    assert [event.metadata for event in open_tape(recording.path) if event.name == TOLD.name] == [{"n": 1}]
