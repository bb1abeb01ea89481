"""What is not recorded of a release, or cannot be asked of it, and why. The harness checks what it can see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.versions.calls import NOT_CALLED, WRONG_LOOP
from tests.versions.runs import Observed

OLDEST, NEWEST = 6, 38


def _minor(version: str) -> int:
    return int(version.split(".")[1])


@dataclass(frozen=True)
class Limit:
    """From minor release `first` to `last`, both included. `is_seen` says of a run whether the limit shows in it."""

    what: str
    first: int
    last: int
    why: str
    is_seen: Callable[[Observed], bool] | None = None

    def covers(self, version: str) -> bool:
        return self.first <= _minor(version) <= self.last

    def is_of(self, version: str) -> bool:
        """Does it cover this release, and not every other as well?"""
        return self.covers(version) and (self.first, self.last) != (OLDEST, NEWEST)


def wrong_limits(observed: Observed) -> list[str]:
    """The limits that a run shows and nobody wrote down, and the other way round."""
    version = observed.release.version
    return [
        f"limit {limit.what!r}: {'not ' if limit.covers(version) else ''}seen, against what limits.py says"
        for limit in LIMITS
        if limit.is_seen is not None and limit.is_seen(observed) != limit.covers(version)
    ]


def _lacks(operation: str, measurement: str) -> Callable[[Observed], bool]:
    return lambda observed: all(
        measurement not in event.measurements
        for name, outcome, event in observed.ends()
        if name == operation and outcome == "success"
    )


def _ends_by(operation: str, error_type: str) -> Callable[[Observed], bool]:
    return lambda observed: observed.operations()[operation, error_type] > 0


LIMITS = (
    Limit(
        "`cache_hit_tokens` of a sample",
        OLDEST,
        22,
        "the SDK does not tell them",
        _lacks("sampling.sample", "cache_hit_tokens"),
    ),
    Limit(
        "the end of a session",
        OLDEST,
        26,
        "there is no `close`: a session ends when its heartbeats do",
        lambda observed: not any(observed.named("tinker.session.finish")),
    ),
    Limit("a wait for the billing of an account (402)", OLDEST, 19, "the SDK does not wait: the call fails"),
    Limit("a last heartbeat of a session that was lost (410)", OLDEST, 25, "the SDK sends them on and on"),
    Limit(
        "`get_audit_log_async`",
        20,
        36,
        f"recorded, and fails: {WRONG_LOOP}",
        _ends_by("rest.get_audit_log", "AssertionError"),
    ),
    Limit("`create_custom_loss`", 36, NEWEST, "recorded; not tried with success: it needs torch itself"),
    Limit(
        "`whoami`",
        23,
        NEWEST,
        "recorded; tried with an API key only, where it fails: it reads the claims of a JWT",
        _ends_by("rest.whoami", "RuntimeError"),
    ),
    Limit("sampling with `TINKER_SUBPROCESS_SAMPLING=1`", 15, 26, "it happens in a process of its own, unseen"),
    Limit("polls over gRPC", 21, 21, "the service must switch them on; then they are not seen. 0.21 imports grpcio"),
    Limit("an SDK without torch", OLDEST, 7, "it imports torch; here an imitation lies beside it"),
    *(
        Limit(f"`{name}`", OLDEST, NEWEST, f"no operation, or not tried: {why}")
        for name, why in sorted(NOT_CALLED.items())
    ),
)
