"""One operation's time, cut into parts: facts/partition.md §2 and §3.

An operation with several requests is, at each instant, in the part of the request that is furthest behind. Requests
that overlap are one phase: in it, a request not yet started waits locally. Between two phases (a plain call of several
requests, the two halves of `forward_backward_custom`) it is nobody's request: your loss function, or the SDK.

A cut is kept on the operation (`Operation.segments`) once nothing can change it any more.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from operator import attrgetter

from tinkertape.diagnosis.cut import Cut, Surroundings
from tinkertape.diagnosis.history import History, was_hidden
from tinkertape.diagnosis.lines import cut_line
from tinkertape.diagnosis.parts import (
    BEHIND,
    CALL,
    DELIVER,
    QUEUE,
    RESUBMIT,
    RETRIEVE,
    SEND,
    SERIALISE,
    UNCLAIMED,
    WAIT_LOCAL,
    YOUR_LOSS_FN,
    Segment,
    clipped,
    joined,
    rank_of,
)
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Line, Operation, Submit

SETTLED_NS = 500_000_000  # after its end: by then the busy run that held its last stamp is on the tape too
_OPEN = 1 << 62
SUBMITTING = (WAIT_LOCAL, SERIALISE, SEND, RESUBMIT)
LOOK_BACK = 64  # operations of the same model that may still be ahead of one


@dataclass(slots=True)
class OperationCut:
    """An operation's segments from c0 to D (or now), and what a step must know of it."""

    operation: Operation
    segments: list[Segment]
    cut: Cut
    call_ended_ns: int  # min(c1, e): until then the caller's thread is inside the public call
    call_left_ns: int  # c1
    flight_ns: int  # from here to the end the service, or the SDK for it, has something of yours
    ended_ns: int
    final: bool
    own: list[tuple[int, int]] = field(default_factory=list)  # its serialising and decoding
    ahead: list[tuple[int, OperationCut]] = field(default_factory=list)  # predecessors of the model, with their h
    turn: list[OperationCut] = field(default_factory=list)  # the one before it, if that was not accepted at c1 yet

    def nanoseconds(self, part: str) -> int:
        """How long the operation was in a part."""
        return sum(ended - began for name, began, ended in self.segments if name == part)

    @property
    def ready_least_ns(self) -> int | None:
        """When its result may have been there at the earliest; None: no earlier than its answer was stamped."""
        doubts = [doubt for doubt in self.cut.doubts if doubt.after == RETRIEVE]
        return max(doubts, key=lambda doubt: doubt.high_ns).low_ns if doubts else None

    def doubt_ns(self, part: str, *, in_order: bool = False) -> tuple[int, int]:
        """By how much less, and by how much more, a part may have lasted; `in_order`: given that the model takes its
        requests in the order of submission.
        """
        less = more = 0
        for doubt in self.cut.doubts:
            if in_order and doubt.before == BEHIND:
                continue
            if doubt.before == part:
                less, more = less + doubt.at_ns - doubt.low_ns, more + doubt.high_ns - doubt.at_ns
            if doubt.after == part:
                less, more = less + doubt.high_ns - doubt.at_ns, more + doubt.at_ns - doubt.low_ns
        return less, more


