"""One request between acceptance and its result: queue, compute, and what lies where polls brought no answer.

An answer describes the interval that it ends (facts/partition.md §2). Where an answer is an error, the state is not
known and counts as compute; a later answer that says "not yet" proves that it was no more than that. Where polls broke
until the result came at once, it was ready somewhere in the *gap* since the last answer: compute is then what is usual
for the operation in this run, and the rest is retrieving, which the network did not let happen. Without a history a gap
of one broken poll counts as compute, and a longer one as retrieving; the bounds hold all of it either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinkertape.diagnosis.cut import Cut, Surroundings
from tinkertape.diagnosis.parts import BEHIND, COMPUTE, QUEUE, RETRIEVE, Quality
from tinkertape.diagnosis.records import Poll, Request
from tinkertape.diagnosis.stamps import busy_ns, earliest

SAME_HOLD = 0.01  # two polls this alike were both answered at the service's timeout (704 and 703 ms, §7.1)
SAME_HOLD_NS = 4_000_000
AT_ONCE = 1.2  # a last poll of so many round trips was answered at once: ready may be older (§6, latency)
AT_ONCE_NS = 2_000_000
HELD = 3  # round trips, for a new connection takes two; a poll that took longer was held by the service
HELD_NS = 5_000_000
SILENT_NS = 1_000_000_000  # a connection that breaks so long after nothing got through had been dead since
UNASKED_NS = 5_000_000  # between two polls lies the loop's own work, 1 ms; more is a loop that could not run
BROKEN = "polls brought no answer"
GIVEN_UP = "the call before it was given up, and may have been computed on"
ERRORS = "polls answered with an error"


@dataclass(slots=True)
class _Interval:
    """Between two answers: what the second one said of it."""

    began_ns: int
    ended_ns: int
    late_ns: int  # its begin may lie so much earlier: the first answer was stamped late, or said nothing of the state
    paused: str | None = None
    shared: str | None = None  # the reason of the pause before: this interval may hold its rest
    first: bool = False  # the first paused answer: the pause began somewhere in here
    unknown: bool = False  # answered by an error: the state is not known
    gap: bool = False  # polls broke, and then the result was there at once: it was ready somewhere in here
    long: bool = False  # a gap of several polls, or longer than one is held


def cut_waiting(
    cut: Cut, polls: Sequence[Poll], accepted: int, until_ns: int, request: Request, around: Surroundings
) -> tuple[int, Poll | None]:
    """queue and compute, from a to h; answers the cursor and the poll that brought the result."""
    waiting, result = _until_result(polls)
    intervals = _intervals(
        waiting, result, accepted, until_ns if result is None else result.headers_ns, request, around
    )
    shares = _compute_shares(intervals, around)
    for index, each in enumerate(intervals):
        if each.gap:
            _cut_gap(cut, each, shares[index], around)
        elif each.paused is not None:
            cut.add(QUEUE + each.paused, each.began_ns, each.ended_ns)
            if each.first:
                low, at, high = each.began_ns - each.late_ns, each.began_ns, each.ended_ns
                cut.doubt(COMPUTE, QUEUE + each.paused, low, at, high, "bounded", "known at the polls' answers")
        elif each.unknown:
            _cut_compute(cut, each.began_ns, each.ended_ns, around)
            low, high = each.began_ns, each.ended_ns
            cut.doubt(QUEUE + (each.shared or "unknown"), COMPUTE, low, low, high, "inferred", ERRORS)
        elif each.shared is not None:
            _cut_shared(cut, each, each.shared, shares[index], around)
        else:
            _cut_compute(cut, each.began_ns, each.ended_ns, around)
    if around.given_up:
        began, ended = intervals[0].began_ns, intervals[-1].ended_ns
        cut.doubt(BEHIND, COMPUTE, began, began, ended, "bounded", GIVEN_UP)
    if result is not None and not intervals[-1].gap:
        _doubt_ready(cut, waiting, result, accepted, around)
    return intervals[-1].ended_ns, result


def _until_result(polls: Sequence[Poll]) -> tuple[list[Poll], Poll | None]:
    waiting: list[Poll] = []
    for poll in polls:
        if poll.final or poll.outcome == "metadata":
            return waiting, poll
        waiting.append(poll)
    return waiting, None


def _is_unknown(poll: Poll) -> bool:
    return poll.outcome == "error" and poll.paused is None


def _intervals(
    waiting: Sequence[Poll], result: Poll | None, accepted: int, ended: int, request: Request, around: Surroundings
) -> list[_Interval]:
    out: list[_Interval] = []
    before: str | None = None
    lost = _lost(waiting, result, around)
    asked = _before_the_gap(waiting, lost, around)
    cursor, late_ns = accepted, 0
    for poll in asked:
        unknown, paused, at = _is_unknown(poll), poll.paused, max(cursor, poll.headers_ns)
        shared = before if paused is None else None
        out.append(_Interval(cursor, at, late_ns, paused, shared, paused is not None and before is None, unknown))
        late_ns = late_ns + at - cursor if unknown else poll.starved_ns
        before = before if unknown else paused
        cursor = at
    failed = request.done_ns is not None and result is None and bool(waiting) and waiting[-1].outcome == "error"
    if lost:
        end = max(cursor, waiting[-1].headers_ns if failed else ended)
        is_long = lost > 1 or (around.hold_ns is not None and end - cursor > around.hold_ns)
        out.append(_Interval(cursor, end, late_ns, shared=before, gap=True, long=is_long))
        return out
    if failed:
        return out  # it failed of that answer; what is left is delivering the failure
    still_paused = before if result is None and request.done_ns is None else None
    out.append(_Interval(cursor, max(cursor, ended), late_ns, still_paused, before if still_paused is None else None))
    return out


def _lost(waiting: Sequence[Poll], result: Poll | None, around: Surroundings) -> int:
    """How many of the last polls say nothing, one of them broken, with no later answer that says "not yet"."""
    if result is not None and _was_held(result, around):
        return 0
    number = 0
    while number < len(waiting) and _is_unknown(waiting[-1 - number]):
        number += 1
    return number if any(poll.broken for poll in waiting[len(waiting) - number :]) else 0


def _before_the_gap(waiting: Sequence[Poll], lost: int, around: Surroundings) -> Sequence[Poll]:
    """The polls that say something of the state; so does one that was held until its connection broke.

    It was not if nothing else got through for a while before, or if the service had answered it long since.
    """
    if not lost:
        return waiting
    first = waiting[-lost]
    held = first.broken and not first.timed_out and _was_held(first, around)
    latest = first.headers_ns - SILENT_NS
    silent = any(first.began_ns <= began < latest for began in around.silent_from)
    silent = silent or (around.hold_ns is not None and first.held_ns > around.hold_ns + SILENT_NS)
    return waiting[: len(waiting) - lost + (held and not silent)]


def _was_held(poll: Poll, around: Surroundings) -> bool:
    return poll.held_ns > HELD * around.round_trip_ns + HELD_NS


def _compute_shares(intervals: list[_Interval], around: Surroundings) -> dict[int, int]:
    """How much of each gap, and of each interval that a pause shares, was compute: what is usual, less what is certain,
    from the end.
    """
    usual, floor = around.usual_compute_ns, around.behind_until or 0
    certain = sum(
        max(0, each.ended_ns - max(each.began_ns, floor))
        for each in intervals
        if not each.gap and each.paused is None and (each.unknown or each.shared is None)
    )
    left = None if usual is None else max(0, usual - certain)
    shares: dict[int, int] = {}
    for index in range(len(intervals) - 1, -1, -1):
        each = intervals[index]
        if not each.gap and (each.shared is None or each.unknown):
            continue
        free = max(0, each.ended_ns - max(each.began_ns, floor)) if each.gap else each.ended_ns - each.began_ns
        final = index == len(intervals) - 1
        shares[index] = min(free, left) if left is not None else 0 if (each.long if each.gap else final) else free
        left = None if left is None else left - shares[index]
    return shares


def _cut_gap(cut: Cut, each: _Interval, compute_ns: int, around: Surroundings) -> None:
    began, ended = each.began_ns, each.ended_ns
    free = min(ended, max(began, around.behind_until or 0))  # of its predecessors, as best known
    ready = min(ended, free + compute_ns)
    _cut_compute(cut, began, ready, around)
    cut.add(RETRIEVE, ready, ended)
    cut.split_by_history = True  # now, or as soon as there is one
    cut.ready_ns = ready
    last = BEHIND if ready == free > began else COMPUTE
    cut.doubt(last, RETRIEVE, began - each.late_ns, ready, ended, "inferred", BROKEN)
    first = COMPUTE if ready > began else RETRIEVE
    cut.doubt(QUEUE + (each.shared or "unknown"), first, began, began, ended, "inferred", BROKEN)


def _cut_shared(cut: Cut, each: _Interval, reason: str, compute_ns: int, around: Surroundings) -> None:
    began, ended, behind = each.began_ns, each.ended_ns, around.behind_until
    earliest_end = began - each.late_ns
    if behind is not None and behind > began:  # the pause was the predecessor's too: it ended when that one's did
        middle = max(began, min(around.held_until or began, behind, ended))
        cut.add(QUEUE + reason, began, middle)
        _cut_compute(cut, middle, ended, around)
        cut.split_by_history = True
        method = "by the predecessor's pause"
        cut.doubt(QUEUE + reason, BEHIND, earliest_end, middle, min(behind, ended), "inferred", method)
        return
    by_history = around.usual_compute_ns is not None
    middle = ended - compute_ns
    cut.add(QUEUE + reason, began, middle)
    cut.add(COMPUTE, middle, ended)
    quality: Quality = "inferred" if by_history else "bounded"
    method = "split by this run's usual compute" if by_history else "pause and compute share the last poll"
    cut.split_by_history = True  # now, or as soon as there is one
    cut.doubt(QUEUE + reason, COMPUTE, earliest_end, middle, ended, quality, method)


def _cut_compute(cut: Cut, began: int, ended: int, around: Surroundings) -> None:
    behind_until = around.behind_until
    if behind_until is not None and behind_until > began:
        middle = min(behind_until, ended)
        cut.add(BEHIND, began, middle)
        cut.add(COMPUTE, middle, ended)
        if middle < ended:
            cut.doubt(BEHIND, COMPUTE, began, middle, middle, "inferred", "in the order of submission")
        else:
            low = max(began, around.behind_from)
            cut.doubt(BEHIND, COMPUTE, low, middle, middle, "bounded", "the one before it may have been ready earlier")
        return
    cut.add(COMPUTE, began, ended)


def _doubt_ready(cut: Cut, waiting: Sequence[Poll], result: Poll, accepted: int, around: Surroundings) -> None:
    ready = result.headers_ns
    known = [poll for poll in waiting if not _is_unknown(poll)]
    pending = max(accepted, known[-1].headers_ns - known[-1].starved_ns) if known else accepted
    low, method = earliest(
        around.busy, around.stalls, ready, result.starved_ns, "the SDK's loop was busy when it was ready"
    )
    busy = busy_ns(around.busy, result.began_ns, ready) if result.on_loop else 0
    if busy:
        low = min(low, ready - busy - result.starved_ns)
    after_error = bool(waiting) and _is_unknown(waiting[-1])
    if waiting and waiting[-1].paused is not None:
        pass  # where in that interval it was ready is the doubt about the pause's end
    elif after_error:
        low, method = (low, method) if _was_held(result, around) else (pending, ERRORS)
    elif _at_the_timeout(waiting, result, around.hold_ns):
        low, method = pending, "the service answers at its timeout"
    elif result.held_ns - busy <= max(
        AT_ONCE * around.round_trip_ns + AT_ONCE_NS, _unasked_ns(waiting, result, accepted)
    ):
        low, method = pending, "the last poll was answered at once"
    cut.doubt(COMPUTE, RETRIEVE, max(low, pending), ready, ready, "bounded", method)


def _unasked_ns(waiting: Sequence[Poll], result: Poll, accepted: int) -> int:
    """How long nobody asked before the last poll: an answer that comes sooner than this may be as old as the gap."""
    gap_ns = result.began_ns - (waiting[-1].ended_ns if waiting else accepted)
    return gap_ns if gap_ns > UNASKED_NS else 0


def _at_the_timeout(waiting: Sequence[Poll], result: Poll, hold_ns: int | None) -> bool:
    """Was the result held as long as an answer that says "not yet"? Late stamps make both look longer."""
    own = [poll for poll in waiting if poll.paused is None and poll.outcome == "pending"]
    if own:
        longest = max(own, key=lambda poll: poll.held_ns)
        least, most = longest.held_ns, longest.headers_ns - longest.began_ns
    elif hold_ns is not None:
        least = most = hold_ns
    else:
        return False
    alike = max(int(SAME_HOLD * least), SAME_HOLD_NS)
    return result.held_ns - alike <= most and least <= result.headers_ns - result.began_ns + alike
