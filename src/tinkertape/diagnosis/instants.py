"""Whose each instant of a thread is: facts/partition.md §5, and §4 where only samples say that the thread waits.

Inside a public call an instant is that call's; in a claim it is the operation's that is waited for, of several the one
that is done last. Where neither is known and samples of the thread's frames say that it waits, the operation is found
by the evidence there is, in this order:

    an operation that was done when the wait ended       (of several, the one nearest to its end)
    what another thread has a claim on, now               (a join, `Executor.map`: of several, the one done last)
    what was done within the wait                         (of several, the one done last)
    anything in flight, done last                         (a wait on futures, a loop asleep in `select`, a wait that
                                                          goes on, or begins again at once)

A wait of another kind that ended while all that was in flight went on was for something else: your code, and the doubt
is counted. All of it is a walk over what begins and ends, O(n log n).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Claim, Operation
from tinkertape.diagnosis.segments import OperationCut
from tinkertape.diagnosis.stamps import runs_within
from tinkertape.diagnosis.waits import Wait

_OPEN = 1 << 62
NEAR_NS = 25_000_000  # a result that came so long before a sampled wait ended, at most, has ended it
LATE_NS = 20_000_000  # it may be stamped after the thread that it woke went on, and the end is known to a sample


class Overlap(NamedTuple):
    """What reaches into a stretch: operations, claims, and the thread's sampled waits.

    `only_ended`: a sampled wait is for what ended it, or one on futures for the thread's own; a thread of a pool that
    waits for work is not waiting for whatever is in flight.
    """

    operations: list[OperationCut]
    claims: list[Claim]
    waits: Sequence[Wait] = ()
    only_ended: bool = False


class State(NamedTuple):
    """A stretch in which nothing changed."""

    began_ns: int
    ended_ns: int
    operation: Operation | None  # whose part the time is
    in_flight: bool
    wait: Wait | None = None  # known from samples only
    perhaps: Operation | None = None  # not said to be waited for, and not ruled out


class _Change(NamedTuple):
    """Something begins (+1) or ends (-1): a flight, a call, a wait, another thread's claim, a busy run of the loop."""

    at_ns: int
    change: int
    what: str
    operation: Operation | None = None
    is_async: bool = False
    wait: Wait | None = None


def states(process: Process, thread: int, overlap: Overlap, began: int, ended: int) -> Iterator[State]:
    """Cut [began, ended) of one thread at every change."""
    walk = _Walk(thread, overlap.only_ended)
    cursor = began
    for change in _changes(process, thread, overlap, began, ended):
        if change.at_ns > cursor:
            yield walk.state(cursor, change.at_ns)
            cursor = change.at_ns
        walk.take(change)
    if ended > cursor:
        yield walk.state(cursor, ended)


def _changes(process: Process, thread: int, overlap: Overlap, began: int, ended: int) -> list[_Change]:
    spans = chain(
        _of_operations(thread, overlap), _of_claims(process, thread, overlap, began, ended), _of_waits(overlap)
    )
    changes: list[_Change] = []
    for low, high, what, operation, is_async, wait in spans:
        low, high = max(low, began), ended if high is None else min(high, ended)
        if high > low:
            changes.append(_Change(low, 1, what, operation, is_async, wait))
            changes.append(_Change(high, -1, what, operation, is_async, wait))
    changes.sort(key=lambda each: (each.at_ns, each.change))
    return changes


class _Span(NamedTuple):
    """What a change begins, and another one ends; None: it is open."""

    began_ns: int
    ended_ns: int | None
    what: str
    operation: Operation | None = None
    is_async: bool = False
    wait: Wait | None = None


def _of_operations(thread: int, overlap: Overlap) -> Iterator[_Span]:
    for cut in overlap.operations:
        operation = cut.operation
        yield _Span(cut.flight_ns, None if operation.ended_ns is None else cut.ended_ns, "flight", operation)
        if operation.thread == thread:
            yield _Span(operation.began_ns, cut.call_ended_ns, "call", operation)
            yield _Span(cut.call_ended_ns, cut.call_left_ns, "claim", operation)  # the call blocks


