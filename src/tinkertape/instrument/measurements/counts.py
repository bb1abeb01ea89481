"""counts: what the process has open, and may have: threads, file descriptors.

Threads  whoever calls.
"""

from __future__ import annotations

import threading
from typing import Any

from tinkertape.events import PROCESS_COUNTS
from tinkertape.instrument.readings import readings


class Measurement:
    """`process.counts`."""

    events = (PROCESS_COUNTS,)

    def __call__(self) -> object:
        measured: dict[str, Any] = {"python_threads": threading.active_count(), **readings().counts()}
        return PROCESS_COUNTS, measured
