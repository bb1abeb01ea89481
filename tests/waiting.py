"""Waiting for a condition instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.01, otherwise: Callable[[], object] = str
) -> T:
    """Ask until the condition holds and return what it said; fail after `within_s` with what `otherwise` shows."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {within_s:g} s: {getattr(condition, '__name__', condition)} {otherwise()}"
            )
        time.sleep(every_s)
    return found
