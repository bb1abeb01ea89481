"""cpu: the processor time that the process has used, and how often it gave a processor up.

Threads  whoever calls; one at a time.
"""

from __future__ import annotations

import time
from typing import Any

from tinkertape.events import PROCESS_CPU
from tinkertape.instrument.readings import readings


class Measurement:
    """`process.cpu`; `share` only from the second time on, since it is that of the time between two."""

    events = (PROCESS_CPU,)

    def __init__(self) -> None:
        self._used_ns = 0
        self._measured_ns: int | None = None

    def __call__(self) -> object:
        now_ns = time.perf_counter_ns()
        measured: dict[str, Any] = dict(readings().cpu())
        used_ns = measured["user"] + measured["system"]
        if self._measured_ns is not None and now_ns > self._measured_ns:
            measured["share"] = round((used_ns - self._used_ns) / (now_ns - self._measured_ns), 4)
        self._used_ns, self._measured_ns = used_ns, now_ns
        return PROCESS_CPU, measured
