"""Busy runs of event loops: the SDK's, and yours from the moment you first await one of its futures there, or from when
the process source finds it.

A loop asks its selector when it has nothing else to do: between two questions it runs callbacks. `selector.select` is
wrapped as an instance attribute; uvloop has no selector and is not seen (facts/partition.md §1, §4).

Threads  each loop's own; `watch` and `watched` are for any.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from tinkertape.events import LOOP_BUSY
from tinkertape.guard import guard
from tinkertape.instrument.tinker.flight import was_in_flight

BUSY_MIN_NS = 5_000_000
HELD_MIN_NS = 50_000_000  # a busy run so long is a stall
ASLEEP_NS = 1 << 62  # it asks its selector, or is not known to run: no run since then is long
HELD_MAX = 64  # of them wait to be told
Owner = Literal["sdk", "user"]

sdk_threads: set[int] = set()  # idents: those that run the SDK's own loops


def _nothing() -> None:
    """No loop."""


newest_sdk_loop: Callable[[], Any] = _nothing  # known, and its thread


class Watched:
    """A loop whose busy runs are seen."""

    __slots__ = (
        "_loop",
        "_ours",
        "_selector",
        "held",
        "is_given_back",
        "loop_id",
        "owner",
        "seen_ns",
        "stack",
        "stopped",
        "thread",
        "woke_ns",
    )

    def __init__(self, loop: Any, selector: Any, thread: int, owner: Owner) -> None:
        self._loop = weakref.ref(loop)
        key = id(selector)
        self._selector = weakref.ref(selector, lambda _: _forget(key))
        self._ours: Callable[[], Any] = _nothing
        self.is_given_back = False
        self.loop_id = id(loop)
        self.thread = thread  # its ident
        self.owner: Owner = owner
        here = thread == threading.get_ident()  # elsewhere it is unknown what it does
        self.woke_ns = time.perf_counter_ns() if here else ASLEEP_NS
        self.stopped = False  # it ran no more for a while: nobody held it
        self.held: deque[tuple[int, int]] = deque(maxlen=HELD_MAX)  # begin and end of long busy runs
        self.seen_ns = 0  # begin of the busy run that `stack` was taken in
        self.stack: list[str] = []

    def busy_since(self) -> int | None:
        """Since when has it run callbacks? None: it sleeps, or does not run."""
        loop = self._loop()
        if loop is None or not loop.is_running():
            self.stopped = True
            return None
        woke_ns = self.woke_ns
        return None if woke_ns == ASLEEP_NS else woke_ns

    def metadata(self) -> dict[str, Any]:
        return {"loop": self.loop_id, "owner": self.owner}

    def put_on(self, selector: Any) -> None:
        """Put ours in the place of its `select`."""
        ours = _watched_select(selector, self)
        self._ours = weakref.ref(ours)
        selector.select = ours

    @guard("instrument.tinker.loop.give_back")
    def give_back(self) -> None:
        """Give its selector its own `select` back. Where the program wrapped ours, it stays below and passes on."""
        self.is_given_back = True
        selector = self._selector()
        if selector is not None and vars(selector).get("select", self) is self._ours():
            del selector.select


watched: dict[int, Watched] = {}  # by id of the selector


def any_busy(now_ns: int, since_ns: int) -> bool:
    """Has any loop run callbacks for so long, or had before? A glance: one that has ended looks busy, too."""
    return any(state.held or now_ns - state.woke_ns >= since_ns for state in tuple(watched.values()))


def _forget(selector_id: int) -> None:
    watched.pop(selector_id, None)


@guard("instrument.tinker.loop")
def watch_running(owner: Owner) -> None:
    """Watch the loop that runs in this thread, from now on."""
    global newest_sdk_loop
    running = asyncio._get_running_loop()
    if owner == "sdk":
        sdk_threads.add(threading.get_ident())
        newest_sdk_loop = _nothing if running is None else weakref.ref(running)
    if running is not None:
        watch(running, threading.get_ident(), owner)


def watch(loop: Any, thread: int, owner: Owner) -> None:
    """Watch a loop that runs in a thread, from now on; once a loop, its first owner stays, but for the SDK's."""
    selector = getattr(loop, "_selector", None)
    known = watched.get(id(selector))
    if known is not None:
        known.owner = "sdk" if owner == "sdk" else known.owner
        return
    if selector is None or getattr(selector.select, "__func__", None) is not getattr(type(selector), "select", None):
        return  # somebody else's stands there
    found = watched[id(selector)] = Watched(loop, selector, thread, owner)
    found.put_on(selector)


def unwatch() -> None:
    """Give every selector its own `select` back."""
    for found in list(watched.values()):
        found.give_back()
    watched.clear()
    forget_sdk_threads()


def forget_sdk_threads() -> None:
    """One that lives says so with its next exchange."""
    global newest_sdk_loop
    sdk_threads.clear()
    newest_sdk_loop = _nothing


def _watched_select(selector: Any, state: Watched) -> Any:
    original, now_ns = selector.select, time.perf_counter_ns

    def select(timeout: float | None = None) -> Any:  # some ten times a request
        asked_ns = now_ns()
        if asked_ns - state.woke_ns >= BUSY_MIN_NS:
            _tell(state, state.woke_ns, asked_ns)
        if timeout == 0:  # it does not sleep
            state.woke_ns = asked_ns
            return original(timeout)  # the selector's own question, once: asked before, it loses and reorders events
        state.woke_ns = ASLEEP_NS
        ready = original(timeout)
        state.woke_ns = now_ns()
        return ready

    return select


@guard("instrument.tinker.loop")
def _tell(state: Watched, began_ns: int, now_ns: int) -> None:
    if state.is_given_back:
        return
    if now_ns - began_ns >= HELD_MIN_NS and not state.stopped:
        state.held.append((began_ns, now_ns))
    state.stopped = False
    if was_in_flight(began_ns) and LOOP_BUSY.handlers:
        LOOP_BUSY.execute({"duration": now_ns - began_ns, "monotonic_time": now_ns}, state.metadata())
