"""What StatsD's lines lost on their way, by its reason; the first of a kind is logged.

    buffer_full  more values than `buffer_max` waited       too_long  a line, or a packet, beyond the MTU
    negative     a timing below 0, in the standard dialect  exit      what was left when time was up at the end
    send_error   the system refused it for good

Threads  any; none waits for another (`tally.py`).
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Literal

from tinkertape.metrics.tally import Tally

Reason = Literal["buffer_full", "too_long", "negative", "send_error", "exit"]

_log = logging.getLogger("tinkertape")


class Losses:
    """Counts lost values."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Nothing was lost yet: another process."""
        self._lost: Tally[str] = Tally()
        self._said: set[str] = set()

    def count(self, reason: Reason, values: int, what: str) -> None:
        """So many values more; `what` happened, and what to do."""
        self._lost.add(reason, values)
        self.say_once(reason, f"{what} (counted, said once)")

    def say_once(self, about: str, what: str) -> None:
        """Log the first of its kind."""
        if about not in self._said:
            self._said.add(about)
            _log.warning("tinkertape: StatsD: %s", what)

    def by_reason(self) -> Counter[str]:
        """How many values were lost, so far."""
        return self._lost.total()
