"""A signal in the middle of a piece of code: at each place where Python runs a signal's handler, or at some of them.

Python looks for signals where a function begins, and after each call of one that is written in C: just where
`sys.setprofile` says `call` and `c_return`. The signal is raised there, so that its handler runs in that very place.
Of all of them 20 are tried, and every one where the environment has TINKERTAPE_TEST_EVERY_SIGNAL.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = 10**9 if os.environ.get("TINKERTAPE_TEST_EVERY_SIGNAL") else 20


@contextmanager
def handled(handle: Callable[[], object]) -> Iterator[None]:
    """SIGUSR1 calls `handle`. Not SIGALRM, which ends a test that hangs."""
    before = signal.signal(signal.SIGUSR1, lambda *_: handle())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def places(act: Callable[[], object]) -> int:
    """At how many places a signal's handler can run while `act` does."""
    return _run(act, -1)


def interrupt(act: Callable[[], object], place: int) -> None:
    """Run `act`, with a signal at one of these places."""
    _run(act, place)


def some_of(number: int) -> list[int]:
    """Places all over, SIGNALS at the most; of different runs of the tests, the same."""
    return sorted({place * number // min(number, SIGNALS) for place in range(min(number, SIGNALS))})


def _run(act: Callable[[], object], place: int) -> int:
    passed = 0

    def look(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal passed
        if event in ("call", "c_return"):
            if passed == place:
                signal.raise_signal(signal.SIGUSR1)
            passed += 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        act()
    finally:
        sys.setprofile(before)
    return passed
