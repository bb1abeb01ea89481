"""capacity-pause: the service had no machine free for this run.

Rule      answers to polls said "paused, capacity" for 1 s or more; pauses of several requests at once are one.
Source    facts/sdk.md §4: `queue_state`, `queue_state_reason` in the answer to a poll; facts/partition.md §7.2: a pause
          is known to one poll at each end, and the bounds say so.
Wrong if  the service gives no reason (SDK 0.6): such a pause is not counted here. What the run did not wait for costs
          it nothing: the cost is the time that it waited in `queue:capacity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tinkertape.context import Event
from tinkertape.diagnosis.findings import Evidence, Finding

LISTENS = ("tinker.queue.pause", "tinker.queue.resume", "clock.tick")
PAUSE_MIN_S = 1.0
SAME_STRETCH_NS = 50_000_000  # a pause that comes back so soon, or for the same request, is the same one


@dataclass
class _Stretch:
    """Pauses that overlap: at least, at most and best known."""

    process: str
    began_ns: int
    ended_ns: int
    text: str = ""
    open: dict[str, int] = field(default_factory=dict)  # request → since
    seen: dict[str, int] = field(default_factory=dict)  # request → the first answer that said so
    requests: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    best: list[tuple[int, int]] = field(default_factory=list)
    least: list[tuple[int, int]] = field(default_factory=list)


class Detector:
    """Keeps the stretch of pauses of each process that is open, or was last."""

    def __init__(self) -> None:
        self._stretches: dict[str, _Stretch] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when a pause ends, and again at each tick while one grows."""
        if event.name == "clock.tick":
            stretch = self._stretches.get(event.process)
            now = _number(event, "monotonic") or event.monotonic_ns
            if stretch is not None and stretch.open:
                yield from _finding(stretch, now)
            return
        if event.metadata.get("reason") != "capacity":
            return
        at = _number(event, "monotonic_time") or event.monotonic_ns
        request = str(event.metadata.get("request_id") or "")
        if event.name.endswith(".pause"):
            self._pause(event, request, _number(event, "since") or at, at)
        else:
            stretch = self._resume(event, request, at)
            yield from _finding(stretch, at)

    def _pause(self, event: Event, request: str, since: int, at: int) -> _Stretch:
        stretch = self._stretches.get(event.process)
        apart = stretch is not None and since - stretch.ended_ns > SAME_STRETCH_NS and request not in stretch.requests
        if stretch is None or (not stretch.open and apart):
            stretch = self._stretches[event.process] = _Stretch(event.process, since, at)
        stretch.began_ns = min(stretch.began_ns, since)
        stretch.ended_ns = max(stretch.ended_ns, at)
        stretch.open[request], stretch.seen[request] = since, at
        stretch.text = stretch.text or str(event.metadata.get("reason_text") or "")
        if request and request not in stretch.requests:
            stretch.requests.append(request)
        name = str(event.metadata.get("operation") or "")
        if name and name not in stretch.operations:
            stretch.operations.append(name)
        return stretch

    def _resume(self, event: Event, request: str, at: int) -> _Stretch:
        stretch = self._stretches.get(event.process)
        duration = _number(event, "duration") or 0
        if stretch is None or request not in stretch.open:
            stretch = self._pause(event, request, at - (_number(event, "duration_max") or duration), at)
            stretch.seen[request] = at - duration
        del stretch.open[request]
        stretch.ended_ns = max(stretch.ended_ns, at)
        least = _number(event, "duration_min")
        stretch.best.append((at - duration, at))
        seen = stretch.seen[request]
        stretch.least.append((seen, seen + (duration if least is None else least)))
        return stretch


def _finding(stretch: _Stretch, now: int) -> Iterator[Finding]:
    ended = None if stretch.open else stretch.ended_ns
    running = [(since, now) for since in stretch.open.values()]
    best = _union(stretch.best + running) / 1e9
    if best < PAUSE_MIN_S:
        return
    longest = ((now if stretch.open else stretch.ended_ns) - stretch.began_ns) / 1e9
    operation = f"`{stretch.operations[0]}`" if stretch.operations else "this run"
    words = f" It says: “{stretch.text}”." if stretch.text else ""
    figures = {
        "length_s": best,
        "min_s": _union(stretch.least) / 1e9,
        "max_s": longest,
        "requests": len(stretch.requests),
    }
    yield Finding(
        "service",
        summary=f"The service {'keeps' if stretch.open else 'kept'} {operation} queued: out of capacity.{words}",
        evidence=Evidence(
            began_ns=stretch.began_ns,
            ended_ns=ended,
            process=stretch.process,
            request_ids=tuple(stretch.requests),
            operations=tuple(stretch.operations),
            figures=figures,
            part="queue:capacity",
        ),
        cost_s=best,
        advice="Nothing to change in your code; the run goes on by itself.",
    )


def _union(intervals: list[tuple[int, int]]) -> int:
    total, reached = 0, 0
    for began, ended in sorted(intervals):
        began = max(began, reached)
        total += max(0, ended - began)
        reached = max(reached, ended)
    return total


def _number(event: Event, key: str) -> int | None:
    value = event.measurements.get(key)
    return int(value) if isinstance(value, int | float) else None
