"""Waiting for a condition instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

REST = 4  # times as long as the question took: a collector that is asked for its ledger all the time does nothing else


def wait_until(
    condition: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.01, otherwise: Callable[[], object] = str
) -> T:
    """Ask until the condition holds and return what it said; fail after `within_s` with what `otherwise` shows."""
    deadline_s = time.monotonic() + within_s
    while True:
        asked_s = time.monotonic()
        if found := condition():
            return found
        now_s = time.monotonic()
        if now_s > deadline_s:
            raise AssertionError(
                f"not within {within_s:g} s: {getattr(condition, '__name__', condition)} {otherwise()}"
            )
        time.sleep(max(every_s, REST * (now_s - asked_s)))