def _of_claims(process: Process, thread: int, overlap: Overlap, began: int, ended: int) -> Iterator[_Span]:
    loops: set[int] = set()
    for claim in overlap.claims:
        if claim.thread == thread:
            yield _Span(claim.began_ns, claim.ended_ns, "claim", claim.operation, claim.loop is not None)
            if claim.loop is not None:
                loops.add(claim.loop)
        elif overlap.waits:
            yield _Span(claim.began_ns, claim.ended_ns, "other", claim.operation)
    for loop in loops:
        runs = process.user_busy.get(loop)
        for low, high in runs_within(runs, began, ended) if runs is not None else ():
            yield _Span(low, high, "busy")


def _of_waits(overlap: Overlap) -> Iterator[_Span]:
    done = sorted(cut.operation.ended_ns for cut in overlap.operations if cut.operation.ended_ns is not None)
    for index, wait in enumerate(overlap.waits):
        if wait.goes_on:
            yield _Span(wait.began_ns, None, "sampled", wait=wait)
            continue
        following = overlap.waits[index + 1].began_ns if index + 1 < len(overlap.waits) else _OPEN
        known = _ended_by(wait, done, following)
        yield _Span(known.began_ns, known.ended_ns, "sampled", wait=known)


def _ended_by(wait: Wait, done: list[int], following_ns: int) -> Wait:
    """The wait, its end put at the result that came within the gap between samples in which it ended."""
    near = bisect_left(done, wait.ended_ns)
    found = min(done[max(0, near - 1) : near + 1], key=lambda at_ns: abs(at_ns - wait.ended_ns), default=None)
    if found is None or abs(found - wait.ended_ns) > wait.ended_unsure_ns or not wait.began_ns < found <= following_ns:
        return wait
    return replace(wait, ended_ns=found, ended_unsure_ns=0)


class _Walk:
    """What is under way at one instant."""

    def __init__(self, thread: int, only_ended: bool) -> None:
        self._calls: dict[int, Operation] = {}
        self._claims = _Claims()
        self._flights = 0
        self._busy = 0
        self._evidence = _Evidence(thread if only_ended else None)

    def take(self, change: _Change) -> None:
        operation = change.operation
        if change.what == "busy":
            self._busy += change.change
        elif change.what == "sampled":
            self._evidence.sampled(change.wait if change.change > 0 else None)
        elif operation is None:
            return
        elif change.what == "flight":
            self._flights += change.change
            self._evidence.flying(operation, change.change)
        elif change.what == "claim":
            self._claims.change(operation, change.change, change.is_async)
        elif change.what == "other":
            self._evidence.claimed(operation, change.change)
        elif change.change > 0:
            self._calls[operation.operation_id] = operation
        else:
            self._calls.pop(operation.operation_id, None)

    def state(self, began_ns: int, ended_ns: int) -> State:
        in_flight = self._flights > 0
        if self._calls:
            return State(began_ns, ended_ns, next(reversed(self._calls.values())), in_flight)
        if self._busy > 0 and self._claims.blocking <= 0:  # the loop runs your callbacks
            return State(began_ns, ended_ns, None, in_flight)
        operation = self._claims.critical()
        wait = self._evidence.wait
        if operation is not None or wait is None or not in_flight:
            return State(began_ns, ended_ns, operation, in_flight)
        guess, perhaps = self._evidence.guess(wait)
        return State(began_ns, ended_ns, guess, in_flight, wait, perhaps)