class Cutter:
    """Cuts the operations of one process as of one moment; `now_ns` ends what is open. Each is cut once."""

    def __init__(self, process: Process, history: History, now_ns: int) -> None:
        self.process = process
        self.history = history
        self.now_ns = now_ns
        self._cuts: dict[int, OperationCut] = {}

    def cut(self, operation: Operation) -> OperationCut:
        """The operation's segments and doubts, from the cache where nothing can change them any more."""
        known: OperationCut | None = operation.segments
        if known is None:
            known = self._cuts.get(operation.operation_id)
        if known is None:
            known = self._cuts[operation.operation_id] = self._cut(operation)
        return known

    def _cut(self, operation: Operation) -> OperationCut:
        until = operation.ended_ns if operation.ended_ns is not None else max(self.now_ns, operation.began_ns)
        first = operation.first_submit_ns
        submitted = until if first is None else first
        left = operation.call_ended_ns
        if left is None:  # known at its stop only
            returned = operation.returned_ns
            left = min(until, max(self.now_ns, operation.began_ns) if returned is None else returned, submitted)
        call_ended = max(operation.began_ns, min(left, until, submitted))
        ahead = self._ahead(operation, operation.began_ns if first is None else first)
        turn = self._turn(operation, call_ended)
        around = self._surroundings(operation, ahead)
        cuts = [cut_line(line, operation.requests, until, around) for line in _telling(operation)]
        whole = _merged(operation, [cut for cut in cuts if cut.segments], call_ended, until)
        whole.segments = _with_setup(whole.segments, self.process, operation.began_ns, call_ended, self.now_ns)
        result = OperationCut(
            operation,
            whole.segments,
            whole,
            call_ended,
            max(left, call_ended),
            call_ended,
            until,
            self._is_settled(operation)
            and not whole.split_by_history
            and all(self._holds(cut) for cut in [*turn, *(cut for _, cut in ahead)]),
            _own_runs(operation, whole),
            [(ready, cut) for ready, cut in ahead if ready > call_ended],
            turn,
        )
        if result.final:
            operation.segments = result
        return result

    def _is_settled(self, operation: Operation) -> bool:
        if operation.ended_ns is None:
            return False
        return self.process.last_ns >= operation.ended_ns + SETTLED_NS or self.process.session_ended_ns is not None

    def _holds(self, cut: OperationCut) -> bool:
        """Can nothing change this cut, as far as those that stand behind it look at it?"""
        return self._is_settled(cut.operation) and not cut.cut.split_by_history

    def _ahead(self, operation: Operation, first: int) -> list[tuple[int, OperationCut]]:
        """What stands before it in the model's queue, with the time at which each of them was ready."""
        out = []
        for other in ahead_of(self.process, operation, first):
            ready = _ready_ns(other, self.now_ns)
            if ready is not None:
                cut = self.cut(other)
                out.append((min(ready, cut.cut.ready_ns or ready), cut))
        return out

    def _turn(self, operation: Operation, call_ended: int) -> list[OperationCut]:
        """The operation of the model before it, if the SDK was still submitting that: it submits one at a time."""
        before = before_it(self.process, operation)
        cut = self.cut(before) if before is not None else None
        return [cut] if cut is not None and submitted_ns(cut) > call_ended else []

    def _surroundings(self, operation: Operation, ahead: list[tuple[int, OperationCut]]) -> Surroundings:
        process = self.process
        split = len(operation.requests) == 1 and was_hidden(operation)  # what is usual splits it
        around = Surroundings(
            process.sdk_busy,
            self.history.usual_ns(operation, least=1) if split else None,
            process.hold_ns if operation.ended_ns is None else operation.hold_ns,
            (process.round_trip_ns if operation.ended_ns is None else operation.round_trip_ns) or 0,
        )
        around.stalls = process.stalls
        first = operation.first_submit_ns
        before = ahead_of(process, operation, operation.began_ns if first is None else first)
        around.given_up = operation.after_given_up or any(each.given_up for each in before)
        if process.connections.spells and was_hidden(operation):
            around.silent_from = [spell.began_ns for spell in process.connections.spells]
        if ahead:
            around.behind_until = max(ready for ready, _ in ahead)
            around.behind_from = max(min(ready, cut.ready_least_ns or ready) for ready, cut in ahead)
            held = [segment.ended_ns for _, cut in ahead for segment in cut.segments if segment.part.startswith(QUEUE)]
            around.held_until = max(held, default=None)
        for line in operation.lines.values():
            for submit in line.submits:
                if submit.serialise_ns is None and (following := process.next_submit_ns(submit.began_ns)) is not None:
                    around.next_submit[submit.began_ns] = following
        return around


def ahead_of(process: Process, operation: Operation, first_ns: int) -> list[Operation]:
    """Operations of the same model, handed over before and not ended when this one was: it takes them in order."""
    if operation.family != "training" or not operation.requests:
        return []
    training = process.training
    index = bisect_left(training, operation.began_ns, key=attrgetter("began_ns"))
    out = []
    for other in training[max(0, index - LOOK_BACK) : index]:
        if operation.place - other.place > LOOK_BACK or (other.ended_ns is not None and other.ended_ns <= first_ns):
            continue
        if _is_of_the_same_model(other, operation):
            out.append(other)
    return out


def _telling(operation: Operation) -> list[Line]:
    """The lines that say where the time went: not a submission that ended without an exchange of its own, where another
    line has one (`close` sends outside of what is stamped as its submission).
    """
    lines = list(operation.lines.values())
    told = [line for line in lines if line.attempts or any(_may_send(submit) for submit in line.submits)]
    return told or lines


def _may_send(submit: Submit) -> bool:
    return submit.ended_ns is None or submit.request_id is not None or submit.serialise_ns is not None


def before_it(process: Process, operation: Operation) -> Operation | None:
    """The operation of the same model that was called last before it."""
    if operation.family != "training":
        return None
    training = process.training
    index = bisect_left(training, operation.began_ns, key=attrgetter("began_ns"))
    recent = reversed(training[max(0, index - LOOK_BACK) : index])
    return next((each for each in recent if _is_of_the_same_model(each, operation)), None)


def _is_of_the_same_model(one: Operation, other: Operation) -> bool:
    return not one.model_id or not other.model_id or one.model_id == other.model_id


def submitted_ns(cut: OperationCut) -> int:
    """Until when an operation was being submitted."""
    return max((segment.ended_ns for segment in cut.segments if segment.part in SUBMITTING), default=0)


