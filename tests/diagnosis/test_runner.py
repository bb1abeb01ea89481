"""Which events a detector is shown."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from tests.diagnosis.builder import Script

from tinkertape.context import Event
from tinkertape.diagnosis import diagnose, runner
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.findings import Finding


def one_call() -> list[Event]:
    script = Script()
    script.start(0)
    script.call("optim_step", 10)
    script.tick(1000)
    script.stop(1100)
    return script.events()


def heard(monkeypatch: pytest.MonkeyPatch, *listens: str) -> list[str]:
    """The names that a detector with these `LISTENS` is shown of a run with one call."""
    names: list[str] = []

    def detect(event: Event) -> Iterator[Finding]:
        names.append(event.name)
        yield from ()

    module = ModuleType("made")
    module.LISTENS, module.detect = listens, detect  # type: ignore[attr-defined]
    monkeypatch.setattr(runner, "causes", lambda: {"made": module})
    book = Book()
    running = runner.Runner(book)
    for event in one_call():
        book.feed(event)
        running.feed(event)
    return names


def test_an_entry_stands_for_itself_and_for_every_event_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heard(monkeypatch, "clock.tick") == ["clock.tick"]
    assert heard(monkeypatch, "tinker.request") == ["tinker.request.start", "tinker.request.stop"]
    assert heard(monkeypatch, "tinker.req") == []
    assert heard(monkeypatch, "") == [event.name for event in one_call()]


def test_a_star_stands_for_any_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heard(monkeypatch, "tinker.training.*.stop") == ["tinker.training.optim_step.stop"]


def test_settled_stands_for_the_event_that_settled_an_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heard(monkeypatch, SETTLED) == ["clock.tick"]
    assert heard(monkeypatch, SETTLED, "clock.tick") == ["clock.tick"]


def test_a_detector_that_failed_is_not_said_to_have_seen_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(event: Event) -> Iterator[Finding]:
        raise TypeError(event.name)

    module = ModuleType("made")
    module.LISTENS, module.detect = ("clock.tick",), detect  # type: ignore[attr-defined]
    monkeypatch.setattr(runner, "causes", lambda: {"made": module})

    assert diagnose(one_call()).report.checked == []
