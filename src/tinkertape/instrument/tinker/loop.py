"""Busy runs of event loops: the SDK's, and yours from the moment you first await one of its futures there.

A loop asks its selector when it has nothing else to do: between two questions it runs callbacks. `selector.select` is
wrapped as an instance attribute; uvloop has no selector and is not seen (facts/partition.md §1, §4).
Threads  each loop's own.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from typing import Any, Literal

from tinkertape.events import LOOP_BUSY
from tinkertape.guard import guard
from tinkertape.instrument.tinker.flight import was_in_flight

BUSY_MIN_NS = 5_000_000

_watched: weakref.WeakSet[Any] = weakref.WeakSet()  # selectors
sdk_threads: set[int] = set()  # idents: those that run the SDK's own loops


@guard("instrument.tinker.loop")
def watch_running(owner: Literal["sdk", "user"]) -> None:
    """Watch the loop that runs in this thread, from now on; once a loop, its first owner stays."""
    if owner == "sdk":
        sdk_threads.add(threading.get_ident())
    running = asyncio._get_running_loop()
    selector = getattr(running, "_selector", None)
    if selector is None or selector in _watched or "select" in vars(selector):
        return
    selector.select = _watched_select(selector, id(running), owner)
    _watched.add(selector)


def unwatch() -> None:
    """Give every selector its own `select` back."""
    for selector in list(_watched):
        vars(selector).pop("select", None)
    _watched.clear()


def _watched_select(selector: Any, loop_id: int, owner: str) -> Any:
    original = selector.select
    woke_ns = time.perf_counter_ns()

    def select(timeout: float | None = None) -> Any:
        nonlocal woke_ns
        now = time.perf_counter_ns()
        if now - woke_ns >= BUSY_MIN_NS and was_in_flight(woke_ns):
            _tell(now, now - woke_ns, loop_id, owner)
        ready = original(timeout)
        woke_ns = time.perf_counter_ns()
        return ready

    return select


@guard("instrument.tinker.loop")
def _tell(now_ns: int, duration_ns: int, loop_id: int, owner: str) -> None:
    if LOOP_BUSY.handlers:
        LOOP_BUSY.execute({"duration": duration_ns, "monotonic_time": now_ns}, {"loop": loop_id, "owner": owner})