def claimed(result: OperationCut, now_ns: int) -> list[Segment]:
    """The segments up to the claim's end: deliver to w1 when a claim was waiting, else unclaimed until one came."""
    operation = result.operation
    segments = list(result.segments)
    if operation.ended_ns is None or not operation.claims:
        return segments
    waiting = [claim for claim in operation.claims if claim.began_ns <= operation.ended_ns]
    if waiting:
        ends = [claim.ended_ns if claim.ended_ns is not None else now_ns for claim in waiting]
        segments.append(Segment(DELIVER, operation.ended_ns, max(operation.ended_ns, min(ends))))
    else:
        first = operation.claims[0]
        segments.append(Segment(UNCLAIMED, operation.ended_ns, first.began_ns))
        segments.append(Segment(DELIVER, first.began_ns, first.ended_ns if first.ended_ns is not None else now_ns))
    return joined(segments)


def _ready_ns(operation: Operation, now_ns: int) -> int | None:
    stamps = [request.ready_ns for request in operation.requests.values()]
    if operation.ended_ns is None and (None in stamps or not stamps):
        return now_ns
    return max((stamp for stamp in stamps if stamp is not None), default=None)


def _merged(operation: Operation, cuts: list[Cut], call_ended: int, until: int) -> Cut:
    whole = Cut()
    cursor = whole.add(CALL, operation.began_ns, call_ended)
    gap = WAIT_LOCAL
    for phase in _phases(cuts):
        began = max(cursor, phase[0].began_ns)
        cursor = whole.add(gap, cursor, began)
        ended = min(until, max(cut.ended_ns for cut in phase))
        if ended > cursor:
            whole.segments += _furthest_behind(phase, cursor, ended)
            cursor = ended
        whole.doubts += [doubt for cut in phase for doubt in cut.doubts]
        whole.split_by_history = whole.split_by_history or any(cut.split_by_history for cut in phase)
        gap = YOUR_LOSS_FN if operation.name == "forward_backward_custom" else WAIT_LOCAL
    whole.add(DELIVER if cuts else WAIT_LOCAL, cursor, until)
    whole.segments = joined(whole.segments)
    whole.ready_ns = cuts[0].ready_ns if len(cuts) == 1 else None
    if len(cuts) > 1:
        edges = {segment.began_ns for segment in whole.segments} | {segment.ended_ns for segment in whole.segments}
        whole.doubts = [doubt for doubt in whole.doubts if doubt.at_ns in edges]
    return whole


def _with_setup(segments: list[Segment], process: Process, began: int, call_ended: int, now_ns: int) -> list[Segment]:
    """With what a call waits for inside, because an exchange for the whole client broke: it is sent again and again."""
    if not process.connections.setup:
        return segments
    for low, high in process.connections.setup_waits(began, call_ended, now_ns):
        high = min(high, call_ended)
        segments = [*clipped(segments, 0, low), Segment(SEND, low, high), *clipped(segments, high, _OPEN)]
    return joined(segments)


def _phases(cuts: list[Cut]) -> list[list[Cut]]:
    """The cuts in groups that overlap, each in the order of their begin."""
    if len(cuts) <= 1:
        return [cuts] if cuts else []
    phases: list[list[Cut]] = []
    ended = 0
    for cut in sorted(cuts, key=lambda each: each.began_ns):
        if phases and cut.began_ns < ended:
            phases[-1].append(cut)
        else:
            phases.append([cut])
        ended = max(ended, cut.ended_ns)
    return phases


def _furthest_behind(phase: list[Cut], began: int, ended: int) -> list[Segment]:
    """At each instant the part of the line that is furthest behind; before its begin a line waits locally."""
    if len(phase) == 1:
        return clipped(phase[0].segments, began, ended)
    changes: list[tuple[int, int, str]] = []
    for cut in phase:
        if cut.began_ns > began:
            changes += [(began, 1, WAIT_LOCAL), (cut.began_ns, -1, WAIT_LOCAL)]
        for part, low, high in cut.segments:
            low, high = max(low, began), min(high, ended)
            if high > low:
                changes += [(low, 1, part), (high, -1, part)]
        if cut.ended_ns < ended:
            changes += [(max(cut.ended_ns, began), 1, DELIVER), (ended, -1, DELIVER)]
    changes.sort()
    count: dict[str, int] = {}
    out: list[Segment] = []
    cursor = began
    for at, change, part in changes:
        if at > cursor:
            out.append(Segment(min(count, key=rank_of), cursor, at))
            cursor = at
        count[part] = count.get(part, 0) + change
        if count[part] == 0:
            del count[part]
    return out


def _own_runs(operation: Operation, whole: Cut) -> list[tuple[int, int]]:
    own = [(began, ended) for part, began, ended in whole.segments if part == SERIALISE]
    for request in operation.requests.values():
        if request.done_ns is not None and request.decode_ns:
            own.append((request.done_ns - request.decode_ns, request.done_ns))
    return own
