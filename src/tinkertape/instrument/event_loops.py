"""Which event loops run in this process, and where: found in the frames of all threads, so that none has to be patched.

A thread that runs a loop stands, somewhere below, in `run_forever` of asyncio's loop, or in `Runner.run` of whoever
called `asyncio.run` (uvloop's included, which has no frame of its own).

Threads  any. A frame's variables are looked at and let go of at once: they belong to the program.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

from tinkertape.instrument.tinker import loop

FRAMES_MAX = 2_000  # of one thread looked at: a recursion without end is not followed


class RunningLoop:
    """An event loop and the thread that runs it."""

    def __init__(self, running: Any, thread: int) -> None:
        self._loop = running
        self.thread = thread  # its ident

    def ready(self) -> int | None:
        """How many callbacks are ready to run; None where the loop does not say."""
        ready = getattr(self._loop, "_ready", None)
        return None if ready is None else len(ready)

    def call_soon(self, function: Callable[[], object]) -> bool:
        """Have the loop run this; False when it is closed."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            return False
        return True

    @property
    def owner(self) -> loop.Owner:
        return "sdk" if self._loop is _sdk_loop() else "user"

    def watch(self) -> None:
        """Have its busy runs seen, as far as it has a selector."""
        loop.watch(self._loop, self.thread, self.owner)

    def metadata(self) -> dict[str, Any]:
        """What events say of it."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        return {
            "loop": id(self._loop),
            "thread": self.thread,
            "thread_name": names.get(self.thread, ""),
            "owner": self.owner,
        }


def running_loops() -> list[RunningLoop]:
    """Every event loop that runs now, but one of the calling thread's own."""
    if "asyncio.base_events" not in sys.modules:
        return []
    frames = sys._current_frames()
    del frames[threading.get_ident()]  # our own would hold this dict, which holds it
    found, where = {}, dict(_known_code())
    for thread, frame in frames.items():
        running = _loop_of(frame, where)
        if running is not None:
            found[id(running)] = RunningLoop(running, thread)
    return list(found.values())


def _loop_of(frame: FrameType, where: Mapping[CodeType, str]) -> Any:
    """The loop that a thread with this top frame runs, if any: the outermost one, which a nested one may hide."""
    looked: FrameType | None = frame
    for _ in range(FRAMES_MAX):
        if looked is None:
            return None
        attribute = where.get(looked.f_code)
        if attribute is not None:
            owner = looked.f_locals.get("self")
            return owner if attribute == "" else getattr(owner, attribute, None)
        looked = looked.f_back
    return None


def _known_code() -> Iterator[tuple[CodeType, str]]:
    """The functions that run a loop, with the attribute of their `self` that is it; "" for `self` itself."""
    for module, owner, function, attribute in (
        ("asyncio.base_events", "BaseEventLoop", "run_forever", ""),
        ("asyncio.runners", "Runner", "run", "_loop"),
    ):
        found = getattr(getattr(sys.modules.get(module), owner, None), function, None)
        code = getattr(found, "__code__", None)
        if code is not None:
            yield code, attribute


def _sdk_loop() -> Any:
    """The loop of the Tinker SDK's own thread, if it runs (facts/sdk.md §4)."""
    module = sys.modules.get("tinker.lib.internal_client_holder")
    singleton = getattr(module, "_internal_client_holder_thread_singleton", None)
    return getattr(singleton, "_loop", None)
