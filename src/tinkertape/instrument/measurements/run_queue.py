"""run_queue: what is ready to run and has to wait: callbacks of event loops, threads without a processor.

`cpu` are the threads that want a processor, `io` the callbacks that are ready in all event loops, `total` both. `lag`
is the longest that a loop took to run something that it was just given. A thread that waits for the GIL sleeps, as the
kernel sees it, and is not in `cpu`. Where the kernel does not tell the state of threads, `cpu` and `total` are absent.

Loops are found in the frames of all threads, none is patched for it; what runs without a frame of asyncio's
(`uvloop` under `run_until_complete`) is not seen, and uvloop does not say what is ready.

Threads  whoever calls; a loop answers in its own thread, and is waited for 50 ms at most.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from tinkertape.events import PROCESS_LOOP, PROCESS_RUN_QUEUE
from tinkertape.instrument.event_loops import RunningLoop, running_loops
from tinkertape.instrument.readings import readings

ANSWER_MAX_S = 0.05


class Measurement:
    """`process.run_queue`, and a `process.loop` for each loop that runs."""

    events = (PROCESS_RUN_QUEUE, PROCESS_LOOP)

    def __call__(self) -> object:
        probes = [_Probe(found) for found in running_loops()]
        deadline = time.monotonic() + ANSWER_MAX_S
        for probe in probes:
            probe.wait(max(0.0, deadline - time.monotonic()))
        measured: dict[str, Any] = {"io": sum(probe.ready or 0 for probe in probes), "loops": len(probes)}
        cpu = readings().runnable_threads()
        if cpu is not None:
            measured |= {"cpu": cpu, "total": cpu + measured["io"]}
        if probes:
            measured["lag"] = max(probe.lag_ns for probe in probes)
        return [(PROCESS_RUN_QUEUE, measured), *(probe.told() for probe in probes)]


class _Probe:
    """Something that a loop was given to run, and how long it took, or had taken when we waited no longer."""

    def __init__(self, found: RunningLoop) -> None:
        self._found = found
        self._answered_ns: int | None = None
        self._answered = threading.Event()
        self.ready = found.ready()
        self.lag_ns = 0
        self._asked_ns = time.perf_counter_ns()
        self._asked = found.call_soon(self._answer)  # else it has just ended

    def _answer(self) -> None:
        self._answered_ns = time.perf_counter_ns()
        self._answered.set()

    def wait(self, timeout_s: float) -> None:
        if self._asked:
            self._answered.wait(timeout_s)
            self.lag_ns = (self._answered_ns or time.perf_counter_ns()) - self._asked_ns

    def told(self) -> tuple[object, ...]:
        measured = {"lag": self.lag_ns}
        if self.ready is not None:
            measured["ready"] = self.ready
        return PROCESS_LOOP, measured, self._found.metadata()
