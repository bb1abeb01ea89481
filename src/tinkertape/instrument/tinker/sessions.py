"""The service's sessions: created, kept alive by a heartbeat each 10 s, finished. All from the HTTP seam.

Heartbeats belong to no public call, though their task carries the context of the call that started it.
Threads  the SDK's loop.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tinkertape.events import HEARTBEAT, SESSION_CREATE, SESSION_FINISH
from tinkertape.exception_record import failure_of
from tinkertape.guard import guard
from tinkertape.instrument.tinker.release import sdk_version
from tinkertape.wire import UNREADABLE


class _Session(msgspec.Struct):
    session_id: str | None = None


_decode = msgspec.json.Decoder(_Session).decode
_last_beat_ns: dict[str | None, int] = {}  # by session; few a process


class Heartbeat:
    """One heartbeat under way; `gap_ns` since the one before of the same session began."""

    __slots__ = ("gap_ns", "session_id")

    def __init__(self, body: bytes) -> None:
        self.session_id = _decode(body).session_id
        self.gap_ns: int | None = None


@guard("instrument.tinker.session")
def heartbeat_began(beat: Heartbeat, begin: dict[str, int]) -> None:
    before = _last_beat_ns.get(beat.session_id)
    _last_beat_ns[beat.session_id] = begin["monotonic_time"]
    if before is not None:
        beat.gap_ns = begin["monotonic_time"] - before
    if HEARTBEAT.start.handlers:
        HEARTBEAT.start.execute(begin, {"session_id": beat.session_id})


@guard("instrument.tinker.session")
def heartbeat_answered(beat: Heartbeat, began_ns: int, now_ns: int, status_code: int) -> None:
    if HEARTBEAT.stop.handlers:
        HEARTBEAT.stop.execute(
            _measured(beat, began_ns, now_ns),
            {
                "session_id": beat.session_id,
                "status": "success" if status_code < 300 else "error",
                "status_code": status_code,
            },
        )


@guard("instrument.tinker.session")
def heartbeat_raised(beat: Heartbeat, began_ns: int, now_ns: int, error: BaseException) -> None:
    if HEARTBEAT.exception.handlers:
        HEARTBEAT.exception.execute(
            _measured(beat, began_ns, now_ns), {"session_id": beat.session_id, **failure_of(error)}
        )


def _measured(beat: Heartbeat, began_ns: int, now_ns: int) -> dict[str, Any]:
    measured = {"duration": now_ns - began_ns, "monotonic_time": now_ns}
    if beat.gap_ns is not None:
        measured["gap"] = beat.gap_ns
    return measured


@guard("instrument.tinker.session")
def created(began_ns: int, now_ns: int, answer: bytes | None) -> None:
    """The service issued a session; `answer` None: it did not."""
    if SESSION_CREATE.handlers:
        session_id = _issued(answer)
        SESSION_CREATE.execute(
            {"duration": now_ns - began_ns, "monotonic_time": now_ns},
            {
                "session_id": session_id,
                "status": "success" if session_id else "error",
                "sdk_version": sdk_version(),
            },
        )


def _issued(answer: bytes | None) -> str | None:
    """The session's id, if the answer is one, and not a proxy's page."""
    try:
        return _decode(answer).session_id if answer else None
    except UNREADABLE:
        return None


@guard("instrument.tinker.session")
def finished(began_ns: int, now_ns: int, session_id: str | None, *, ok: bool) -> None:
    """The SDK told the service that a session is over."""
    if SESSION_FINISH.handlers:
        SESSION_FINISH.execute(
            {"duration": now_ns - began_ns, "monotonic_time": now_ns},
            {"session_id": session_id, "status": "success" if ok else "error"},
        )
