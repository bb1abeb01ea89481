"""What samples of a thread's frames saw: that it waited, where no claim says for what (facts/partition.md §4)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from tinkertape.context import Event

FOR_FUTURES = ("asyncio", "concurrent.futures.wait", "concurrent.futures.as_completed")
AGAIN_NS = 25_000_000  # a wait in the same function that begins so soon after one: it was polled, with a time-out


@dataclass(slots=True)
class Wait:
    """A thread waited, as samples of its frames saw, where no claim says for what."""

    began_ns: int
    ended_ns: int
    thread: int
    thread_name: str
    method: str  # the function it waited in
    began_unsure_ns: int = 0  # its begin lies within so much of `began_ns`
    ended_unsure_ns: int = 0
    goes_on: bool = False
    wait_id: Any = None
    followed: bool = False  # the thread waited there again at once

    @property
    def is_for_futures(self) -> bool:
        """Is it one that waits for results, of which any may let it go on?"""
        return self.method in FOR_FUTURES


@dataclass(slots=True)
class Waits:
    """One thread's sampled waits: in order, and apart. `told` are the begins of what each telling changed."""

    seen: list[Wait] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    def tell(self, wait: Wait) -> None:
        """Take a wait, or the later self of the one that went on."""
        last = self.seen[-1] if self.seen else None
        if last is not None and last.goes_on and last.wait_id == wait.wait_id:
            last.ended_ns, last.goes_on = max(last.ended_ns, wait.ended_ns), wait.goes_on
            last.ended_unsure_ns = wait.ended_unsure_ns
            self.told.append(last.began_ns)
            return
        if last is not None:
            wait.began_ns = max(wait.began_ns, last.ended_ns)
        if wait.ended_ns <= wait.began_ns:
            return
        self.told.append(wait.began_ns)
        if last is not None and (last.goes_on or self._is_again(last, wait)):
            last.followed = self._is_again(last, wait)
            last.goes_on = False  # whatever ended it was lost
            self.told.append(last.began_ns)
        self.seen.append(wait)

    def _is_again(self, last: Wait, wait: Wait) -> bool:
        return last.method == wait.method and wait.began_ns - last.ended_ns <= AGAIN_NS

    def between(self, began_ns: int, ended_ns: int) -> list[Wait]:
        """Those that reach into [began, ended)."""
        first = bisect_left(self.seen, began_ns, key=attrgetter("began_ns"))
        if first and (self.seen[first - 1].ended_ns > began_ns or self.seen[first - 1].goes_on):
            first -= 1
        return self.seen[first : bisect_left(self.seen, ended_ns, key=attrgetter("began_ns"))]


def sampled_wait(event: Event, at_ns: int) -> Wait:
    """The wait that `process.thread.wait` tells of, as stamped `at_ns`."""
    metadata = event.metadata
    lasted_ns, began_unsure_ns, ended_unsure_ns = (
        int(value) if isinstance(value := event.measurements.get(key), int | float) else 0
        for key in ("duration", "uncertainty_begin", "uncertainty_end")
    )
    return Wait(
        at_ns - lasted_ns,
        at_ns,
        metadata.get("thread") or 0,
        str(metadata.get("thread_name") or ""),
        str(metadata.get("method") or ""),
        began_unsure_ns,
        ended_unsure_ns,
        bool(metadata.get("goes_on")),
        metadata.get("wait_id"),
    )
