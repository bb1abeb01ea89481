"""A reporter's far end: for each file of `tinkertape/metrics/reporters`, a file of the same name here.

Each has a class `End(metrics, bus)` that makes the reporter, lets it report to something real (an HTTP scrape, a
socket, an SDK's reader), and says by `read()` what arrived there:

    {(name, frozenset of (tag, value)): Arrived(count=…, sum=…, last=…)}

Only what the protocol carries is set. `name` is the definition's, dots and all; `close()` closes the reporter, which is
`reporter`. A reporter with several ways has a class for each, and lists them in `ENDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tinkertape.bus import Bus
from tinkertape.metrics import Metric

Key = tuple[str, frozenset[tuple[str, str]]]


class Arrived(NamedTuple):
    """What a far end knows of one series; None for what its protocol does not carry."""

    count: int | None = None
    sum: float | None = None
    last: float | None = None


class End(Protocol):
    """A reporter, and what it reports to."""

    def __init__(self, metrics: Sequence[Metric], bus: Bus) -> None: ...
    def read(self) -> dict[Key, Arrived]: ...
    def close(self) -> None: ...
