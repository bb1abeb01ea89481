"""One process of a run: its operations, claims, pauses and busy runs, as `fold.py` fills them.

Stamps are nanoseconds of its own `perf_counter`; `wall_ns` brings one to wall time, to place it beside another
process's. No part is ever computed from two clocks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from operator import attrgetter
from typing import Any

from tinkertape.context import Event
from tinkertape.diagnosis.connections import Connections
from tinkertape.diagnosis.records import Attempt, BusyRuns, Claim, Failure, Operation, Pause, Request, Retry
from tinkertape.diagnosis.waits import Wait, Waits

ON_LOOP = "AsyncHTTPTransport"  # httpx's own: callbacks of the SDK's loop send and read; pyqwest has threads for it
GIVEN_UP_KEPT = 256  # models
FAILURES_KEPT = 1000  # a program may raise the same again and again, and say something else each time
ALIKE, ALIKE_NS = 0.03, 10_000_000  # how far apart: stamps are late by some


class Alike:
    """Results that all came after the same time, whatever they are of: so long a poll is held, and not computed.

    Source: facts/partition.md §7.1; only where no answer ever said "not yet" (`Process.pending_ns`).
    """

    def __init__(self) -> None:
        self._of: set[str] = set()  # operations
        self._least_ns, self._most_ns = 0, 0

    def add(self, operation: str, held_ns: int) -> None:
        self._least_ns = min(self._least_ns, held_ns) if self._of else held_ns
        self._most_ns = max(self._most_ns, held_ns)
        self._of.add(operation)

    @property
    def held_ns(self) -> int | None:
        spread_ns = max(int(ALIKE * self._least_ns), ALIKE_NS)
        is_one = len(self._of) > 1 and self._most_ns - self._least_ns <= spread_ns < self._least_ns // 10
        return self._most_ns if is_one else None


class Process:
    """What one process of the run did."""

    def __init__(self, process: str, event: Event) -> None:
        self.id = process
        self.offset_ns = event.time_ns - event.monotonic_ns  # to wall time, of the first event: one clock, no jumps
        self.first_ns = event.monotonic_ns
        self.last_ns = event.monotonic_ns
        self.operations: dict[int, Operation] = {}
        self.order: list[Operation] = []  # by c0
        self.training: list[Operation] = []  # those of the model's own queue, by c0
        self.trained = 0  # how many of them there were
        self.steps_before = Counter[str]()  # that ended with operations which are forgotten, by model
        self.model_before: str | None = None  # the one that was trained last, of those operations
        self.inside: dict[int, Operation] = {}  # by thread: the call that it may still be in
        self.pending_ns: int | None = None  # how long the service holds a poll that it answers as pending
        self.alike = Alike()
        self.round_trip_ns: int | None = None  # the shortest answer seen
        self.polls_on_loop = False  # does the SDK's loop itself send and read what the polls are?
        self.given_up: dict[str, int] = {}  # by model: c0 of a call that was, while no later one has its result
        self.requests: dict[str, tuple[Operation, Request]] = {}
        self.claims: list[Claim] = []  # by w0
        self.open_claims: dict[Any, Claim] = {}
        self.waits: dict[int, Waits] = {}  # sampled, by thread
        self.thread_names: dict[int, str] = {}
        self.attempts: dict[Any, Attempt] = {}  # open ones, by http_id
        self.submit_starts: list[int] = []  # every e, sorted
        self.pauses: list[Pause] = []
        self.open_pauses: dict[str, Pause] = {}
        self.retries: list[Retry] = []
        self.failures: dict[tuple[str, str], Failure] = {}  # of the program: the first that said it
        self.last_failure: Failure | None = None  # of the program, not of an operation
        self.sdk_busy = BusyRuns()
        self.stalls = BusyRuns()  # of the GIL
        self.connections = Connections()
        self.user_busy: dict[int, BusyRuns] = {}
        self.session_began_ns: int | None = None
        self.session_ended_ns: int | None = None
        self.status: str | None = None
        self.exit_status: int | None = None  # what a shell sees
        self.ended: deque[Operation] = deque()  # and not yet settled, in the order they ended (`book.py`)

    def settle_model(self, operation: Operation) -> None:
        """An operation has ended: may its model still be computing for it?"""
        if operation.family != "training":
            return
        model_id, began_ns = operation.model_id, operation.began_ns
        if operation.given_up:
            self.given_up[model_id] = began_ns
            if len(self.given_up) > GIVEN_UP_KEPT:
                del self.given_up[next(iter(self.given_up))]
            for later in self._begun_after(operation):  # the program heard of it, and went on, before we did
                later.after_given_up = True
        elif operation.requests and self.given_up.get(model_id, began_ns) < began_ns:
            del self.given_up[model_id]

    def _begun_after(self, operation: Operation) -> list[Operation]:
        """What its model was asked for since, up to the first of these that has its result."""
        began = bisect_right(self.training, operation.began_ns, key=attrgetter("began_ns"))
        since = [later for later in self.training[began:] if later.model_id == operation.model_id]
        done = (at for at, later in enumerate(since) if later.ended_ns is not None and not later.given_up)
        return since[: next(done, len(since)) + 1]

    def took(self, exchange_ns: int) -> None:
        """So long took an exchange that was answered."""
        self.round_trip_ns = min(exchange_ns, self.round_trip_ns or exchange_ns)

    @property
    def hold_ns(self) -> int | None:
        """How long the service holds a poll with nothing to say, as far as its answers tell."""
        return self.alike.held_ns if self.pending_ns is None else self.pending_ns

    def failed(self, failure: Failure) -> None:
        """The program raised something, maybe not for the first time."""
        self.last_failure = failure
        if not failure.is_interruption and len(self.failures) < FAILURES_KEPT:
            self.failures.setdefault((failure.error_type, failure.message), failure)

    def next_submit_ns(self, at_ns: int) -> int | None:
        """The next e of any request after this one: the loop is one thread, so ours was suspended by then."""
        index = bisect_left(self.submit_starts, at_ns + 1)
        return self.submit_starts[index] if index < len(self.submit_starts) else None

    def seen_outside(self, thread: int, at_ns: int) -> None:
        """A thread waits for a result, or makes another call: the call before has returned."""
        call = self.inside.get(thread)
        if call is not None and at_ns > call.began_ns:
            call.returned_ns = at_ns
            del self.inside[thread]

    def add(self, operation: Operation) -> None:
        """An operation that was not known."""
        self.operations[operation.operation_id] = operation
        insert(self.order, operation)
        if operation.family == "training":
            operation.place = self.trained = self.trained + 1
            insert(self.training, operation)

    def called(self, operation: Operation, thread_name: str) -> None:
        """A thread is inside this call, until it is seen outside."""
        self.seen_outside(operation.thread, operation.began_ns)
        self.inside.setdefault(operation.thread, operation)
        self.thread_names[operation.thread] = thread_name

    def sampled(self, wait: Wait) -> None:
        """A thread was seen to wait: it is outside every call."""
        self.thread_names[wait.thread] = wait.thread_name
        self.seen_outside(wait.thread, wait.began_ns)
        self.waits.setdefault(wait.thread, Waits()).tell(wait)

    def wall_ns(self, monotonic_ns: int) -> int:
        """Wall time of a stamp of this process: to order processes, never to measure."""
        return monotonic_ns + self.offset_ns


def insert(items: list[Any], item: Any) -> None:
    """Keep `items` sorted by begin: nearly always it is the last."""
    if not items or items[-1].began_ns <= item.began_ns:
        items.append(item)
    else:
        insort(items, item, key=attrgetter("began_ns"))
