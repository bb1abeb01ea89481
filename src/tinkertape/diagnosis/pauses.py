"""Pauses of one reason, put together: those of several requests at once, or one after the other, are one stretch.

For detectors. A pause is known to one poll at each end (facts/partition.md §7.2): a stretch has what is best known, and
the least and the most that it may have lasted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tinkertape.context import Event
from tinkertape.diagnosis.findings import Evidence
from tinkertape.diagnosis.tallies import Covered, RequestIds

PAUSES = ("tinker.queue.pause", "tinker.queue.resume", "clock.tick")  # for a detector's `LISTENS`; a tick: it grows
PAUSE_MIN_S = 1.0
SAME_STRETCH_NS = 50_000_000  # a pause that comes back so soon, or for the same request, is the same one


@dataclass
class Stretch:
    """Pauses that overlap: at least, at most and best known."""

    process: str
    reason: str
    began_ns: int
    ended_ns: int
    text: str = ""  # the service's own words
    open: dict[str, int] = field(default_factory=dict)  # request → since
    seen: dict[str, int] = field(default_factory=dict)  # open request → the first answer that said so
    requests: RequestIds = field(default_factory=RequestIds)
    operations: list[str] = field(default_factory=list)
    best: Covered = field(default_factory=Covered)  # by the pauses that are over
    least: Covered = field(default_factory=Covered)

    def length_s(self, now_ns: int) -> float:
        """How long it lasted, as best known; an open one until now."""
        if not self.open:
            return self.best.length_ns() / 1e9
        return self.best.length_ns(now_ns, min(self.open.values())) / 1e9

    @property
    def operation(self) -> str:
        """What was held, for a sentence."""
        return f"`{self.operations[0]}`" if self.operations else "this run"

    @property
    def words(self) -> str:
        """What the service said of it, as a sentence that follows another."""
        return f" It says: “{self.text}”." if self.text else ""

    def evidence(self, now_ns: int) -> Evidence:
        """When, how long and which requests."""
        figures = {
            "length_s": self.length_s(now_ns),
            "min_s": self.least.length_ns() / 1e9,
            "max_s": ((now_ns if self.open else self.ended_ns) - self.began_ns) / 1e9,
            "requests": self.requests.count,
        }
        return Evidence(
            began_ns=self.began_ns,
            ended_ns=None if self.open else self.ended_ns,
            process=self.process,
            request_ids=tuple(self.requests.first),
            operations=tuple(self.operations),
            figures=figures,
            part=f"queue:{self.reason}",
        )


class Pauses:
    """Keeps the stretch of each process that is open, or was last, for one reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self._stretches: dict[str, Stretch] = {}

    def after(self, event: Event) -> Iterator[tuple[Stretch, int]]:
        """The stretch that ended with this event, or grows at this tick, if it is long enough; and now."""
        if event.name == "clock.tick":
            known = self._stretches.get(event.process)
            now = _number(event, "monotonic") or event.monotonic_ns
            if known is not None and known.open and known.length_s(now) >= PAUSE_MIN_S:
                yield known, now
            return
        if event.metadata.get("reason") != self.reason:
            return
        at = _number(event, "monotonic_time") or event.monotonic_ns
        request = str(event.metadata.get("request_id") or "")
        if event.name.endswith(".pause"):
            self._pause(event, request, _number(event, "since") or at, at)
            return
        stretch = self._resume(event, request, at)
        if stretch.length_s(at) >= PAUSE_MIN_S:
            yield stretch, at

    def _pause(self, event: Event, request: str, since: int, at: int) -> Stretch:
        stretch = self._stretches.get(event.process)
        apart = stretch is not None and since - stretch.ended_ns > SAME_STRETCH_NS and request not in stretch.requests
        if stretch is None or (not stretch.open and apart):
            stretch = self._stretches[event.process] = Stretch(event.process, self.reason, since, at)
        stretch.began_ns = min(stretch.began_ns, since)
        stretch.ended_ns = max(stretch.ended_ns, at)
        stretch.open[request], stretch.seen[request] = since, at
        stretch.text = stretch.text or str(event.metadata.get("reason_text") or "")
        stretch.requests.add([request])
        name = str(event.metadata.get("operation") or "")
        if name and name not in stretch.operations:
            stretch.operations.append(name)
        return stretch

    def _resume(self, event: Event, request: str, at: int) -> Stretch:
        stretch = self._stretches.get(event.process)
        duration = _number(event, "duration") or 0
        if stretch is None or request not in stretch.open:
            stretch = self._pause(event, request, at - (_number(event, "duration_max") or duration), at)
            stretch.seen[request] = at - duration
        del stretch.open[request]
        stretch.ended_ns = max(stretch.ended_ns, at)
        least = _number(event, "duration_min")
        stretch.best.add(at - duration, at)
        seen = stretch.seen.pop(request)
        stretch.least.add(seen, seen + (duration if least is None else least))
        return stretch


def _number(event: Event, key: str) -> int | None:
    value = event.measurements.get(key)
    return int(value) if isinstance(value, int | float) else None
