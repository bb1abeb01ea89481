"""One request's time, from its submission to its result: the definitions of facts/partition.md §2 and the traps of §7.

`cut_line` gives contiguous segments and the doubts about their boundaries. It is pure: what it needs to know of the
rest of the run is in `Surroundings`.

Rules that come from measurements (facts/partition.md):
- a paused answer describes the interval that it ends; the last poll after a pause holds both, and is split by the
  usual compute of the same operation and size (§7.2); without history it counts as queue, and the bounds say so;
- ready is only known to lie between the last pending answer and h (§7.1);
- when the SDK's loop was busy for more than 40 % of the sending, acceptance was stamped late and compute is counted
  from the last send (§7.3); a stamp at the end of a busy run may be as old as the run's begin (§7.4);
- what was stamped may have happened earlier by as much as the threads of its exchange waited for a processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tinkertape.diagnosis.parts import (
    BEHIND,
    COMPUTE,
    DELIVER,
    QUEUE,
    RESUBMIT,
    RETRIEVE,
    SEND,
    SERIALISE,
    WAIT_LOCAL,
    Doubt,
    Quality,
    Segment,
    clipped,
    joined,
)
from tinkertape.diagnosis.records import Attempt, BusyRuns, Line, Poll, Request, Submit
from tinkertape.diagnosis.stamps import STARVED, busy_ns, earliest

LOOP_BUSY_SHARE = 0.4  # of the sending; above it acceptance was stamped late (facts/partition.md §7.3)
SAME_HOLD = 0.01  # two polls this alike were both answered at the service's timeout (704 and 703 ms, §7.1)
SAME_HOLD_NS = 4_000_000
LATE = 3  # a submission of so many round trips and more may have been accepted long before its end
LATE_NS = 5_000_000
AT_ONCE = 1.2  # a last poll of so many round trips was answered at once: ready may be older (§6, latency)
AT_ONCE_NS = 2_000_000
UNASKED_NS = 5_000_000  # between two polls lies the loop's own work, 1 ms; more is a loop that could not run


@dataclass(slots=True)
class Surroundings:
    """What one line must know of the rest of its process."""

    busy: BusyRuns = field(default_factory=BusyRuns)
    usual_compute_ns: int | None = None  # the median of same operation and size in this run
    hold_ns: int | None = None  # how long the service holds a poll that it answers as pending
    round_trip_ns: int = 0
    behind_until: int | None = None  # the predecessors' h: until then the model worked for them
    behind_from: int = 0  # the earliest that it may have been free of them: their h may be late
    held_until: int | None = None  # the end of the predecessors' pause, as best known
    next_submit: dict[int, int] = field(default_factory=dict)  # e → the next e of any request


@dataclass(slots=True)
class _Round:
    """A submission with its outer attempts, and the request that came of it."""

    submits: list[Submit]
    attempts: list[Attempt]
    request: Request | None = None

    @property
    def accepted_ns(self) -> int | None:
        return self.submits[-1].accepted_ns if self.submits else None


@dataclass(slots=True)
class Cut:
    """The segments of a line or an operation, and what is not known of them."""

    segments: list[Segment] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    split_by_history: bool = False

    @property
    def began_ns(self) -> int:
        return self.segments[0].began_ns

    @property
    def ended_ns(self) -> int:
        return self.segments[-1].ended_ns

    def add(self, part: str, began_ns: int, ended_ns: int) -> int:
        if ended_ns > began_ns:
            self.segments.append(Segment(part, began_ns, ended_ns))
        return max(began_ns, ended_ns)

    def doubt(self, before: str, after: str, low: int, at: int, high: int, quality: Quality, method: str) -> None:
        if high > low:
            self.doubts.append(Doubt(before, after, min(low, at), at, max(at, high), quality, method))


def cut_line(line: Line, requests: dict[str, Request], until_ns: int, around: Surroundings) -> Cut:
    """Cut a line from its first stamp to `until_ns` (the operation's end, or now)."""
    cut = Cut()
    rounds = _rounds(line, requests)
    cursor = None
    for index, each in enumerate(rounds):
        cursor = _cut_submission(cut, each, cursor, until_ns, around)
        if each.request is not None:
            cursor = _cut_request(cut, each.request, cursor, until_ns, around)
        elif index + 1 == len(rounds):
            cursor = cut.add(DELIVER, cursor, cursor)
    cut.segments = joined(clipped(cut.segments, 0, until_ns))
    return cut


def _rounds(line: Line, requests: dict[str, Request]) -> list[_Round]:
    rounds: list[_Round] = []
    current: list[Submit] = []
    for submit in line.submits:
        current.append(submit)
        if submit.accepted_ns is not None:
            rounds.append(_Round(current, [], requests.get(submit.request_id or "")))
            current = []
    if current or not rounds:
        rounds.append(_Round(current, []))
    for attempt in line.attempts:
        home = rounds[0]
        for candidate in rounds[1:]:
            if candidate.submits and attempt.began_ns >= candidate.submits[0].began_ns:
                home = candidate
        home.attempts.append(attempt)
    return rounds


def _cut_submission(cut: Cut, each: _Round, cursor: int | None, until_ns: int, around: Surroundings) -> int:
    """serialise, wait_local and send, up to a; answers the cursor."""
    first = each.submits[0].began_ns if each.submits else each.attempts[0].began_ns
    end = _submission_end(each, until_ns)
    sent = each.attempts[0].began_ns if each.attempts else end
    if cursor is not None:  # a later submission of the same task: the request before was lost (410)
        cursor = cut.add(RESUBMIT, cursor, min(sent, end))
    else:
        encoded = _encoded_ns(each, first, sent, around)
        cursor = cut.add(SERIALISE, first, min(encoded, end))
        cursor = cut.add(WAIT_LOCAL, cursor, min(sent, end))
    if not each.attempts:
        return max(cursor, end)
    return _cut_send(cut, each, cursor, end, around)


def _encoded_ns(each: _Round, first: int, sent: int, around: Surroundings) -> int:
    known = each.submits[0].serialise_ns if each.submits else None
    if known is not None:
        return min(first + known, sent)
    return min(sent, around.next_submit.get(first, sent))


def _submission_end(each: _Round, until_ns: int) -> int:
    if each.accepted_ns is not None:
        return min(each.accepted_ns, until_ns)
    ends = [submit.ended_ns for submit in each.submits] + [attempt.ended_ns for attempt in each.attempts]
    if any(end is None for end in ends) or not ends:
        return until_ns
    if each.submits:  # it was turned away: the SDK tries again, or gives up when the operation ends
        return until_ns
    return min(max(end for end in ends if end is not None), until_ns)


def _cut_send(cut: Cut, each: _Round, cursor: int, end: int, around: Surroundings) -> int:
    attempts = each.attempts
    for attempt, following in pairwise(attempts):
        if attempt.status_code in (429, 402) and attempt.path.endswith("asample") and attempt.ended_ns is not None:
            cursor = cut.add(SEND, cursor, attempt.ended_ns)
            cursor = cut.add(WAIT_LOCAL, cursor, following.began_ns)
    last = attempts[-1]
    if each.request is None:  # a plain call: its answer is its result
        answered = last.headers_ns if last.headers_ns is not None and not last.failed else end
        cursor = cut.add(SEND, cursor, min(answered, end))
        low = max(last.began_ns, answered - last.starved_ns)
        cut.doubt(SEND, RETRIEVE, low, answered, answered, "bounded", STARVED)
        return cut.add(RETRIEVE, cursor, end)
    span = end - last.began_ns
    if span > 0 and busy_ns(around.busy, last.began_ns, end) > LOOP_BUSY_SHARE * span:
        cut.doubt(SEND, COMPUTE, last.began_ns, last.began_ns, end, "inferred", "counted from the last send: busy loop")
        return cut.add(SEND, cursor, last.began_ns)
    low, method = earliest(around.busy, end, last.starved_ns, "the SDK's loop was busy when it was accepted")
    if span - last.starved_ns > LATE * around.round_trip_ns + LATE_NS:  # uploading, or accepted long before
        low = min(low, last.began_ns + around.round_trip_ns)
        method = "accepted somewhere while it was sent"
    cut.doubt(SEND, _first_part(each.request), max(low, last.began_ns), end, end, "bounded", method)
    return cut.add(SEND, cursor, end)


def _first_part(request: Request) -> str:
    """The part that acceptance begins: a request that finds its queue held is not computed."""
    first = min(request.polls, key=lambda poll: poll.headers_ns, default=None)
    paused = first.paused if first is not None else None
    return COMPUTE if paused is None else QUEUE + paused


def _cut_request(cut: Cut, request: Request, accepted: int, until_ns: int, around: Surroundings) -> int:
    """queue, compute, retrieve and deliver, from a to d."""
    polls = sorted(request.polls, key=lambda poll: poll.headers_ns)
    ended = min(until_ns, request.done_ns if request.done_ns is not None else until_ns)
    waiting, result = _until_result(polls)
    intervals = _intervals(waiting, result, accepted, ended if result is None else result.headers_ns, request)
    cursor = _cut_waiting(cut, intervals, around)
    if result is not None:
        _doubt_ready(cut, waiting, result, accepted, around)
        cursor = _cut_retrieve(cut, polls[polls.index(result) :], cursor)
    return cut.add(DELIVER, cursor, ended)


def _until_result(polls: Sequence[Poll]) -> tuple[list[Poll], Poll | None]:
    waiting: list[Poll] = []
    for poll in polls:
        if poll.final or poll.outcome == "metadata":
            return waiting, poll
        waiting.append(poll)
    return waiting, None


@dataclass(slots=True)
class _Interval:
    """Between two answers: what the second one said of it."""

    began_ns: int
    ended_ns: int
    late_ns: int  # its first answer may have been given so much earlier
    paused: str | None
    shared: str | None = None  # the reason of the pause before: this interval may hold its rest
    first: bool = False  # the first paused answer: the pause began somewhere in here
    unknown: bool = False  # answered by an error: the state is not known


def _intervals(
    waiting: Sequence[Poll], result: Poll | None, accepted: int, ended: int, request: Request
) -> list[_Interval]:
    out: list[_Interval] = []
    before: str | None = None
    cursor, late_ns = accepted, 0
    for poll in waiting:
        unknown = poll.outcome == "error" and poll.paused is None
        paused = poll.paused
        out.append(
            _Interval(
                cursor,
                max(cursor, poll.headers_ns),
                late_ns,
                paused,
                before if paused is None and not unknown else None,
                paused is not None and before is None,
                unknown,
            )
        )
        before = before if unknown else paused
        cursor, late_ns = max(cursor, poll.headers_ns), poll.starved_ns
    if out and request.done_ns is not None and result is None and waiting[-1].outcome == "error":
        return out  # it failed of that answer; what is left is delivering the failure
    tail = max(cursor, ended)
    still_paused = before if result is None and request.done_ns is None else None
    out.append(_Interval(cursor, tail, late_ns, still_paused, before if still_paused is None else None))
    return out


def _cut_waiting(cut: Cut, intervals: list[_Interval], around: Surroundings) -> int:
    shares = _compute_shares(intervals, around)
    for index, each in enumerate(intervals):
        if each.paused is not None:
            cut.add(QUEUE + each.paused, each.began_ns, each.ended_ns)
            if each.first:
                low, at, high = each.began_ns - each.late_ns, each.began_ns, each.ended_ns
                cut.doubt(COMPUTE, QUEUE + each.paused, low, at, high, "bounded", "known at the polls' answers")
        elif each.shared is not None:
            _cut_shared(cut, each, each.shared, shares[index], around)
        else:
            _cut_compute(cut, each.began_ns, each.ended_ns, around)
            if each.unknown:
                low, high = each.began_ns, each.ended_ns
                cut.doubt(QUEUE + "unknown", COMPUTE, low, low, high, "inferred", "polls answered with an error")
    return intervals[-1].ended_ns


def _compute_shares(intervals: list[_Interval], around: Surroundings) -> dict[int, int]:
    """How much of each interval that a pause shares was compute: what is usual, less what is certain, from the end."""
    usual, floor = around.usual_compute_ns, around.behind_until or 0
    certain = sum(
        max(0, each.ended_ns - max(each.began_ns, floor))
        for each in intervals
        if each.paused is None and each.shared is None
    )
    left = None if usual is None else max(0, usual - certain)
    shares: dict[int, int] = {}
    for index in range(len(intervals) - 1, -1, -1):
        each = intervals[index]
        if each.shared is not None:
            length = each.ended_ns - each.began_ns
            final = index == len(intervals) - 1
            shares[index] = (0 if final else length) if left is None else min(length, left)
            left = None if left is None else left - shares[index]
    return shares


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
    pending = max(accepted, waiting[-1].headers_ns - waiting[-1].starved_ns) if waiting else accepted
    low, method = earliest(around.busy, ready, result.starved_ns, "the SDK's loop was busy when it was ready")
    after_pause = bool(waiting) and waiting[-1].paused is not None
    if after_pause:
        pass  # where in that interval it was ready is the doubt about the pause's end
    elif _at_the_timeout(waiting, result, around.hold_ns):
        low, method = pending, "the service answers at its timeout"
    elif result.held_ns <= max(AT_ONCE * around.round_trip_ns + AT_ONCE_NS, _unasked_ns(waiting, result, accepted)):
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


def _cut_retrieve(cut: Cut, polls: Sequence[Poll], cursor: int) -> int:
    """From the headers of the result to its last byte; with metadata first, less the wait for in-flight bytes."""
    cursor = cut.add(RETRIEVE, cursor, polls[0].ended_ns)
    for poll in polls[1:]:
        cursor = cut.add(WAIT_LOCAL, cursor, poll.began_ns)
        cursor = cut.add(RETRIEVE, cursor, poll.ended_ns)
    last = polls[-1]
    low = max(last.headers_ns, last.ended_ns - last.starved_ns)
    cut.doubt(RETRIEVE, DELIVER, low, cursor, cursor, "bounded", STARVED)
    return cursor
