"""Pauses and costs as a terminal tells them: requests that were held at once are one pause, an estimate carries ≈."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinkertape.cli.figures import MARKS, bounds, plural, seconds, share
from tinkertape.cli.text import escaped
from tinkertape.diagnosis.findings import is_estimate
from tinkertape.diagnosis.report import FindingRow, PauseRow
from tinkertape.diagnosis.verdict import REASONS


def told_as_one(pauses: Sequence[PauseRow]) -> list[list[PauseRow]]:
    """The requests of each pause, in the order of the pauses."""
    told: dict[object, list[PauseRow]] = {}
    for place, pause in enumerate(pauses):
        told.setdefault(pause.pause or (place,), []).append(pause)
    return list(told.values())


def pauses_said(pauses: Sequence[PauseRow]) -> str:
    """`1 pause, 2 requests`."""
    return f"{plural(len(told_as_one(pauses)), 'pause')}, {plural(len(pauses), 'request')}"


def pause_cells(held: Sequence[PauseRow], *, live: bool) -> tuple[str, str, str, str, str]:
    """A pause's begin, length, bounds, place and reason. Of several requests, the longest says how long it was; one
    that did not end went on until the run did, unless that is `live`.
    """
    longest = max(held, key=lambda each: each.length_s)
    limits = bounds(max(each.min_s for each in held), max(each.max_s for each in held))
    is_open = any(each.ended_s is None for each in held)
    so_far = (" so far" if live else ", to the end") if is_open else ""
    names = " and ".join(dict.fromkeys(escaped(each.operation) for each in held))
    where = f"step {longest.step}, {names}" if longest.step is not None else names
    return (
        f"at {seconds(held[0].began_s)}",
        f"{MARKS['inferred'] if limits else ''}{seconds(longest.length_s)}{so_far}",
        limits,
        f"{where}, {plural(len(held), 'request')}" if len(held) > 1 else where,
        f"{REASONS.get(longest.reason, escaped(longest.reason))}{f': {escaped(longest.text)}' if longest.text else ''}",
    )


def cost_said(finding: FindingRow) -> str:
    """`≈ 47.0 s, 47 %`, or nothing where no cost is known."""
    if finding.cost_s is None:
        return ""
    mark = MARKS["inferred"] if is_estimate(finding.cause, _figures(finding)) else ""
    return f"{mark}{seconds(finding.cost_s)}{f', {share(finding.share)}' if finding.share is not None else ''}"


def lasted_said(finding: FindingRow, *, live: bool) -> str:
    """The bounds of a pause: ` It lasted 2.0 to 2.3 s.`"""
    limits = bounds(_figures(finding).get("min_s"), _figures(finding).get("max_s"))
    if not limits:
        return ""
    if finding.evidence.get("ended_s") is not None:
        return f" It lasted {limits}."
    return f" It has lasted {limits}." if live else f" It had lasted {limits} when the run ended."


def _figures(finding: FindingRow) -> dict[str, Any]:
    figures = finding.evidence.get("figures")
    return figures if isinstance(figures, dict) else {}
