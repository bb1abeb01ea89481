"""What the events of a run add up to: operations, their requests, polls, attempts and claims.

Plain records that `fold.py` fills and that everything else here reads. All stamps are nanoseconds of the
`perf_counter` of the process that stamped them (`_ns`); None means "not seen yet". Names of stamps in comments (c0, e,
s, a, h, q, d, D, w0, w1) are those of facts/partition.md §1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinkertape.faults import INTERRUPTIONS

OperationKey = tuple[str, int]  # process, operation_id


@dataclass(slots=True)
class Poll:
    """One answered question whether a request is ready: p, h, q and what was answered."""

    began_ns: int
    headers_ns: int
    ended_ns: int
    outcome: str  # pending, ready, failed, metadata, error
    queue_state: str = ""
    reason_text: str = ""
    status_code: int | None = None
    starved_ns: int = 0  # how long the threads of the exchange waited for a processor: its stamps may be as late
    timed_out: bool = False  # it was given up, so nothing says until when the connection was whole
    on_loop: bool = False  # the SDK's loop itself sent and read it: each busy run in between held it up

    @property
    def broken(self) -> bool:
        """Did no whole answer come? Then nothing is known of the request since the answer before."""
        return self.outcome == "error" and self.status_code is None

    @property
    def held_ns(self) -> int:
        """How long the service held it at least, and the way there and back."""
        return max(0, self.headers_ns - self.began_ns - self.starved_ns)

    @property
    def paused(self) -> str | None:
        """The reason of the pause that this answer tells of, or None."""
        if self.outcome not in ("pending", "error") or not self.queue_state.startswith("paused"):
            return None
        reason = self.queue_state.removeprefix("paused").removeprefix("_")
        return reason if reason in ("capacity", "rate_limit") else "unknown"

    @property
    def final(self) -> bool:
        """Did it bring the result, or the failure?"""
        return self.outcome in ("ready", "failed")


@dataclass(slots=True)
class Attempt:
    """One HTTP exchange that submits a request, or answers a plain call: s, h, x."""

    began_ns: int
    path: str = ""
    headers_ns: int | None = None
    ended_ns: int | None = None
    status_code: int | None = None
    failed: bool = False
    submission_id: int | None = None
    starved_ns: int = 0  # as of a poll
    connected: bool = True  # False: no connection was made, so the service knows nothing of it

    @property
    def broken(self) -> bool:
        """Did no whole answer come? It may have been taken all the same."""
        return self.failed and self.status_code is None


@dataclass(slots=True)
class Submit:
    """One call of the function that submits: e, and a once the service accepted it."""

    began_ns: int
    serialise_ns: int | None = None
    accepted_ns: int | None = None
    ended_ns: int | None = None  # the outer attempt's end, accepted or not
    request_id: str | None = None


@dataclass(slots=True)
class Request:
    """One API future: its polls, and d."""

    request_id: str
    request_type: str = ""
    model_id: str = ""
    began_ns: int | None = None
    done_ns: int | None = None
    decode_ns: int = 0
    error: str = ""
    polls: list[Poll] = field(default_factory=list)

    @property
    def ready_ns(self) -> int | None:
        """h of the answer that brought the result, of its metadata if that came first."""
        for poll in self.polls:
            if poll.final or poll.outcome == "metadata":
                return poll.headers_ns
        return None


@dataclass(slots=True)
class Line:
    """What one task of the SDK's loop does for an operation: its submissions and attempts, in order."""

    submission_id: int | None
    submits: list[Submit] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def turned_away(self) -> bool:
        """Was the last attempt answered 429 or 402? The SDK's submit function then returns without a request."""
        return bool(self.attempts) and self.attempts[-1].status_code in (429, 402)


@dataclass(slots=True)
class Claim:
    """The user's code waits for an operation's result: w0, w1."""

    began_ns: int
    operation: Operation
    thread: int
    loop: int | None
    ended_ns: int | None = None


