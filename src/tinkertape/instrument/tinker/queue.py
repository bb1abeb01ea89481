"""A request's queue is held, and goes on: told from the answers to polls.

An answer that says *paused* describes the interval since the answer before: the pause began in (since, answer]. It
ended between the last paused answer and the first that says otherwise: all of it is known to one poll, and said so by
`duration_min` and `duration_max` (facts/partition.md §2, §7.2), which allow for answers that were stamped late.
Threads  the SDK's loop; a cancelled request is finished in the thread that cancels.
"""

from __future__ import annotations

from tinkertape.events import QUEUE_PAUSE, QUEUE_RESUME
from tinkertape.instrument.tinker.flight import Pause, Request, call_of

_REASONS = {"paused_capacity": "capacity", "paused_rate_limit": "rate_limit"}


def observe(
    request: Request, state: str | None, text: str | None, at_ns: int, late_ns: int = 0, *, finished: bool = False
) -> None:
    """One answer came at `at_ns` (its headers), or up to `late_ns` earlier. `state` None says nothing, unless the
    request is finished.
    """
    pause = request.pause
    if state is None and not finished:
        return
    reason = _REASONS.get(state, "unknown") if state is not None and state.startswith("paused") else None
    if pause is not None and reason == pause.reason:
        pause.last_ns, pause.last_late_ns = at_ns, late_ns
        return
    since = request.answered_ns or request.accepted_ns or request.began_ns or at_ns
    if pause is not None:
        _resumed(request, pause, at_ns, at_ns if reason is None else since)
    if reason is not None:
        _paused(request, Pause(reason, text, since, at_ns, at_ns, request.late_ns, late_ns))


def _paused(request: Request, pause: Pause) -> None:
    request.pause = pause
    if request.operation is not None:
        request.operation.pause(pause.since_ns)
    if QUEUE_PAUSE.handlers:
        QUEUE_PAUSE.execute({"monotonic_time": pause.seen_ns, "since": pause.since_ns}, _metadata(request, pause))


def _resumed(request: Request, pause: Pause, at_ns: int, ended_ns: int) -> None:
    """An answer at `at_ns` says so; where another pause follows, that one has the interval since the answer before."""
    request.pause = None
    if request.operation is not None:
        request.operation.resume(ended_ns)
    if QUEUE_RESUME.handlers:
        QUEUE_RESUME.execute(
            {
                "monotonic_time": ended_ns,
                "duration": ended_ns - pause.since_ns,
                "duration_min": max(0, pause.last_ns - pause.last_late_ns - pause.seen_ns),
                "duration_max": at_ns - pause.since_ns + pause.since_late_ns,
            },
            _metadata(request, pause),
        )


def _metadata(request: Request, pause: Pause) -> dict[str, object]:
    return {
        **call_of(request.operation),
        "request_id": request.request_id,
        "model_id": request.model_id,
        "reason": pause.reason,
        "reason_text": pause.reason_text,
    }
