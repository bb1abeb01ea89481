"""In which state a run is; pure but for one look at this host's processes.

A run ends as its first process ended: with success or by an interruption → ended, with an error → failed. A process
ended when the end line of its tape says so, whatever stands behind it, or its own `telemetry.session.stop` does; one
that never closed is running while it gave a sign of life within 30 s, or while it (pid and start time) lives on this
host; else it was killed. Events of a plain SDK bring no process with them and no reliable end (docs/facts/sdk.md D7):
such a run is running while events come, then ended.

Whoever reads a run, from its tape or from a store, asks here: `Signs` for what its events say, `views_of` for the rest.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tinkertape.config import process_started
from tinkertape.context import Event
from tinkertape.diagnosis.report import State

SILENCE_MAX_NS = 30_000_000_000
LIVE = ("running", "paused", "stuck")


class ProcessView(msgspec.Struct, frozen=True):
    """What is known of one process of a run. `closed` is the status it ended with, '' while it has not; `header` is
    empty for a plain SDK's."""

    process: str
    header: Mapping[str, Any]
    closed: str
    last_sign_ns: int


class Signs:
    """What the events of a run say of its processes: the newest sign of life of each, and with which status it said
    that it stopped."""

    def __init__(self) -> None:
        self.newest_ns: dict[str, int] = {}
        self.stopped: dict[str, str] = {}

    def note(self, event: Event, at_ns: int) -> None:
        """Take an event that came at `at_ns`, wall time."""
        self.newest_ns[event.process] = max(self.newest_ns.get(event.process, 0), at_ns)
        if event.name == "telemetry.session.stop":
            self.stopped[event.process] = str(event.metadata.get("status") or "success")


def views_of(headers: Mapping[str, Mapping[str, Any]], closed: Mapping[str, str], signs: Signs) -> list[ProcessView]:
    """What is known of each process, the oldest first; `closed` is what the end of its tape says."""
    views = [
        ProcessView(
            process=process,
            header=headers.get(process, {}),
            closed=closed.get(process) or signs.stopped.get(process, ""),
            last_sign_ns=signs.newest_ns.get(process, 0),
        )
        for process in dict.fromkeys([*headers, *signs.newest_ns])
    ]
    return sorted(views, key=lambda view: view.header.get("wall_ns", math.inf))


def run_state(processes: Sequence[ProcessView], report: Mapping[str, Any], now_ns: int) -> tuple[State, str]:
    """The state of a run, and the status of its first process ('' while it has none). `processes` are the oldest
    first."""
    recorders = [view for view in processes if view.header]
    if not recorders:
        heard = max((view.last_sign_ns for view in processes), default=0)
        if now_ns - heard < SILENCE_MAX_NS:
            return "running", ""
        return ("failed" if report.get("state") == "failed" else "ended"), ""
    if any(_is_live(view, now_ns) for view in recorders):
        return _live_state(report), ""
    status = recorders[0].closed
    if not status:
        return "killed", ""
    return ("failed" if status in ("error", "errored", "failed") else "ended"), status


def _is_live(view: ProcessView, now_ns: int) -> bool:
    if view.closed:
        return False
    if now_ns - view.last_sign_ns < SILENCE_MAX_NS and not _is_gone(view.header):
        return True
    return _lives_here(view.header)


def _lives_here(header: Mapping[str, Any]) -> bool:
    return header.get("host") == platform.node() and _started(header) is not None and not _is_gone(header)


def _is_gone(header: Mapping[str, Any]) -> bool:
    """Is it known that the process lives no more? Only for one of this host."""
    pid, started = header.get("pid"), _started(header)
    if header.get("host") != platform.node() or not isinstance(pid, int) or started is None:
        return False
    return process_started(pid) != started


def _started(header: Mapping[str, Any]) -> float | None:
    started = header.get("pid_started")
    return float(started) if isinstance(started, int | float) else None


def _live_state(report: Mapping[str, Any]) -> State:
    for finding in report.get("findings") or ():
        evidence = finding.get("evidence") or {}
        if finding.get("cause") == "stuck-request" and evidence.get("ended_s") is None:
            return "stuck"
    pauses = [pause for pause in report.get("pauses") or () if pause.get("ended_s") is None]
    spans = [span for span in report.get("spans") or () if span.get("open")]
    return "paused" if pauses and all(_is_paused(span) for span in spans) else "running"


def _is_paused(span: Mapping[str, Any]) -> bool:
    segments = list(span.get("segments") or [])
    return bool(segments) and str(segments[-1][0]).startswith("queue:")
