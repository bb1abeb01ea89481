"""Metrics as a table in a terminal, live; elsewhere the table is printed once, at the end.

It is for looking at what your metrics say while you write them: a column says, too, what each metric had to skip and
why. For single events, `tinkertape.log_events` shows them with all that they carry.

Threads  in a terminal, one of rich's draws the table each `period_s`; else none.
Exit     `close` draws it a last time; without it, rich leaves the terminal as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics.aggregate import Aggregate
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.limits import check_metrics, check_seconds
from tinkertape.metrics.values import Family, Histogram, Quantiles, Value

SHOWN_MAX = 20  # series of one metric: more than a screen has no reader
_UNITS = {"nanosecond": "ns", "microsecond": "µs", "millisecond": "ms", "second": "s"}
_UNITS |= {"byte": "B", "kilobyte": "kB", "megabyte": "MB", "unit": ""}


class ConsoleReporter:
    """Shows these metrics on a console, from now on.

    `console` is rich's, by default one on stderr. `period_s` is how often a terminal is drawn anew. `series_max` is the
    `Aggregate`'s; a metric with more than 20 series shows the first 20, and how many more there are.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        *,
        bus: Bus | None = None,
        console: Console | None = None,
        period_s: float = 1.0,
        series_max: int = 1_000,
    ) -> None:
        check_metrics(metrics)
        check_seconds("period_s", period_s)
        if not isinstance(console, Console | None):
            raise MetricError(f"console is {console!r}; want a Console of rich's, Console(file=…), or None")
        self._console = Console(stderr=True) if console is None else console
        self._aggregate = Aggregate(metrics, bus=bus, series_max=series_max)
        self._closed = False
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self.table, console=self._console, refresh_per_second=1 / period_s, transient=False
            )
            self._live.start()

    def table(self) -> Table:
        """The table as it is now."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("metric", "tags"):
            table.add_column(column, overflow="fold")
        table.add_column("value", justify="right")
        table.add_column("skipped", style="yellow")
        skipped = _by_metric(self._aggregate.skipped())
        for family in self._aggregate.collect():
            for cells in _rows(family, skipped.get(family.metric.name, "")):
                table.add_row(*(Text(cell) for cell in cells))
        return table

    def skipped(self) -> Mapping[tuple[str, str], int]:
        """How many events a metric could not use, by (metric name, reason)."""
        return self._aggregate.skipped()

    def close(self) -> None:
        """Listen no longer, and show the table a last time. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        self._aggregate.close()
        if self._live is not None:
            self._live.stop()
        else:
            self._console.print(self.table())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _by_metric(skipped: Counter[tuple[str, str]]) -> dict[str, str]:
    said: dict[str, list[str]] = {}
    for (name, reason), number in sorted(skipped.items()):
        said.setdefault(name, []).append(f"{number} {reason.replace('_', ' ')}")
    return {name: ", ".join(each) for name, each in said.items()}


def _rows(family: Family, skipped: str) -> Iterator[tuple[str, str, str, str]]:
    name = f"{family.metric.name} ({family.metric.kind.replace('_', ' ')})"
    unit = _UNITS.get(family.metric.unit, family.metric.unit)
    if not family.series:
        yield name, "", "–", skipped
    for place, series in enumerate(family.series[:SHOWN_MAX]):
        first = place == 0
        yield name if first else "", _tags(series.tags), _value(series.value, unit), skipped if first else ""
    more = len(family.series) - SHOWN_MAX
    if more > 0:
        yield "", f"and {more} more", "", ""


def _tags(tags: Tags) -> str:
    """On one line, whatever they hold."""
    return " ".join(f"{name}={value if value.isprintable() else ascii(value)}" for name, value in tags)


def _value(value: Value, unit: str) -> str:
    match value:
        case Histogram(count=count, sum=total, max=most):
            return f"{_number(count)} · mean {_number(total / count, unit)} · max {_number(most, unit)}"
        case Quantiles(count=count, max=most):
            middle, high = value.quantile(0.5), value.quantile(0.95)
            figures = f"p50 {_number(middle, unit)} · p95 {_number(high, unit)} · max {_number(most, unit)}"
            return f"{_number(count)} · {figures}"
        case _:
            return _number(value, unit)


def _number(value: int | float, unit: str = "") -> str:
    """An integer, or a great float, whole; another with six digits; thousands apart."""
    whole = isinstance(value, int) or 1e5 <= abs(value) < 1e15
    text = f"{round(value):,}" if whole else f"{value:,.6g}"
    return f"{text.replace(',', ' ')} {unit}".rstrip()
