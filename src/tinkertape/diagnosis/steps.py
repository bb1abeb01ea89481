"""The steps of a training loop, and the stretches around them, so that they tile the run.

A step is what the program said in its scope (`step=3`), else it is inferred from the rhythm of `optim_step`: it ends
when the claim of its `optim_step` ends, or with that operation if nobody claims it. The first begins with the first
training call, every other where the one before ended. A `forward_backward` that failed and was followed by a call with
another batch is a step of its own (the batch was skipped); the same batch again is a retry inside the step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Operation

TRAINING = ("forward_backward", "forward_backward_custom", "optim_step")


@dataclass(slots=True)
class Stretch:
    """A step, or (`step` None) the time before the first, between or after them."""

    began_ns: int
    ended_ns: int
    step: int | None = None
    inferred: bool = True
    open: bool = False
    operations: list[Operation] = field(default_factory=list)  # of the step itself

    @property
    def failed(self) -> bool:
        return any(operation.failure is not None for operation in self.operations)


def stretches(process: Process, began_ns: int, ended_ns: int, live: bool) -> list[Stretch]:
    """Steps and what lies around them, tiling [began, ended). `live`: the run goes on, so the last step may be open."""
    said = [operation for operation in process.order if operation.step is not None]
    steps = _said(said, ended_ns) if said else _inferred(process.training, ended_ns, live)
    out: list[Stretch] = []
    cursor = began_ns
    for step in steps:
        low = max(cursor, min(step.began_ns, ended_ns))
        if not out or said:
            if low > cursor:
                out.append(Stretch(cursor, low))
        else:
            low = cursor
        step.began_ns, step.ended_ns = low, max(low, min(step.ended_ns, ended_ns))
        out.append(step)
        cursor = step.ended_ns
    if cursor < ended_ns or not out:
        out.append(Stretch(cursor, max(cursor, ended_ns)))
    return out


def main_process(processes: Sequence[Process]) -> Process | None:
    """The process whose wall time is the run's: the one that trains, else the one that calls most, else the first."""
    if not processes:
        return None
    return max(
        processes,
        key=lambda each: (
            sum(operation.name == "optim_step" for operation in each.training),
            len(each.order),
            -each.wall_ns(each.first_ns),
        ),
    )


def main_thread(process: Process) -> int:
    """The thread that takes the steps, else the one that waits most, else the one that calls most."""
    takes = Counter(operation.thread for operation in process.training if operation.name in TRAINING)
    waits = Counter(claim.thread for claim in process.claims)
    calls = Counter(operation.thread for operation in process.order)
    for votes in (takes, waits, calls):
        if votes:
            return max(votes, key=lambda thread: votes[thread])
    return 0


def left_ns(operation: Operation) -> int | None:
    """When the program was done with an operation: w1, or D if nobody claimed it. None while that is open."""
    if any(claim.ended_ns is None for claim in operation.claims):
        return None
    if operation.claims:
        return max(claim.ended_ns or 0 for claim in operation.claims)
    return operation.ended_ns


def _said(operations: Sequence[Operation], ended_ns: int) -> list[Stretch]:
    groups: dict[Any, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(operation.step, []).append(operation)
    out = []
    for number, (said, members) in enumerate(groups.items(), 1):
        ends = [left_ns(operation) for operation in members]
        is_open = None in ends
        ended = ended_ns if is_open else max(end for end in ends if end is not None)
        step = said if isinstance(said, int) and not isinstance(said, bool) else number
        out.append(Stretch(members[0].began_ns, ended, step, False, is_open, members))
    return out


def _inferred(training: Sequence[Operation], ended_ns: int, live: bool) -> list[Stretch]:
    loop = [operation for operation in training if operation.name in TRAINING]
    out: list[Stretch] = []
    members: list[Operation] = []
    for index, operation in enumerate(loop):
        members.append(operation)
        following = loop[index + 1] if index + 1 < len(loop) else None
        if operation.name == "optim_step" or _skipped(operation, following):
            end = left_ns(operation)
            is_open = end is None
            if end is None or (live and following is None and not operation.claims and operation.name == "optim_step"):
                end, is_open = ended_ns, True  # it may be claimed yet
            out.append(Stretch(members[0].began_ns, end, len(out) + 1, True, is_open, members))
            members = []
    if members:
        ends = [left_ns(operation) for operation in members]
        is_open = live or None in ends
        end = ended_ns if is_open else max(each for each in ends if each is not None)
        out.append(Stretch(members[0].began_ns, end, len(out) + 1, True, is_open, members))
    return out


def _skipped(operation: Operation, following: Operation | None) -> bool:
    """Did this batch fail, and the loop go on with another one?"""
    if operation.failure is None or following is None or following.name == "optim_step":
        return False
    if operation.name == "optim_step":
        return False
    keys = ("datum_count", "token_count")
    return any(operation.measurements.get(key) != following.measurements.get(key) for key in keys)
