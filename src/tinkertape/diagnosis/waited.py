"""Who waited, of all the threads of a process: what a finding cost is the union of their waits, on the wall.

Each thread's time is cut as the run's own is (partition.py): of several operations that a thread waits for, the one
that is done last costs it, and the others nothing. What two threads waited at once counts once. Operations that took
longer than usual by a known amount cost the end of the wait for them, up to that amount.

Cost: a thread is cut from the first to the last of the operations concerned, and only if it waited for one of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from tinkertape.diagnosis.findings import Evidence
from tinkertape.diagnosis.instants import Overlap
from tinkertape.diagnosis.partition import Partition, Piece, partition
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Claim, Operation
from tinkertape.diagnosis.segments import Cutter

Interval = tuple[int, int]
_began = attrgetter("began_ns")


class Cost(NamedTuple):
    """What a finding cost: any thread, the run's own thread (None: it is another process), and who waited."""

    any_ns: int
    own_ns: int | None
    threads: tuple[int, ...]


class Charged(NamedTuple):
    """Parts that are another cause's between two instants."""

    parts: tuple[str, ...]
    began_ns: int
    ended_ns: int


class Waited:
    """The waits of one process. `own` is the thread whose partitions are known, None in another process."""

    def __init__(self, cutter: Cutter, own: int | None, partitions: Sequence[Partition]) -> None:
        self._cutter = cutter
        self._process = cutter.process
        self._own = own
        self._partitions = partitions

    def cost(self, evidence: Evidence, charged: Sequence[Charged] = ()) -> Cost:
        """What the run waited for what the evidence tells of, less what is `charged` to another cause already."""
        concerned = _operations(self._process, evidence)
        began, ended = self._reach(evidence, concerned.values())
        parts = evidence.parts or (evidence.part,) * bool(evidence.part)
        numbers = set(concerned) if evidence.costs_ns else None
        by_thread = {}
        for thread, pieces in self._pieces(began, ended, concerned.values() if evidence.costs_ns else None):
            found = [left for piece in pieces if _is_of(piece, parts, numbers) for left in _uncharged(piece, charged)]
            if found:
                by_thread[thread] = found
        costs = {number: cost for (_, number), cost in evidence.costs_ns.items()} or None
        own = _length(_costly(by_thread.get(self._own, []), costs)) if self._own is not None else None
        any_ns = _length(_costly(chain.from_iterable(by_thread.values()), costs))
        return Cost(any_ns, own, tuple(by_thread))

    def threads_in(self, began_ns: int, ended_ns: int) -> tuple[int, ...]:
        """The threads that waited for anything at some time in [began, ended)."""
        claims = (claim.thread for claim in self._claims(began_ns, ended_ns))
        sampled = (thread for thread, waits in self._process.waits.items() if waits.between(began_ns, ended_ns))
        return tuple(dict.fromkeys(chain(claims, sampled)))

    def _reach(self, evidence: Evidence, concerned: Iterable[Operation]) -> Interval:
        now = self._cutter.now_ns
        if not evidence.costs_ns:
            return evidence.began_ns, now if evidence.ended_ns is None else evidence.ended_ns
        began = min((operation.began_ns for operation in concerned), default=now)
        ends = [operation.ended_ns for operation in concerned]
        ends += [claim.ended_ns for operation in concerned for claim in operation.claims]
        return began, max((now if end is None else end for end in ends), default=now)

    def _pieces(
        self, began: int, ended: int, concerned: Iterable[Operation] | None
    ) -> Iterator[tuple[int, Iterable[Piece]]]:
        """Every thread that waited in [began, ended), and what its time there was; `concerned`: if it was for these."""
        if self._own is not None:
            mine = [each for each in self._partitions if each.began_ns < ended and each.ended_ns > began]
            yield self._own, _clipped(chain.from_iterable(each.pieces for each in mine), began, ended)
        claims: dict[int, list[Claim]] = {}
        for claim in self._claims(began, ended):
            claims.setdefault(claim.thread, []).append(claim)
        operations = self._operations(began, ended)
        calls = {operation.thread for operation in operations}
        sampled = {thread for thread, waits in self._process.waits.items() if waits.between(began, ended)}
        candidates = claims.keys() | calls | sampled
        if concerned is not None:
            callers = {operation.thread for operation in concerned}
            waiters = {claim.thread for operation in concerned for claim in operation.claims}
            candidates &= callers | waiters | sampled
        for thread in sorted(candidates - {self._own}):
            yield thread, self._cut(thread, operations, claims.get(thread, []), began, ended)

    def _cut(
        self, thread: int, operations: Sequence[Operation], claims: list[Claim], began: int, ended: int
    ) -> list[Piece]:
        waits = self._process.waits.get(thread)
        sampled = waits.between(began, ended) if waits is not None else []
        claimed = {claim.operation.operation_id for claim in claims}
        needed = [
            self._cutter.cut(operation)
            for operation in operations
            if sampled or operation.thread == thread or operation.operation_id in claimed
        ]
        overlap = Overlap(needed, claims, sampled, only_ended=True)
        return partition(self._process, thread, overlap, began, ended, self._cutter).pieces

    def _claims(self, began: int, ended: int) -> list[Claim]:
        claims = self._process.claims
        before = claims[: bisect_left(claims, ended, key=_began)]
        return [claim for claim in before if claim.ended_ns is None or claim.ended_ns > began]

    def _operations(self, began: int, ended: int) -> list[Operation]:
        order = self._process.order
        before = order[: bisect_left(order, ended, key=_began)]
        return [operation for operation in before if operation.ended_ns is None or operation.ended_ns > began]


