"""The handler of one event for all its metrics, written out as code for exactly these metrics.

Like the bus's own dispatch (facts/performance.md §1): what differs between metrics is decided when the code is made,
not when the event comes. Each metric is guarded apart, so that what goes wrong in one never silences another; the order
of checks is that of `extraction.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from tinkertape.bus import HandlerFunction
from tinkertape.metrics.cells import LOOK_TWICE, update_lines, update_names
from tinkertape.metrics.definitions import Metric, arity
from tinkertape.metrics.extraction import tags_reader, usable_number

Cells = dict[Any, Any]  # to a cell, by the values of the tags as they come, a level each: see `shards.py`


class Keeper(Protocol):
    """Where the handler of an event keeps what it takes up. Every method speaks of the calling thread's own part."""

    local: Any  # a `threading.local`: its attribute `cells_of_<place>` is what `begin` returned

    def begin(self, place: int, numbers: Sequence[int]) -> tuple[Cells, ...]:
        """The cells of these metrics, for a thread that has none yet."""
        ...

    def find_cell(self, number: int, source: Any) -> object:
        """The cell that was not found among the metric's: a new one, a known one, the overflow's.

        `source` has the values of the tags, or is the tags where a function makes them. Raises `Unusable`.
        """
        ...

    def skip(self, number: int, error: Exception) -> None:
        """Count an event that the metric could not use."""
        ...


class Update(NamedTuple):
    """The code that takes `value`, of type `kind`, into `cell`, by the metric and its number; and what that names."""

    lines: Callable[[Metric, int], Sequence[str]] = update_lines
    names: Callable[[Metric, int], dict[str, Any]] = update_names


AGGREGATED = Update()


def make_handler(
    place: int, numbers: Sequence[int], metrics: Sequence[Metric], keeper: Keeper, update: Update = AGGREGATED
) -> HandlerFunction:
    """The handler of one event, the keeper's number `place`, for those of its metrics that have these numbers."""
    names: dict[str, Any] = {"local": keeper.local, "begin": lambda: keeper.begin(place, numbers)}
    cells = "".join(f"cells_{number}, " for number in numbers)
    lines = [
        "def handle(event, measurements, metadata, config):",
        " try:",
        f"  {cells}= local.cells_of_{place}",
        " except AttributeError:",
        f"  {cells}= begin()",
    ]
    for number in numbers:
        metric = metrics[number]
        names |= _names(number, metric, keeper) | update.names(metric, number)
        change = update.lines(metric, number)
        lines += [" try:", *(f"  {line}" for line in _lines(number, metric, change)), " except Exception as error:"]
        lines += [f"  skip_{number}(error)"]
    exec(compile("\n".join(lines), "<tinkertape metrics>", "exec"), names)
    handle: HandlerFunction = names["handle"]
    return handle


def _names(number: int, metric: Metric, keeper: Keeper) -> dict[str, Any]:
    return {
        "usable": usable_number,
        f"metric_{number}": metric,
        f"keep_{number}": metric.keep,
        f"measure_{number}": metric.measurement,
        f"tag_values_{number}": metric.tag_values,
        f"tags_{number}": tags_reader(metric),
        f"skip_{number}": lambda error: keeper.skip(number, error),
        f"find_{number}": lambda source: keeper.find_cell(number, source),
    }


def _lines(number: int, metric: Metric, change: Sequence[str]) -> Iterator[str]:
    """The code for one metric: is it kept, its value, its cell, the change."""
    indent = ""
    if metric.keep is not None:
        arguments = "metadata, measurements" if arity(metric.keep) == 2 else "metadata"
        yield f"if keep_{number}({arguments}):"
        indent = " "
    for line in (*_value_lines(number, metric), *_cell_lines(number, metric), *change):
        yield indent + line


def _value_lines(number: int, metric: Metric) -> Iterator[str]:
    if metric.kind == "counter":
        return
    if isinstance(metric.measurement, str):
        yield from ("try:", f" value = measurements[{metric.measurement!r}]", "except KeyError:", " value = None")
    else:
        arguments = "measurements, metadata" if arity(metric.measurement) == 2 else "measurements"
        yield f"value = measure_{number}({arguments})"
    yield "kind = type(value)"
    yield "if kind is not int and (kind is not float or value - value != 0.0):"  # NaN and infinities are not 0.0
    yield f" value = usable(value, metric_{number})"
    yield " kind = type(value)"


def _cell_lines(number: int, metric: Metric) -> Iterator[str]:
    source, levels = "metadata", "[None]"
    if callable(metric.tags):
        yield f"tags = tags_{number}(metadata)"
        source, levels = "tags", "[tags]"
    elif metric.tag_values is not None:
        yield f"values = tag_values_{number}(metadata)"
        source = "values"
    if metric.tags and not callable(metric.tags):
        levels = "".join(f"[{source}[{tag!r}]]" for tag in metric.tags)
    yield from ("try:", f" cell = cells_{number}{levels}", "except (KeyError, TypeError):")  # it cannot be hashed
    if metric.kind != "counter":  # a value that will be refused takes no series' place
        yield from (f" {line}" for line in LOOK_TWICE.format(number=number).splitlines() if line)
    yield f" cell = find_{number}({source})"
