"""A run in one row of the list, made from its report; pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from tinkertape.diagnosis.findings import is_estimate
from tinkertape.tape.format import timestamp

STEP_WALLS = 60  # the newest steps whose wall times the list draws


def row_of(report: Mapping[str, Any], last_event_ns: int) -> dict[str, Any]:
    """The row: what `runs --json` shows, and what a page's list draws. `steps` and `findings` are counts."""
    steps = report.get("steps") or []
    findings = report.get("findings") or []
    began = report.get("began") or timestamp(last_event_ns)
    top = findings[0] if findings else None
    return {
        "run": report["run"],
        "name": report["name"],
        "project": report["project"],
        "state": report["state"],
        "status": report["status"],
        "began": began,
        "ended": report.get("ended"),
        "sessions": report.get("sessions") or [],
        "events": report["events"],
        "steps": report.get("steps_completed") or 0,
        "findings": len(findings),
        "healthy": is_healthy(report),
        "lead": (report.get("verdict") or {}).get("lead") or "",
        "last_event": timestamp(last_event_ns),
        "wall_s": report.get("wall_s"),
        "model": report.get("model") or "",
        "finding": _finding(top) if top else None,
        "parts": {part["part"]: part["seconds"] for part in report.get("parts") or []},
        "over_s": report.get("over_s") or 0.0,
        "step_walls": [step["wall_s"] for step in steps[-STEP_WALLS:]],
        "began_us": microseconds(began),
    }


def without_calls(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as long as the run is small: what its row and state are made of, and no table that names every call."""
    ongoing = {
        "spans": [span for span in report.get("spans") or [] if span.get("open")],
        "pauses": [pause for pause in report.get("pauses") or [] if pause.get("ended_s") is None],
        "steps": (report.get("steps") or [])[-STEP_WALLS:],
    }
    return {**report, "operations": [], "errors": [], "retries": [], "loss": [], **ongoing}


def is_healthy(report: Mapping[str, Any]) -> bool:
    """As `Report.healthy`, of a report as plain data."""
    return bool((report.get("verdict") or {}).get("well")) and not report.get("findings")


def _finding(top: dict[str, Any]) -> dict[str, Any]:
    told = {key: top.get(key) for key in ("cause", "owner", "summary", "cost_s")}
    evidence = top.get("evidence") or {}
    estimate = is_estimate(str(top.get("cause")), evidence.get("figures") or {})
    return {**told, "steps": evidence.get("steps") or [], "estimate": estimate}


def microseconds(text: str) -> int:
    """Microseconds since 1970 of such a text; 0 if it is none."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return 0
    return round(moment.timestamp() * 1_000_000)