def _operations(process: Process, evidence: Evidence) -> dict[int, Operation]:
    numbers = [number for _, number in evidence.costs_ns]
    return {number: process.operations[number] for number in numbers if number in process.operations}


def _is_of(piece: Piece, parts: Sequence[str], numbers: set[int] | None) -> bool:
    if parts and piece.part not in parts:
        return False
    return numbers is None or (piece.operation is not None and piece.operation.operation_id in numbers)


def _uncharged(piece: Piece, charged: Sequence[Charged]) -> list[Piece]:
    """What of a piece is charged to nobody else."""
    left = [piece]
    for each in charged:
        if piece.part in each.parts:
            left = [
                rest
                for one in left
                for rest in (
                    one._replace(ended_ns=min(one.ended_ns, each.began_ns)),
                    one._replace(began_ns=max(one.began_ns, each.ended_ns)),
                )
                if rest.ended_ns > rest.began_ns
            ]
    return left


def _clipped(pieces: Iterable[Piece], began: int, ended: int) -> Iterator[Piece]:
    for piece in pieces:
        if piece.began_ns < ended and piece.ended_ns > began:
            yield piece._replace(began_ns=max(piece.began_ns, began), ended_ns=min(piece.ended_ns, ended))


def _costly(pieces: Iterable[Piece], costs: Mapping[int, int] | None) -> list[Interval]:
    """The intervals that cost something: all of them, or of each operation's the last, up to what it cost."""
    if costs is None:
        return [(piece.began_ns, piece.ended_ns) for piece in pieces]
    by_operation: dict[int, list[Interval]] = {}
    for piece in pieces:
        if piece.operation is not None:
            by_operation.setdefault(piece.operation.operation_id, []).append((piece.began_ns, piece.ended_ns))
    out: list[Interval] = []
    for number, intervals in by_operation.items():
        left = costs[number]
        for began, ended in reversed(_joined(intervals)):
            low = max(began, ended - left)
            out.append((low, ended))
            left -= ended - low
            if left <= 0:
                break
    return out


def _joined(intervals: Iterable[Interval]) -> list[Interval]:
    """The same instants, each once, in order."""
    out: list[Interval] = []
    for began, ended in sorted(intervals):
        if out and began <= out[-1][1]:
            out[-1] = (out[-1][0], max(ended, out[-1][1]))
        else:
            out.append((began, ended))
    return out


def _length(intervals: Iterable[Interval]) -> int:
    return sum(ended - began for began, ended in _joined(intervals))
