"""A signal's handler that executes events and flushes ends, whatever it interrupted; nothing is lost or doubled."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest
from tests.metrics.interrupted import handled, interrupt, places, some_of
from tests.metrics.reporters.receiver import Receiver, samples_of

from tinkertape.bus import Bus
from tinkertape.metrics import StatsDReporter, counter, sum_, summary

SILENT = 3_600.0  # seconds: only `flush` sends, and a buffer that fills
FOREVER = 1_000.0  # seconds: a flush that stands still ends with the test, which fails
METRICS = [counter("a.b.count", tags=["x"]), summary("a.b.size", tags=["x"]), sum_("a.b.total", measurement="size")]


class Program:
    """A bus, a reporter and a daemon, and how many events there were."""

    def __init__(self, receiver: Receiver, *, is_begun: bool) -> None:
        self.bus, self.receiver, self.executed = Bus(), receiver, 0
        self.reporter = StatsDReporter(
            METRICS, bus=self.bus, port=receiver.port, period_s=SILENT, series_max=3, idle_s=1e-9
        )
        if is_begun:
            self.execute("known")
            assert self.reporter.flush(FOREVER)

    def execute(self, x: object) -> None:
        self.bus.execute("a.b", {"size": 1}, {"x": x})
        self.executed += 1

    def handle(self) -> None:
        for x in ("known", "new", "the handler's"):
            self.execute(x)
        self.reporter.flush(FOREVER)
        self.reporter.ledger()

    def received(self) -> dict[str, float]:
        assert self.reporter.flush(FOREVER)
        found = samples_of(self.receiver.read(), "standard")
        return {kind: sum(sample.values[0] for sample in found if sample.type == kind) for kind in ("c", "ms", "g")}


def first_events(program: Program) -> None:
    program.execute("new")
    program.execute("new")


def further_series(program: Program) -> None:
    for x in ("new", True, "another", "no room", "none again", "known"):
        program.execute(x)


def of_no_use(program: Program) -> None:
    program.bus.execute("a.b", {"size": "large"}, {})


def asked(program: Program) -> None:
    program.reporter.skipped()
    program.reporter.overflowed()
    program.reporter.ledger()


def flushed(program: Program) -> None:
    program.execute("new")
    program.reporter.flush(FOREVER)


ACTS = [first_events, further_series, of_no_use, asked, flushed]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_signals_handler_may_execute_events_and_flush_wherever_it_comes(act: Callable[[Program], None]) -> None:
    with Receiver() as receiver:
        is_begun = act is not first_events
        program = Program(receiver, is_begun=is_begun)
        number = places(lambda: act(program))
        program.reporter.close()
        receiver.read()
        for place in some_of(number):
            program = Program(receiver, is_begun=is_begun)
            with handled(program.handle), program.reporter:
                interrupt(lambda program=program: act(program), place)

                assert program.received() == {kind: program.executed for kind in ("c", "ms", "g")}, place


def test_signals_from_outside_that_flush_lose_and_double_nothing() -> None:
    times, handled_ones = 20, threading.Semaphore(0)
    main = threading.get_ident()
    with Receiver() as receiver:
        program = Program(receiver, is_begun=False)

        def handle() -> None:
            program.handle()
            handled_ones.release()

        def send() -> None:
            for _ in range(times):
                signal.pthread_kill(main, signal.SIGUSR1)
                handled_ones.acquire()

        with handled(handle), program.reporter:
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            while sender.is_alive():
                program.execute(program.executed % 7)
            sender.join()

            assert program.received() == {kind: program.executed for kind in ("c", "ms", "g")}
