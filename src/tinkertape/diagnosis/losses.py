"""What broken connections cost: the time that an operation was sending, or fetching its result, while they broke.

It is read from the operation's cut, so that a finding and the partition never say two things: a poll that broke while
the service computed cost nothing. What no operation waited for (a client is made before the first call) stands under
`OUTSIDE`, with its whole length.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from tinkertape.diagnosis.connections import SETUP_PATHS, Spell, Wait
from tinkertape.diagnosis.parts import RESUBMIT, RETRIEVE, SEND
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Operation, OperationKey
from tinkertape.diagnosis.segments import Cutter, OperationCut

OUTSIDE = -1  # the number that stands for no operation
SETTLED_NS = 30_000_000_000  # after the end: what is usual in this run is known as well as it will be
TOLD_EACH_NS = 1_000_000_000
GROWTH = 0.05  # an outage of an hour is told 130 times, and not at each of its polls
LOOK_BACK = 64  # operations that may have begun before a spell and still wait inside their call
NETWORK = (SEND, RESUBMIT, RETRIEVE)

Interval = tuple[int, int]


def lost_ns(cutter: Cutter, spells: Sequence[Spell], now_ns: int) -> dict[OperationKey, int]:
    """What these spells cost each operation of a process, in ns; those that they cost nothing are in it, too."""
    process = cutter.process
    waits = [wait for spell in spells for wait in spell.waits.values()]
    costs: dict[OperationKey, int] = {}
    for operation in _touched(process, waits):
        over = [_span(wait, now_ns) for wait in waits if wait.operation_id in (None, operation.operation_id)]
        costs[operation.key] = within(cutter.cut(operation), NETWORK, over)
    outside = [_span(wait, now_ns) for wait in waits if wait.operation_id is None and wait.path in SETUP_PATHS]
    alone = [span for span in outside if not _caller(process, span[0])]
    if alone:
        costs[process.id, OUTSIDE] = sum(ended - began for began, ended in union(alone))
    return costs


def touched(process: Process, spells: Sequence[Spell]) -> Iterator[OperationKey]:
    """The operations that these spells may have cost something."""
    waits = [wait for spell in spells for wait in spell.waits.values()]
    return (operation.key for operation in _touched(process, waits))


def is_settled(process: Process, spells: Sequence[Spell]) -> bool:
    """Does nothing more get known of what they cost?"""
    now = process.last_ns
    for spell in spells:
        if spell.answered_ns is None or now < spell.answered_ns + SETTLED_NS:
            return False
        numbers = [wait.operation_id for wait in spell.waits.values()]
        ends = [process.operations[number].ended_ns for number in numbers if number in process.operations]
        if any(ended is None or now < ended + SETTLED_NS for ended in ends):
            return False
    return True


def is_due(told_ns: int, began_ns: int, now_ns: int) -> bool:
    """Is it time to tell a growing finding anew? Each second, later more rarely: telling it costs what it is long."""
    return now_ns - told_ns >= max(TOLD_EACH_NS, int(GROWTH * (told_ns - began_ns)))


def _span(wait: Wait, now_ns: int) -> Interval:
    return wait.began_ns, max(wait.began_ns, wait.ended_ns(now_ns))


def _touched(process: Process, waits: Iterable[Wait]) -> Iterable[Operation]:
    found: dict[int, Operation] = {}
    for wait in waits:
        if wait.operation_id is not None:
            operation = process.operations.get(wait.operation_id)
        else:
            operation = _caller(process, wait.began_ns) if wait.path in SETUP_PATHS else None
        if operation is not None:
            found[operation.operation_id] = operation
    return found.values()


def _caller(process: Process, at_ns: int) -> Operation | None:
    """The call that was made before an instant, and had not sent anything of its own by then."""
    index = bisect_left(process.order, at_ns, key=attrgetter("began_ns"))
    for operation in reversed(process.order[max(0, index - LOOK_BACK) : index]):
        first = operation.first_submit_ns
        if (operation.ended_ns is None or operation.ended_ns > at_ns) and (first is None or first > at_ns):
            return operation
    return None


def within(cut: OperationCut, parts: Sequence[str], over: Sequence[Interval]) -> int:
    """How long an operation was in some parts in these intervals, in ns."""
    spans = union(over)
    return sum(
        max(0, min(high, ended) - max(low, began))
        for part, low, high in cut.segments
        if part in parts
        for began, ended in spans
    )


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same instants, each in one interval, in order."""
    out: list[Interval] = []
    for began, ended in sorted(intervals):
        if out and began <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], ended))
        elif ended > began:
            out.append((began, ended))
    return out
