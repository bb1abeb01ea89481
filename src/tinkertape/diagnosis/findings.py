"""A finding: a cause that was seen, whose it is, what it cost, and the evidence to check it by.

A detector yields `Finding(owner, summary=…, evidence=…)`; the runner adds the cause (the file's name), the steps and
the share of the run. A finding that grows is yielded again with the same `evidence.process` and `evidence.began_ns`
(or the same `key`): the later one replaces the earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tinkertape.diagnosis.records import OperationKey
from tinkertape.diagnosis.words import seconds

OWN = "own_thread_s"
"""A figure of the report's: what of the cost was waited by the thread whose time is the run's."""
WAITED_BY = "waited_by"
"""And the names of the other threads that waited for it; of what cost nothing, of those that waited meanwhile."""
TOLD_LIVE = "diagnosis."  # begins the names of events that tell of findings: a diagnosis passes them over
FindingOwner = Literal["you", "network", "service", "none"]
Severity = Literal["info", "warning", "error"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Times, ids and figures that a person can check.

    `began_ns`, `ended_ns` (None: it goes on) are `perf_counter` stamps of `process`. `figures` are numbers and short
    texts by name, their units in their names. What it cost the run is what the run waited for it: `part` names the part
    that it made longer, `costs_ns` how much longer it made each operation, `parts` in which parts where there are
    several.
    """

    began_ns: int
    ended_ns: int | None = None
    process: str = ""
    request_ids: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()  # names of the operations it touched, the most touched first
    steps: tuple[int, ...] = ()
    figures: dict[str, Any] = msgspec.field(default_factory=dict)
    part: str = ""
    costs_ns: dict[OperationKey, int] = msgspec.field(default_factory=dict)
    parts: tuple[str, ...] = ()


class _Details(msgspec.Struct, frozen=True, kw_only=True):
    summary: str
    evidence: Evidence
    severity: Severity = "warning"
    confidence: float = 1.0
    cost_s: float | None = None
    advice: str = ""
    key: str = ""
    cause: str = ""
    share: float | None = None


class Finding(_Details, frozen=True):
    """A cause that was seen: `Finding("service", summary=…, evidence=…, cost_s=…)`."""

    owner: FindingOwner

    @property
    def identity(self) -> tuple[str, str]:
        """The same for a finding and its later, grown self."""
        return (self.cause, self.key or f"{self.evidence.process}:{self.evidence.began_ns}")


def is_estimate(cause: str, figures: Mapping[str, Any]) -> bool:
    """Is a finding's cost no measurement: made with what is usual, or a pause that is known between bounds?"""
    least, most = figures.get("min_s"), figures.get("max_s")
    bounded = least is not None and most is not None and seconds(least) != seconds(most)
    return cause in ("slow-service", "unreachable", "flaky-network") or bounded


def evidence_json(evidence: Evidence, began_s: float, ended_s: float | None) -> Mapping[str, Any]:
    """Evidence as scripts and pages read it: times in seconds since the run's begin."""
    return {
        "began_s": began_s,
        "ended_s": ended_s,
        "steps": list(evidence.steps),
        "request_ids": list(evidence.request_ids),
        "operations": list(evidence.operations),
        "figures": dict(evidence.figures),
    }
