"""The process itself: what it uses, what waits in it, and what holds it up.

`install` polls the builtin measurements (`process.memory`, `process.cpu`, `process.counts`, `process.gc`,
`process.run_queue`, `process.loop`) and watches for stalls (`process.stall`), until `uninstall`.

Threads  those of the poller and of the stalls' monitor; both functions are for any.
Locks    `_lock`: held by both.
Fork     a child measures and watches nothing until `install` is called there.
Exit     `uninstall` waits 2 s at most.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from tinkertape.errors import MeasurementNotFound
from tinkertape.guard import failures, forget_failures
from tinkertape.instrument.poller import Poller
from tinkertape.instrument.stalls import monitor

MEASUREMENTS = ("memory", "cpu", "counts", "gc", "run_queue")
LAST = ("memory", "cpu", "counts", "gc")  # measured once more at the end: the peak of memory, the whole processor time
PERIOD_S = 10.0

_lock = threading.RLock()
_poller: Poller | None = None
_owns_poller = False


def install(*, stacks: bool = False, poller: Poller | None = None) -> None:
    """Measure this process, each ten seconds, and watch for stalls. A second call changes nothing.

    `stacks` has the stack of who holds the GIL for 250 ms and more written while it does, by a signal: exact, and
    dangerous (stalls/timers.py says why), so nothing but a hunt for one stall should ask for it. `poller` measures the
    process, if one is given: whose it is starts and stops it. Raises nothing.
    """
    global _poller, _owns_poller
    with _lock:
        if _poller is not None:
            return
        for place in {place for place, _ in failures() if place == monitor.PLACE}:
            forget_failures(place)
        _owns_poller = poller is None
        _poller = Poller([]) if poller is None else poller
        for name in MEASUREMENTS:
            _poller.add(name, name=f"process.{name}", period_s=PERIOD_S)
        if _owns_poller:
            _poller.start()
        monitor.start(stacks=stacks)


def uninstall() -> None:
    """Measure a last time, and no more."""
    global _poller
    with _lock:
        monitor.stop()
        poller, _poller = _poller, None
        if poller is None:
            return
        for name in MEASUREMENTS:
            with suppress(MeasurementNotFound):  # somebody removed it
                if name in LAST:
                    poller.collect(f"process.{name}")
                poller.remove(f"process.{name}")
        if _owns_poller:
            poller.stop()


def _start_over() -> None:
    global _lock, _poller
    _lock = threading.RLock()
    _poller = None


os.register_at_fork(after_in_child=_start_over)
