"""The truth: what the service really did, as JSON lines, to hold a recorder's answer against.

Each line has `what` and `at_ns`, the instant on this machine's CLOCK_MONOTONIC (`time.perf_counter_ns`; on Linux the
same clock in every process). Each is written whole and at once, so a reader may follow the file. A line about a promise
(the service's side of one API future) also has `request_id`, `request_type` (the SDK's name), `nth` (of its type, from
1), `model_id` and `seq`. Spans end in `_ns`. Instants are those of the service: with latency, a client sees them later.

began      the service listens: `wall_ns`, `pid`, `url`, `scenario` (whole)
accepted   a submit made a promise: `headers_ns`, `body_ns` (its request's headers, its whole body had come; instants),
           `request_bytes`, `tokens`
started    compute begins: `scheduled_ns` (compute planned), `wait_ns` (accepted to started)
slow       with `started`, in a slow stretch: `usual_s`, `factor`, `scheduled_s`
paused     a queue is held, found by this promise: `pause` (its number), `reason`, `text`, `length_s`
resumed    and goes on: `pause`, `reason`, `duration_ns`, `request_ids` (of all whose polls were told of it)
ready      the result, or failure, is there: `failed`, `total_ns` (accepted to ready) = `queue_ns` (held by pauses) +
           `behind_ns` (waited for a predecessor, not held) + `compute_ns` (the rest), `response_bytes`
answered   it is handed over, the first time (to a client that may have gone): `polls`, `held_ns` (ready to answered)
fault      something goes wrong: `kind` submit, future or poll, `injected` (by the scenario, or the client's own doing),
           `status` or `category`, `attempt`, `message`; a submit that is refused has the `request_id` null
broken     a connection breaks under an exchange: `how` reset, half, hang or garbled, `on` submit or poll, `path`,
           `request_type`, `nth`, `attempt`
expired    a promise is forgotten: `why` lost or restarted; it is never ready
sessions_lost  sessions end: `session_ids`, and the promise that it came after
outage     nothing gets through from now on: `how` refused, silent or restarted, `length_s`, and the promise that it
           came after
restored   and it does again: `how`, `duration_ns`
skipped    a training request never came, and those behind it go on: `model_id`, `seq`
exchange   an HTTP answer has been sent: `method`, `path`, `status`, `headers_ns`, `body_ns`, `handled_ns` (instants;
           the last before the answer's latency), `request_bytes`, `response_bytes`, `attempt` (the SDK's
           x-stainless-retry-count), `request_id` (if it names one), `client_port` (tells connections apart),
           `there_ns`, `back_ns` (how long it was on its way)
ended      the service stops
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Truth:
    """Writes the lines. One thread; `path` None: nothing is written. The file is new, mode 0600."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = None if path is None else os.open(path, flags, 0o600)

    def write(self, what: str, *, at_ns: int | None = None, **keys: Any) -> int:
        """Write one line, and return the instant in it (now, if none is given)."""
        at_ns = time.perf_counter_ns() if at_ns is None else at_ns
        if self._descriptor is not None:
            line = json.dumps({"what": what, "at_ns": at_ns, **keys}, separators=(",", ":"))
            os.write(self._descriptor, line.encode() + b"\n")
        return at_ns

    def end(self) -> None:
        """Write the last line and close the file. Safe to call twice."""
        if self._descriptor is not None:
            self.write("ended")
            os.close(self._descriptor)
            self._descriptor = None


def read_truth(path: Path) -> list[dict[str, Any]]:
    """The lines of a truth file that are complete so far."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
