"""`tinkertape.metrics.start`: reporters, and the poller whose events they count, in one call and closed together.

It stands above metrics and instrument, which do not know of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.instrument.poller import Poller
from tinkertape.metrics.defaults import default
from tinkertape.metrics.definitions import Metric

MEASUREMENTS = ("memory", "run_queue")  # what the default metrics of the process are made of


class Reporter(Protocol):
    """What a reporter can do."""

    def close(self) -> None: ...


class Reporting:
    """Reporters and a poller at work: `reporters`, `poller`, `close()`. Also a context manager."""

    def __init__(self, reporters: Sequence[Reporter], poller: Poller, stack: ExitStack) -> None:
        self.reporters, self.poller = list(reporters), poller
        self._stack = stack

    def close(self) -> None:
        """Stop the poller and close the reporters, the last one first. Closing twice is closing once."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _maker(given: Any) -> Any:
    if not callable(given):
        raise MetricError(f"a reporter is made of the metrics here: give its class or a function, not {given!r}")
    return given


def start(
    metrics: Iterable[Metric] | None = None,
    reporters: Iterable[Callable[[Sequence[Metric]], Reporter]] = (),
    period_s: float = 10.0,
    *,
    bus: Bus | None = None,
) -> Reporting:
    """Report these metrics (None: `default()`), and measure the process each `period_s` seconds, until `close()`.

    `reporters` are what makes each one of the metrics: a class, `PrometheusReporter`, or a function for one with
    options, `lambda metrics: StatsDReporter(metrics, prefix="mine")`. Those that were made stand in `reporters` of what
    comes back. `bus` is for the poller; give a reporter its own. Raises what a reporter raises, after closing those
    before it; `MetricError` for a reporter that is made already, `PollerError` for a period that is none.
    """
    wanted = tuple(default() if metrics is None else metrics)
    reporters = [_maker(each) for each in reporters]
    with ExitStack() as stack:
        made = []
        for make in reporters:
            made.append(make(wanted))
            stack.callback(made[-1].close)
        poller = Poller(MEASUREMENTS, period_s=period_s, bus=bus)
        poller.start()
        stack.callback(poller.stop)
        return Reporting(made, poller, stack.pop_all())
