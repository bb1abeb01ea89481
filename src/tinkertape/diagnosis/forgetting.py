"""What a fold that runs as long as the program need not keep: the records of what is settled.

A tape's fold keeps everything, for the report. Live, only the detectors read; they are told of an operation once, when
it settles, and keep their own figures. So nothing can ask any more for an operation that ended `KEPT_NS` ago, unless a
detector says that it holds it, or it stood before another one in its model's queue whose time is not cut for good.
Usual times, the service's poll hold and the shortest round trip are figures of the process, and stay.

Bounds: what is kept grows with what is open, not with the run. Detectors hold the newest `HELD_KEPT` operations at
most. An operation that is open for very long is cut with the last `RUNS_KEPT` busy runs and `SUBMITS_KEPT` submissions;
of its polls only those that a cut looks at stay.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Collection, Iterable

from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import BusyRuns, Operation, Poll, Request
from tinkertape.diagnosis.segments import ahead_of
from tinkertape.diagnosis.steps import TRAINING, steps_ended

KEPT_NS = 2_000_000_000  # after its end an operation can be ahead of one whose start is told late
BEFORE_NS = 1_000_000_000  # busy runs so long before the first operation: a stamp may lie at the end of one
HELD_KEPT = 2000
RUNS_KEPT = 10_000
SUBMITS_KEPT = 10_000
POLLS_KEPT = 64
TROUBLES_KEPT = 100


def forget(process: Process, held: Collection[int] = ()) -> None:
    """Drop what no detector can ask for any more; `held` are operations that one still does. Costs what is there, not
    what was.
    """
    kept = _needed(process, held)
    gone = [operation for operation in process.order if operation.operation_id not in kept]
    if gone:
        _forget_operations(process, kept, gone)
    for operation in process.order:
        if operation.segments is not None:
            operation.segments.ahead.clear()  # the chain of those before it, back to the first
            operation.segments.turn.clear()
        for request in operation.requests.values():
            thin_polls(request)
    since_ns = min((operation.began_ns for operation in process.order), default=process.last_ns - KEPT_NS)
    for runs in (process.sdk_busy, process.stalls, *process.user_busy.values()):
        _forget_runs(runs, since_ns - BEFORE_NS)
    index = bisect_left(process.submit_starts, since_ns)
    del process.submit_starts[: max(index, len(process.submit_starts) - SUBMITS_KEPT)]
    _forget_waits(process, since_ns)
    process.pauses = [pause for pause in process.pauses if pause.ended_ns is None]
    del process.retries[:-TROUBLES_KEPT]
    process.failures.clear()


def leave_out(process: Process, names: Collection[str] | None, mask: int) -> None:
    """Forget open calls whose number has a bit of `mask`: their end is not going to be told. `names`: only of these."""
    gone = [each for each in process.order if each.ended_ns is None and each.operation_id & mask]
    gone = [each for each in gone if names is None or each.name in names]
    if gone:
        left = {operation.operation_id for operation in gone}
        _forget_operations(process, {key: each for key, each in process.operations.items() if key not in left}, gone)


def _needed(process: Process, held: Collection[int]) -> dict[int, Operation]:
    """Those that are open, not settled or held, and those that their cuts look at."""
    recent_ns = process.last_ns - KEPT_NS
    needed = {operation.operation_id: operation for operation in process.ended}
    newest = heapq.nlargest(HELD_KEPT, held)
    needed.update({number: process.operations[number] for number in newest if number in process.operations})
    for operation in process.order:
        if operation.ended_ns is None or operation.ended_ns > recent_ns:
            needed[operation.operation_id] = operation
    waiting = [operation for operation in needed.values() if operation.segments is None]
    while waiting:
        operation = waiting.pop()
        first = operation.first_submit_ns
        for other in ahead_of(process, operation, operation.began_ns if first is None else first):
            if other.operation_id not in needed:
                needed[other.operation_id] = other
                if other.segments is None:
                    waiting.append(other)
    return needed


def _forget_operations(process: Process, kept: dict[int, Operation], gone: list[Operation]) -> None:
    _count_steps(process, kept)
    process.order, process.training = _only(process.order, kept), _only(process.training, kept)
    process.operations = {number: process.operations[number] for number in kept}
    process.claims = [claim for claim in process.claims if claim.operation.operation_id in kept]
    process.open_claims = {
        key: claim for key, claim in process.open_claims.items() if claim.operation.operation_id in kept
    }
    process.inside = {thread: call for thread, call in process.inside.items() if call.operation_id in kept}
    lines = [line for operation in gone for line in operation.lines.values()]
    unanswered = {id(attempt) for line in lines for attempt in line.attempts if attempt.ended_ns is None}
    if unanswered:
        process.attempts = {key: each for key, each in process.attempts.items() if id(each) not in unanswered}
    for operation in gone:
        for request_id in operation.requests:
            if process.requests.get(request_id, (None,))[0] is operation:
                del process.requests[request_id]


def _count_steps(process: Process, kept: dict[int, Operation]) -> None:
    trained = [operation for operation in process.training if operation.name in TRAINING]
    if trained:
        process.model_before = trained[-1].model_id
    process.steps_before += steps_ended(trained) - steps_ended(_only(trained, kept))


def _only(operations: Iterable[Operation], kept: dict[int, Operation]) -> list[Operation]:
    return [operation for operation in operations if operation.operation_id in kept]


def _forget_waits(process: Process, since_ns: int) -> None:
    """What samples saw is for the report alone: the last of each thread stays, to be told on."""
    for thread, waits in list(process.waits.items()):
        if waits.seen and waits.seen[-1].ended_ns < since_ns:
            del process.waits[thread]
        else:
            del waits.seen[:-1]
            waits.told.clear()
    known = {operation.thread for operation in process.order} | set(process.waits)
    process.thread_names = {thread: name for thread, name in process.thread_names.items() if thread in known}


def _forget_runs(runs: BusyRuns, until_ns: int) -> None:
    """Those that ended before; the last two stay, whatever their age."""
    count = len(runs.ended_ns)
    index = min(max(bisect_left(runs.ended_ns, until_ns), count - RUNS_KEPT), count - 2)
    if index > 0:
        del runs.began_ns[:index], runs.ended_ns[:index]


def thin_polls(request: Request) -> None:
    """Of many answers in a row that say the same, keep the first and the last, and each that was held longest so far:
    the cut between two of them is the same.
    """
    polls = request.polls
    if len(polls) <= POLLS_KEPT:
        return
    kept: list[Poll] = []
    longest = -1
    for index, poll in enumerate(polls):
        says = _says(poll)
        inside = 0 < index < len(polls) - 1 and says == _says(polls[index - 1]) == _says(polls[index + 1])
        waits = says == ("pending", None)
        if not inside or (waits and poll.held_ns > longest) or poll.final:
            kept.append(poll)
        if waits:
            longest = max(longest, poll.held_ns)
    request.polls = kept


def _says(poll: Poll) -> tuple[str, str | None]:
    return poll.outcome, poll.paused