class _Ranked:
    """Operations by a rank, the least first; what is over is dropped when it comes to the top."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, Operation]] = []

    def push(self, rank: int, operation: Operation) -> None:
        heapq.heappush(self._heap, (rank, -operation.began_ns, operation.operation_id, operation))

    def first(self, among: Container[int]) -> Operation | None:
        while self._heap and self._heap[0][2] not in among:
            heapq.heappop(self._heap)
        return self._heap[0][3] if self._heap else None


class _Many:
    """Operations that something is open on, as often as it is; the one that is done last is critical."""

    def __init__(self) -> None:
        self.open: dict[int, int] = {}
        self.operations: dict[int, Operation] = {}
        self._ranked = _Ranked()

    def count(self, operation: Operation, change: int) -> None:
        number = operation.operation_id
        now = self.open.get(number, 0) + change
        if now > 0:
            self.open[number], self.operations[number] = now, operation
        else:
            self.open.pop(number, None)
            self.operations.pop(number, None)
        if change > 0:
            self._ranked.push(-_done_ns(operation), operation)

    def critical(self) -> Operation | None:
        return self._ranked.first(self.open)


class _Claims(_Many):
    """The claims of the thread itself."""

    def __init__(self) -> None:
        super().__init__()
        self.blocking = 0  # those that are no awaits: nothing of yours can run

    def change(self, operation: Operation, change: int, is_async: bool) -> None:
        self.count(operation, change)
        if not is_async:
            self.blocking += change


class _Evidence:
    """For what a sampled wait may be: what is in flight, and what other threads have a claim on.

    `only_of`: this thread's wait is for what ended it, or for what the thread itself asked for; None: for anything.
    """

    def __init__(self, only_of: int | None) -> None:
        self._only_of = only_of
        self._flying = _Many()
        self._own = _Many() if only_of is not None else self._flying
        self._claimed = _Many()
        self.wait: Wait | None = None
        self._near, self._inside, self._claimed_inside = _Ranked(), _Ranked(), _Ranked()

    def flying(self, operation: Operation, change: int) -> None:
        self._flying.count(operation, change)
        if operation.thread == self._only_of:
            self._own.count(operation, change)
        if change > 0 and self.wait is not None:
            self._rank_flying(self.wait, operation)

    def claimed(self, operation: Operation, change: int) -> None:
        self._claimed.count(operation, change)
        if change > 0 and self.wait is not None:
            self._rank_claimed(self.wait, operation)

    def sampled(self, wait: Wait | None) -> None:
        """This wait begins; None: it ended."""
        self.wait = wait
        if wait is None:
            return
        self._near, self._inside, self._claimed_inside = _Ranked(), _Ranked(), _Ranked()
        for operation in self._flying.operations.values():
            self._rank_flying(wait, operation)
        for operation in self._claimed.operations.values():
            self._rank_claimed(wait, operation)

    def guess(self, wait: Wait) -> tuple[Operation | None, Operation | None]:
        """The operation that it is for, else the one that it may be for."""
        any_of = self._only_of is None
        found = self._near.first(self._flying.open)
        if found is None and any_of:
            found = self._claimed_inside.first(self._claimed.open) or self._claimed.critical()
        if found is None and (wait.is_for_futures or (any_of and (wait.goes_on or wait.followed))):
            found = self._own.critical()
        if found is None and any_of:
            found = self._inside.first(self._flying.open)
        return (found, None) if found is not None else (None, self._flying.critical())

    def _rank_flying(self, wait: Wait, operation: Operation) -> None:
        done = _done_ns(operation)
        if wait.goes_on:
            return
        if -LATE_NS <= wait.ended_ns - done <= NEAR_NS:
            self._near.push(abs(wait.ended_ns - done), operation)
        if done <= wait.ended_ns + LATE_NS:
            self._inside.push(-done, operation)

    def _rank_claimed(self, wait: Wait, operation: Operation) -> None:
        done = _done_ns(operation)
        if not wait.goes_on and done <= wait.ended_ns + LATE_NS:
            self._claimed_inside.push(-done, operation)


def _done_ns(operation: Operation) -> int:
    return _OPEN if operation.ended_ns is None else operation.ended_ns
