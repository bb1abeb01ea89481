"""The console's: the table that was printed, read back cell by cell."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from rich.console import Console
from tests.metrics.reporters.ends import Arrived, Key

from tinkertape.bus import Bus
from tinkertape.metrics import Metric
from tinkertape.metrics.reporters.console import ConsoleReporter

TAG = re.compile(r"(?:^| )(\w[\w.]*)=")


class End:
    def __init__(self, metrics: Sequence[Metric], bus: Bus) -> None:
        self._console = Console(file=io.StringIO(), width=20_000, force_terminal=False)
        self.reporter = ConsoleReporter(metrics, bus=bus, console=self._console)

    def read(self) -> dict[Key, Arrived]:
        found: dict[Key, Arrived] = {}
        name = ""
        columns = [column.cells for column in self.reporter.table().columns]
        for row in zip(*columns, strict=True):
            first, tags, value, _ = (str(cell) for cell in row)
            name = first.partition(" (")[0] or name
            if value != "–":
                found[name, _tags(tags)] = _arrived(value)
        return found

    def close(self) -> None:
        self.reporter.close()


def _tags(text: str) -> frozenset[tuple[str, str]]:
    parts = TAG.split(text)
    return frozenset(zip(parts[1::2], parts[2::2], strict=True))


def _arrived(value: str) -> Arrived:
    number = float(re.match(r"-?[\d .]*\d", value.replace(" ", ""))[0])  # type: ignore[index]
    if "·" in value:
        return Arrived(count=int(number))
    return Arrived(count=int(number), sum=number, last=number)
