"""One request's time, from its submission to its result: the definitions of facts/partition.md §2 and the traps of §7.

`cut_line` gives contiguous segments and the doubts about their boundaries. It is pure: what it needs to know of the
rest of the run is in `Surroundings`. What lies between acceptance and the result is in `waiting.py`.

Rules that come from measurements (facts/partition.md):
- when the SDK's loop was busy for more than 40 % of the sending, acceptance was stamped late and compute is counted
  from the last send (§7.3); a stamp at the end of a busy run may be as old as the run's begin (§7.4);
- what was stamped may have happened earlier by as much as the threads of its exchange waited for a processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tinkertape.diagnosis.cut import Cut, Surroundings
from tinkertape.diagnosis.parts import (
    COMPUTE,
    DELIVER,
    QUEUE,
    RESUBMIT,
    RETRIEVE,
    SEND,
    SERIALISE,
    WAIT_LOCAL,
    clipped,
    joined,
)
from tinkertape.diagnosis.records import Attempt, Line, Poll, Request, Submit
from tinkertape.diagnosis.stamps import STARVED, busy_ns, earliest
from tinkertape.diagnosis.waiting import cut_waiting

LOOP_BUSY_SHARE = 0.4  # of the sending; above it acceptance was stamped late (facts/partition.md §7.3)
LATE = 3  # a submission of so many round trips and more may have been accepted long before its end
LATE_NS = 5_000_000
UNANSWERED = "an attempt that was not answered may have been taken"


@dataclass(slots=True)
class _Round:
    """A submission with its outer attempts, and the request that came of it."""

    submits: list[Submit]
    attempts: list[Attempt]
    request: Request | None = None

    @property
    def accepted_ns(self) -> int | None:
        return self.submits[-1].accepted_ns if self.submits else None


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
        cut.doubt(
            SEND, COMPUTE, last.began_ns, last.began_ns, end, "inferred", "the SDK's loop was busy while it was sent"
        )
        return cut.add(SEND, cursor, last.began_ns)
    low, method = earliest(
        around.busy, around.stalls, end, last.starved_ns, "the SDK's loop was busy when it was accepted"
    )
    unanswered = next((attempt for attempt in attempts if attempt.broken and attempt.connected), None)
    if unanswered is not None:
        low = min(low, unanswered.began_ns + around.round_trip_ns // 2)
        cut.doubt(SEND, _first_part(each.request), low, end, end, "inferred", UNANSWERED)
        return cut.add(SEND, cursor, end)
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
    cursor, result = cut_waiting(cut, polls, accepted, ended, request, around)
    if result is not None:
        cursor = _cut_retrieve(cut, polls[polls.index(result) :], cursor)
    return cut.add(DELIVER, cursor, ended)


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
