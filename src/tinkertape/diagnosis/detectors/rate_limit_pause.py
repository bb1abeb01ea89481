"""rate-limit-pause: the service held requests of this run back for a rate limit, or without a reason.

Rule      answers to polls said "paused, rate limit" for 1 s or more, or "paused" with a reason that nobody knows, which
          is told with a confidence of one half; pauses of several requests at once are one. After an answer of 429 to
          this run in the last 30 s, a rate limit is yours: it sends more at once than the service takes.
Source    facts/sdk.md §4: `queue_state`, `queue_state_reason` in the answer to a poll; facts/partition.md §7.2: a pause
          is known to one poll at each end, and the bounds say so.
Wrong if  another run of the same account used the limit up. A pause without a reason may be one for capacity. What the
          run did not wait for costs it nothing: the cost is the time that it waited in `queue:rate_limit`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tinkertape.context import Event
from tinkertape.diagnosis.findings import Finding
from tinkertape.diagnosis.pauses import PAUSES, Pauses, Stretch

LISTENS = (*PAUSES, "tinker.submit.exception", "tinker.retry")
YOURS = "Keep fewer requests in flight at once."
THEIRS = "Nothing to change in your code; the run goes on by itself."
LIMITED_NS = 30_000_000_000  # so long after a 429 a pause is of the same burst: as the stretches of rate-limit-self


class Detector:
    """Keeps the pauses for either reason, and when a process was last answered 429."""

    def __init__(self) -> None:
        self._pauses = (Pauses("rate_limit"), Pauses("unknown"))
        self._limited: dict[str, int] = {}

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when a pause ends, and again at each tick while one grows."""
        if event.metadata.get("status_code") == 429:
            self._limited[event.process] = event.monotonic_ns
        for pauses in self._pauses:
            for stretch, now in pauses.after(event):
                since = self._limited.get(stretch.process)
                by_you = since is not None and -LIMITED_NS < stretch.began_ns - since < LIMITED_NS
                yield _finding(stretch, now, by_you=by_you and stretch.reason == "rate_limit")


def _finding(stretch: Stretch, now: int, *, by_you: bool) -> Finding:
    held = f"The service {'holds' if stretch.open else 'held'} {stretch.operation}"
    if stretch.reason == "unknown":
        summary = f"{held} in its queue, and gave no reason that is known here.{stretch.words}"
    elif by_you:
        summary = f"{held} back for a rate limit, after it answered 429 to this run.{stretch.words}"
    else:
        summary = f"{held} back for a rate limit.{stretch.words}"
    evidence = stretch.evidence(now)
    return Finding(
        "you" if by_you else "service",
        summary=summary,
        evidence=msgspec.structs.replace(evidence, figures={**evidence.figures, "reason": stretch.reason}),
        confidence=0.5 if stretch.reason == "unknown" else 0.9,
        cost_s=stretch.length_s(now),
        advice=YOURS if by_you else THEIRS,
    )
