"""memory: how much memory the process has.

`rss` is what is in memory, `peak` the most there ever was, both with what is shared. `uss`, what would be free if the
process ended, is read where the kernel has it ready (Linux, smaps_rollup) or psutil does; the kernel walks all pages
for it, so it is left out until as much time has passed as keeps its cost at a ten-thousandth.

Threads  whoever calls.
"""

from __future__ import annotations

import time
from typing import Any

from tinkertape.events import PROCESS_MEMORY
from tinkertape.instrument.readings import readings

USS_SHARE = 10_000  # at most one part in so many of the time is spent on reading `uss`


class Measurement:
    """`process.memory`."""

    events = (PROCESS_MEMORY,)

    def __init__(self) -> None:
        self._uss_at_ns = 0  # read again from then on

    def __call__(self) -> object:
        measured: dict[str, Any] = dict(readings().memory())
        began_ns = time.perf_counter_ns()
        if measured and began_ns >= self._uss_at_ns:
            uss = readings().uss()
            ended_ns = time.perf_counter_ns()
            self._uss_at_ns = ended_ns + (ended_ns - began_ns) * USS_SHARE
            if uss is not None:
                measured["uss"] = uss
        return (PROCESS_MEMORY, measured) if measured else None