@dataclass(slots=True)
class Failure:
    """What an operation, or the program, failed of."""

    at_ns: int
    error_type: str
    message: str
    owner: str = "unknown"
    category: str | None = None
    status_code: int | None = None
    traceback: str = ""
    kind: str = ""
    is_user_error: bool | None = None

    @property
    def is_interruption(self) -> bool:
        """Was it no error, but Ctrl-C, an exit or a cancellation? Nobody is to blame for one."""
        return self.error_type in INTERRUPTIONS or self.kind in ("interrupted", "cancelled")


@dataclass(slots=True, eq=False)
class Operation:
    """One public call of the SDK: c0, c1, D."""

    process: str
    operation_id: int
    family: str
    name: str
    began_ns: int
    thread: int = 0
    loop: int | None = None
    call_ended_ns: int | None = None  # c1, known when it ends
    returned_ns: int | None = None  # by then the call had returned: its thread waits, or makes another call
    ended_ns: int | None = None
    status: str | None = None
    step: Any = None  # what the program said, in its scope
    model_id: str = ""
    measurements: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    lines: dict[Any, Line] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    failure: Failure | None = None
    retries: int = 0
    hold_ns: int | None = None  # what was known of the service's polls when it ended (`Process.hold_ns`)
    round_trip_ns: int | None = None
    after_given_up: bool = False  # of its model's calls the last one before it was `given_up`
    place: int = 0  # among the operations of its family, by when they were first seen
    segments: Any = None  # cached by segments.py, once nothing can change it

    @property
    def key(self) -> OperationKey:
        return (self.process, self.operation_id)

    @property
    def first_submit_ns(self) -> int | None:
        """e of the first submission, or s of the first attempt where there is no submission."""
        starts = [line.submits[0].began_ns for line in self.lines.values() if line.submits]
        starts += [line.attempts[0].began_ns for line in self.lines.values() if line.attempts]
        return min(starts, default=None)

    @property
    def given_up(self) -> bool:
        """Did it end while the service may have gone on with it? Cancelled, its promise lost, its answer not read."""
        if self.ended_ns is None:
            return False
        if self.requests:
            return any(request.ready_ns is None for request in self.requests.values())
        attempts = [attempt for line in self.lines.values() for attempt in line.attempts]
        taken = [attempt for attempt in attempts if (attempt.broken and attempt.connected) or not attempt.failed]
        return self.failure is not None and bool(taken)

    @property
    def request_ids(self) -> tuple[str, ...]:
        return tuple(self.requests)

    def repeated(self, path: object) -> Any:
        """The key of the line whose last exchange, outside every submission, failed on this path: it goes on."""
        for key, line in self.lines.items():
            last = line.attempts[-1] if line.attempts and not line.submits else None
            if last is not None and last.failed and last.path == path:
                return key
        return None

    @property
    def error(self) -> Failure | None:
        """What it failed of, if that is an error."""
        return None if self.failure is None or self.failure.is_interruption else self.failure

    @property
    def poll_count(self) -> int:
        return sum(len(request.polls) for request in self.requests.values())


@dataclass(slots=True)
class Pause:
    """The service held one request's queue: in (since, answer] it began, and lasted `duration` as best known."""

    request_id: str
    operation: Operation | None
    operation_name: str
    reason: str
    text: str
    since_ns: int
    seen_ns: int
    ended_ns: int | None = None
    duration_ns: int | None = None
    min_ns: int | None = None
    max_ns: int | None = None


@dataclass(slots=True)
class Retry:
    """Something failed and was tried again after a delay."""

    at_ns: int
    operation_id: int | None
    operation: str
    layer: str
    attempt: int
    delay_ns: int
    error_type: str
    status_code: int | None


@dataclass(slots=True)
class BusyRuns:
    """Busy runs of one loop, in the order they ended: begins and ends, for bisection."""

    began_ns: list[int] = field(default_factory=list)
    ended_ns: list[int] = field(default_factory=list)

    def add(self, began_ns: int, ended_ns: int) -> None:
        if self.ended_ns and began_ns < self.ended_ns[-1]:
            began_ns = min(ended_ns, self.ended_ns[-1])  # one loop is one thread: its runs cannot overlap
        if ended_ns > began_ns:
            self.began_ns.append(began_ns)
            self.ended_ns.append(ended_ns)
