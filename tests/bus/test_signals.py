"""A signal's handler may attach and detach wherever it comes: what is executed afterwards is heard by who is there."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from tests.metrics.interrupted import handled, interrupt, places

from tinkertape.bus import Bus
from tinkertape.context import SpanIds
from tinkertape.failures import FailureLog


class Listening:
    """Knows who hears an event, as an event type does."""

    def __init__(self, bus: Bus) -> None:
        self.name = "a.b"
        self.handlers: object = ()
        bus.keep_current(self)

    def inform(self, handlers: object, dispatch: object) -> None:
        self.handlers = handlers


class Program:
    """A bus, and who heard its last event."""

    def __init__(self, *, is_listening: bool) -> None:
        self.bus, self.heard, self.was_interrupted = Bus(), list[str](), False
        self.bus.attach("old", "a.b", lambda *_: self.heard.append("old"))
        self.bus.attach("bystander", "a.b", lambda *_: None)
        self.listening = [Listening(self.bus)] if is_listening else []

    def handle(self) -> None:
        self.was_interrupted = True
        self.listening.append(Listening(self.bus))
        self.bus.detach("old")
        self.bus.attach("new", "a.b", lambda *_: self.heard.append("new"))


ACTS: dict[str, Callable[[Program], object]] = {
    "execute": lambda program: program.bus.execute("a.b", {}),
    "attach": lambda program: program.bus.attach("another", "a.b", lambda *_: None),
    "detach": lambda program: program.bus.detach("bystander"),
    "listen": lambda program: Listening(program.bus),
}


@pytest.mark.parametrize("name", ACTS)
def test_who_a_signals_handler_detached_hears_no_more_and_who_it_attached_does(name: str) -> None:
    act, is_listening = ACTS[name], name != "execute"  # where nobody listens, who hears it is found at the first event
    first = Program(is_listening=is_listening)
    for place in range(places(lambda: act(first))):
        program = Program(is_listening=is_listening)
        with handled(program.handle):
            interrupt(lambda program=program: act(program), place)  # type: ignore[misc]
        program.heard.clear()
        program.bus.execute("a.b", {})

        assert program.heard == (["new"] if program.was_interrupted else ["old"]), place
        for listening in program.listening:
            assert listening.handlers == program.bus.handlers_of("a.b"), place


@pytest.mark.parametrize("name", ["span_id", "trace_id"])
def test_a_signals_handler_finds_the_ids_of_the_span_that_is_making_them(name: str) -> None:
    for place in range(places(lambda: getattr(SpanIds(), name))):
        span, found = SpanIds(), list[str]()
        with handled(lambda span=span, found=found: found.append(getattr(span, name))):  # type: ignore[misc]
            interrupt(lambda span=span: getattr(span, name), place)  # type: ignore[misc]

        assert set(found) <= {getattr(span, name)}, place


def test_a_signals_handler_may_fail_where_another_failure_is_being_counted(caplog: pytest.LogCaptureFixture) -> None:
    def fail(log: FailureLog, event: str) -> None:
        log.failed(event, event, "was kept", ValueError(event))

    caplog.set_level(logging.CRITICAL, "tinkertape")  # writing is the business of `logging`
    for place in range(places(lambda: fail(FailureLog(), "a.b"))):
        log = FailureLog()
        with handled(lambda log=log: fail(log, "c.d")):  # type: ignore[misc]
            interrupt(lambda log=log: fail(log, "a.b"), place)  # type: ignore[misc]
        caplog.set_level(logging.ERROR, "tinkertape")

        fail(log, "a.b")
        assert not caplog.messages, place
        caplog.set_level(logging.CRITICAL, "tinkertape")
