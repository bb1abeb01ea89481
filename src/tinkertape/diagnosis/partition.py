"""Where the time went: the wall time of a stretch, cut into parts that add up to it exactly.

The arithmetic is facts/partition.md §5, definition C. For one thread of yours, each instant of [began, ended) belongs
to one part: inside a public call, to that call; while you wait, to the part of the operation that you wait for and that
is done last; else to your code if something of yours is at the service, and to idle if nothing is. A wait that only
samples of the thread's frames saw (§4) is inferred (instants.py says for what). Where a busy run of
the SDK's loop that is not the operation's own covers its sending, retrieving, delivering or local waiting, the part is
`wait_local:sdk_loop`. An operation that stands behind another of the same model is in the part of the one it waits for;
so is one that waits for its turn while the SDK still submits the one before (§3: its wait is that one's send).

Invariants: the pieces tile the stretch, in integer nanoseconds of one process's clock, so the parts sum to it exactly;
every bound is a sum over the doubts inside the pieces. Cost: O(n log n) in the operations, claims and runs inside.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tinkertape.diagnosis.instants import Overlap, State, states
from tinkertape.diagnosis.parts import (
    BEHIND,
    COMPUTE,
    DELIVER,
    IDLE,
    QUEUE,
    RETRIEVE,
    SDK_LOOP,
    SEND,
    WAIT_LOCAL,
    YOUR_CODE,
    Quality,
    Segment,
)
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Operation, OperationKey
from tinkertape.diagnosis.segments import LOOK_BACK, SUBMITTING, Cutter, OperationCut
from tinkertape.diagnosis.stamps import runs_within
from tinkertape.diagnosis.waits import Wait

_BY_THE_LOOP = (SEND, RETRIEVE, DELIVER, WAIT_LOCAL)
SAMPLED = "sampled frames"
ELSEWHERE = "a wait that no result ended"
MATTER_NS = 2_000_000  # doubts of up to this, or 1 % of the part, leave it measured


class Piece(NamedTuple):
    """One stretch of the wall: its part, and the operation whose part it is."""

    part: str
    began_ns: int
    ended_ns: int
    operation: Operation | None


@dataclass(slots=True)
class Partition:
    """A stretch of one thread's wall time, cut. The parts sum to `ended_ns - began_ns`."""

    began_ns: int
    ended_ns: int
    parts: Counter[str] = field(default_factory=Counter)
    less: Counter[str] = field(default_factory=Counter)  # by how much less a part may have lasted
    more: Counter[str] = field(default_factory=Counter)
    methods: dict[str, Counter[tuple[Quality, str]]] = field(default_factory=dict)
    covered_ns: int = 0  # something of yours was at the service
    waited: dict[OperationKey, Counter[str]] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    final: bool = False

    @property
    def wall_ns(self) -> int:
        return self.ended_ns - self.began_ns

    def add(self, other: Partition) -> None:
        """Count another stretch's parts in; its pieces are left where they are."""
        self.parts.update(other.parts)
        self.less.update(other.less)
        self.more.update(other.more)
        for part, methods in other.methods.items():
            self.methods.setdefault(part, Counter()).update(methods)
        self.covered_ns += other.covered_ns

    def quality(self, part: str) -> tuple[Quality, str]:
        """How a part's time is known, and by which method; doubts of up to 1 % or 2 ms do not count."""
        matter = max(self.parts[part] // 100, MATTER_NS)
        methods = self.methods.get(part, Counter())
        for quality in ("inferred", "bounded"):
            found = {method: ns for (kind, method), ns in methods.items() if kind == quality}
            if sum(found.values()) > matter:
                return quality, max(found, key=lambda method: found[method])
        return "measured", ""

    def bounds_ns(self, part: str) -> tuple[int, int]:
        """The least and the most that a part may have lasted."""
        value = self.parts[part]
        return max(0, value - self.less[part]), min(self.wall_ns, value + self.more[part])


def partition(
    process: Process, thread: int, overlap: Overlap, began_ns: int, ended_ns: int, cutter: Cutter
) -> Partition:
    """Cut [began, ended) of one thread. `overlap` may hold more than what overlaps; `cutter` knows now."""
    result = Partition(began_ns, ended_ns)
    if ended_ns <= began_ns:
        result.final = True
        return result
    cuts = {cut.operation.operation_id: cut for cut in overlap.operations}
    for state in states(process, thread, overlap, began_ns, ended_ns):
        for piece, source in _pieces_of(process, state, cuts, cutter):
            _keep(result, piece)
            if source is not None:
                _count_doubts(result, piece, source)
            if state.wait is not None and source is not None:
                _count_sampled(result, piece, state.wait)
        if state.perhaps is not None:
            _count_perhaps(result, process, state, cuts.get(state.perhaps.operation_id) or cutter.cut(state.perhaps))
        if state.in_flight:
            result.covered_ns += state.ended_ns - state.began_ns
    result.final = all(cut.final for cut in overlap.operations) and all(
        claim.ended_ns is not None for claim in overlap.claims
    )
    return result


def _pieces_of(
    process: Process, state: State, cuts: dict[int, OperationCut], cutter: Cutter
) -> Iterable[tuple[Piece, OperationCut | None]]:
    """What a state is made of, each piece with the cut whose doubts are its own."""
    if state.operation is None:
        yield Piece(YOUR_CODE if state.in_flight else IDLE, state.began_ns, state.ended_ns, None), None
    else:
        cut = cuts.get(state.operation.operation_id) or cutter.cut(state.operation)
        yield from _pieces(process, cut, state.began_ns, state.ended_ns)


def _pieces(process: Process, cut: OperationCut, began: int, ended: int) -> Iterable[tuple[Piece, OperationCut]]:
    """The operation's parts in a state; after its end what is left is delivering."""
    for segment in _within(cut, began, ended):
        if segment.part == BEHIND:
            yield from _behind(process, cut, segment)
        elif segment.part == WAIT_LOCAL and cut.turn:
            yield from _in_turn(process, cut, segment)
        elif segment.part in _BY_THE_LOOP:
            yield from _by_the_loop(process, cut, segment)
        else:
            yield Piece(segment.part, segment.began_ns, segment.ended_ns, cut.operation), cut


def _within(cut: OperationCut, began: int, ended: int) -> Iterable[Segment]:
    segments = cut.segments
    index = max(0, bisect_right(segments, began, key=lambda each: each.began_ns) - 1)
    cursor = began
    for part, low, high in segments[index:]:
        if low >= ended:
            break
        low, high = max(low, cursor), min(high, ended)
        if high > low:
            if low > cursor:
                yield Segment(DELIVER, cursor, low)
            yield Segment(part, low, high)
            cursor = high
    if cursor < ended:
        yield Segment(DELIVER, cursor, ended)


def _behind(process: Process, cut: OperationCut, segment: Segment) -> Iterable[tuple[Piece, OperationCut]]:
    """While it stands behind another, the time is in the part of the first in line: its pause, or its compute."""
    cursor = segment.began_ns
    for ready, other in cut.ahead:
        end = min(ready, segment.ended_ns)
        if end <= cursor:
            continue
        for part, low, high in _within(other, cursor, end):
            shown = part if part.startswith(QUEUE) or part in (COMPUTE, BEHIND) else BEHIND
            if shown == BEHIND and part == BEHIND:
                shown = COMPUTE  # its own predecessor is not known any more; the model computed for you
            yield Piece(shown, low, high, other.operation), other
        cursor = end
    if cursor < segment.ended_ns:
        yield Piece(BEHIND, cursor, segment.ended_ns, cut.operation), cut


def _in_turn(process: Process, cut: OperationCut, segment: Segment) -> Iterable[tuple[Piece, OperationCut]]:
    """While it waits for its turn, the time is in the part of the one that is being submitted, the first of a row."""
    cursor, row = segment.began_ns, list(_row(cut))
    while cursor < segment.ended_ns:
        end, source, part = segment.ended_ns, cut, WAIT_LOCAL
        for other in row:
            now = next(iter(_within(other, cursor, end)))
            end = now.ended_ns
            if now.part != WAIT_LOCAL:
                source, part = (other, now.part) if now.part in SUBMITTING else (cut, WAIT_LOCAL)
                break
        piece = Segment(part, cursor, end)
        if part in _BY_THE_LOOP:
            yield from _by_the_loop(process, source, piece)
        else:
            yield Piece(part, cursor, end, source.operation), source
        cursor = end


def _row(cut: OperationCut) -> Iterable[OperationCut]:
    """Those before it, each waiting for the next, the nearest first."""
    for _ in range(LOOK_BACK):
        if not cut.turn:
            return
        cut = cut.turn[0]
        yield cut


def _by_the_loop(process: Process, cut: OperationCut, segment: Segment) -> Iterable[tuple[Piece, OperationCut]]:
    part, cursor, ended = segment
    for low, high in runs_within(process.sdk_busy, cursor, ended):
        if any(low < own_ended and own_began < high for own_began, own_ended in cut.own):
            continue
        low, high = max(low, cursor), min(high, ended)
        if low > cursor:
            yield Piece(part, cursor, low, cut.operation), cut
        if high > low:
            yield Piece(SDK_LOOP, low, high, cut.operation), cut
        cursor = max(cursor, high)
    if cursor < ended:
        yield Piece(part, cursor, ended, cut.operation), cut


def _keep(result: Partition, piece: Piece) -> None:
    length = piece.ended_ns - piece.began_ns
    result.parts[piece.part] += length
    if piece.operation is not None:
        result.waited.setdefault(piece.operation.key, Counter())[piece.part] += length
    last = result.pieces[-1] if result.pieces else None
    if last is not None and last.part == piece.part and last.operation is piece.operation:
        result.pieces[-1] = Piece(last.part, last.began_ns, piece.ended_ns, last.operation)
    else:
        result.pieces.append(piece)


def _count_doubts(result: Partition, piece: Piece, cut: OperationCut) -> None:
    began, ended = piece.began_ns, piece.ended_ns
    for before, after, low, at, high, quality, method in cut.cut.doubts:
        if piece.part not in (before, after):
            continue
        earlier = max(0, min(at, ended) - max(low, began))
        later = max(0, min(high, ended) - max(at, began))
        if piece.part == before and earlier:  # it may have ended before this
            _move(result, before, after, earlier, quality, method)
        if piece.part == after and later:  # it may have begun after this
            _move(result, after, before, later, quality, method)


def _count_sampled(result: Partition, piece: Piece, wait: Wait) -> None:
    """Only samples say that the thread waited: so much is inferred, and both ends of the wait are uncertain."""
    length = piece.ended_ns - piece.began_ns
    result.methods.setdefault(piece.part, Counter())["inferred", SAMPLED] += length
    first = min(wait.began_ns + wait.began_unsure_ns, piece.ended_ns) - piece.began_ns
    last = 0 if wait.goes_on else piece.ended_ns - max(wait.ended_ns - wait.ended_unsure_ns, piece.began_ns)
    unsure = min(length, max(0, first) + max(0, last))
    result.less[piece.part] += unsure
    result.more[piece.part] += unsure
    result.less[YOUR_CODE] += unsure
    result.more[YOUR_CODE] += unsure


def _count_perhaps(result: Partition, process: Process, state: State, cut: OperationCut) -> None:
    """The thread waited, for something else as far as is known: it may have been for this operation."""
    for piece, _ in _pieces(process, cut, state.began_ns, state.ended_ns):
        length = piece.ended_ns - piece.began_ns
        _move(result, YOUR_CODE, piece.part, length, "bounded", ELSEWHERE)


def _move(result: Partition, loser: str, winner: str, length: int, quality: Quality, method: str) -> None:
    result.less[loser] += length
    result.more[winner] += length
    result.methods.setdefault(loser, Counter())[quality, method] += length
    result.methods.setdefault(winner, Counter())[quality, method] += length
