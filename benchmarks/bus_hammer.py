"""Attaches, detaches and executes on the default bus from many threads at once, and counts what was lost.

A test runs it for a moment, `./tt bench bus --soak SECONDS` for as long as one likes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from tinkertape.bus import attach, attach_all, attach_many, detach, execute
from tinkertape.events import EventType
from tinkertape.spans import span

THREADS = 8
DECLARED = EventType("hammer.declared", measurements={"slot": "number of the thread"})


class Counts(NamedTuple):
    """Calls that should have been, calls that were, and single observations that were wrong."""

    expected: dict[str, int]
    heard: dict[str, int]
    wrong: list[str]
    changes: int


class _Thread:
    """What one thread does and sees. Only it writes here, so that every count is exact."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.expected: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.changes = 0
        self.own = 0

    def hear_own(self, *_: Any) -> None:
        self.own += 1

    def turn(self) -> None:
        """Once: events that are always heard, and one of its own that is heard exactly while it is attached to."""
        slot = {"slot": self.slot}
        execute("hammer.shared", slot)
        execute(("hammer", "shared"), slot)
        if DECLARED.handlers:
            DECLARED.execute(slot)
        with span("hammer.span") as mine:
            mine.add(slot)
        self.expected.update({"hammer.shared": 2, "hammer.declared": 1, "hammer.span.stop": 1})
        name = f"hammer.own_{self.slot}"
        for attached in (True, False):
            if attached:
                attach(name, name, self.hear_own)
            else:
                detach(name)
            self.changes += 1
            before = self.own
            execute(name, {})
            if self.own - before != attached:
                self.wrong.append(f"{name}: {self.own - before} calls, attached: {attached}")

    def run(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            self.turn()


def hammer(seconds: float, threads: int = THREADS) -> Counts:
    """Do it for so long; one more thread attaches to everything, and lets go, all the while."""
    slots = [_Thread(slot) for slot in range(threads)]

    def count(event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], config: Any) -> None:
        slots[measurements["slot"]].heard[event] += 1

    attach_many("hammer", ["hammer.shared", "hammer.declared", "hammer.span.stop"], count)
    until_s = time.monotonic() + seconds
    running = [threading.Thread(target=slot.run, args=(until_s,)) for slot in slots]
    churning = threading.Thread(target=_churn, args=(until_s,))
    for thread in [*running, churning]:
        thread.start()
    for thread in [*running, churning]:
        thread.join()
    detach("hammer")
    return Counts(
        dict(sum((slot.expected for slot in slots), Counter())),
        dict(sum((slot.heard for slot in slots), Counter())),
        [wrong for slot in slots for wrong in slot.wrong],
        sum(slot.changes for slot in slots),
    )


def _churn(until_s: float) -> None:
    while time.monotonic() < until_s:
        attach_all("hammer.churn", lambda *_: None, prefix="hammer")
        detach("hammer.churn")
