"""The steps of a training loop, and the stretches around them, so that they tile the run.

A step is what the program said in its scope (`step=3`), else it is inferred from the rhythm of `optim_step`: it ends
when the claim of its `optim_step` ends, or with that operation if nobody claims it. The first begins with the first
training call, every other where the one before ended. A `forward_backward` that failed and was followed by a call with
another batch is a step of its own (the batch was skipped); the same batch again is a retry inside the step. Where no
`optim_step` was called there are calls, and no steps; so there are after the last one, once the run has ended well.

Each model has a rhythm of its own. The run's steps are those of its main model: the one with the most `optim_step`s on
the main thread, and with it the models that the same thread trained before or after it. What another model did in
between, or in another thread, cuts no step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Operation

MAIN = "MainThread"  # what Python calls it
TRAINING = ("forward_backward", "forward_backward_custom", "optim_step")


@dataclass(slots=True)
class Stretch:
    """A step, or (`step` None) the time before the first, between or after them."""

    began_ns: int
    ended_ns: int
    step: int | None = None
    inferred: bool = True
    open: bool = False
    first: bool = False  # of its model: what lies before it is no step
    operations: list[Operation] = field(default_factory=list)  # of the step itself

    @property
    def failed(self) -> bool:
        return any(operation.error is not None for operation in self.operations)


@dataclass(frozen=True, slots=True)
class Taken:
    """How many steps one model took; `is_main`: they are the run's."""

    model_id: str
    steps: int
    is_main: bool


def stretches(process: Process, thread: int, began_ns: int, ended_ns: int, live: bool) -> list[Stretch]:
    """Steps and what lies around them, tiling [began, ended). `live`: the run goes on, so the last step may be open."""
    models = _main_models(process, thread)
    said = _said_of(process, thread, models)
    steps = _said(said, ended_ns) if said else _inferred(process, models, ended_ns, live)
    out: list[Stretch] = []
    cursor = began_ns
    for step in steps:
        low = max(cursor, min(step.began_ns, ended_ns))
        if said or step.first:
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


def completed(steps: Sequence[Stretch]) -> int:
    """How many of them are steps that are over: one that is open, or was when the run ended, counts nowhere."""
    return sum(step.step is not None and not step.open for step in steps)


def steps_taken(process: Process, thread: int, ended_ns: int, live: bool) -> list[Taken]:
    """How many steps each model took that was trained: those of the run first, else in the order they began."""
    main = _main_models(process, thread)
    taken = []
    for model in sorted(_loops(process), key=lambda model: model not in main):
        said = [operation for operation in _loops(process)[model] if operation.step is not None]
        steps = completed(_said(said, ended_ns) or _inferred(process, (model,), ended_ns, live))
        if steps:
            taken.append(Taken(model, steps, model in main))
    return taken


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
    """The thread that takes the steps, else the one that trains; else Python's main one, if none waits twice as long;
    else the one that waits longest, or calls most. One that waits for work may look as if it waited for all there is.
    """
    takes = Counter(operation.thread for operation in process.training if operation.name == "optim_step")
    trains = Counter(operation.thread for operation in process.training if operation.name in TRAINING)
    votes = takes or trains or _waited_by(process) or Counter(operation.thread for operation in process.order)
    return max(votes, key=lambda thread: votes[thread], default=0)


def _waited_by(process: Process) -> Counter[int]:
    """How long each thread waited, in claims and as samples saw it, ns; Python's main one counts twice."""
    waited: Counter[int] = Counter()
    for thread, waits in process.waits.items():
        waited[thread] += sum(wait.ended_ns - wait.began_ns for wait in waits.seen)
    reached: dict[int, int] = {}
    for claim in process.claims:  # by begin
        ended = process.last_ns if claim.ended_ns is None else claim.ended_ns
        waited[claim.thread] += max(0, ended - max(claim.began_ns, reached.get(claim.thread, 0)))
        reached[claim.thread] = max(ended, reached.get(claim.thread, 0))
    return Counter({thread: ns * (1 + (process.thread_names.get(thread) == MAIN)) for thread, ns in waited.items()})


def left_ns(operation: Operation) -> int | None:
    """When the program was done with an operation: w1, or D if nobody claimed it. None while that is open."""
    if any(claim.ended_ns is None for claim in operation.claims):
        return None
    if operation.claims:
        return max(claim.ended_ns or 0 for claim in operation.claims)
    return operation.ended_ns


def _loops(process: Process) -> dict[str, list[Operation]]:
    """The training calls of each model, by c0; one that names no model is of the first's."""
    loops: dict[str, list[Operation]] = {}
    for operation in process.training:
        if operation.name in TRAINING:
            loops.setdefault(operation.model_id, []).append(operation)
    nameless = loops.pop("", [])
    if nameless:
        model, loop = next(iter(loops.items()), ("", []))
        loops[model] = sorted([*loop, *nameless], key=lambda operation: operation.began_ns)
    return loops


def _main_models(process: Process, thread: int) -> tuple[str, ...]:
    """The main model, and those that the same thread trained before it or after it, in their order."""
    loops = _loops(process)

    def rank(model: str) -> tuple[int, int, int]:
        steps = [operation for operation in loops[model] if operation.name == "optim_step"]
        return sum(operation.thread == thread for operation in steps), len(steps), len(loops[model])

    chosen: list[str] = []
    for model in sorted(loops, key=rank, reverse=True):
        if not chosen or (rank(model)[0] and all(_apart(loops[model], loops[other]) for other in chosen)):
            chosen.append(model)
    return tuple(sorted(chosen, key=lambda model: loops[model][0].began_ns))


def _apart(one: Sequence[Operation], other: Sequence[Operation]) -> bool:
    """Was one model trained before the other, or after it?"""
    return one[-1].began_ns < other[0].began_ns or other[-1].began_ns < one[0].began_ns


def _said_of(process: Process, thread: int, models: tuple[str, ...]) -> list[Operation]:
    """What was called inside a step that the program said; not those of a loop that trains another model."""
    said = [operation for operation in process.order if operation.step is not None]
    if not said:
        return said
    others = [operation for operation in process.training if operation.model_id and operation.model_id not in models]
    elsewhere = {operation.thread for operation in others} - {thread}
    said = [each for each in said if each.thread not in elsewhere or each.model_id in models]
    numbers = [operation.step for operation in said]
    if numbers != sorted(numbers, key=_as_number):  # two loops, in turns
        said = [operation for operation in said if operation.model_id in models or not operation.model_id]
    return said


def _as_number(step: object) -> float:
    return step if isinstance(step, int | float) else 0.0


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
        out.append(Stretch(members[0].began_ns, ended, step, False, is_open, False, members))
    return out


def _inferred(process: Process, models: Sequence[str], ended_ns: int, live: bool) -> list[Stretch]:
    """The steps of models that were trained one after the other."""
    loops = _loops(process)
    out: list[Stretch] = []
    for model in models:
        loop = loops.get(model, [])
        if any(operation.name == "optim_step" for operation in loop):
            is_last = model == models[-1]
            steps = _rhythm(loop, ended_ns, live and is_last, is_last and process.status != "success")
            steps[0].first = True
            out += steps
    for number, step in enumerate(out, 1):
        step.step = number
    return out


def _rhythm(loop: Sequence[Operation], ended_ns: int, live: bool, cut_short: bool) -> list[Stretch]:
    """The steps of one model. `cut_short`: what follows its last `optim_step` is the beginning of another step; else it
    is no step, failed or not, and while the run goes on it may be several batches that were skipped.
    """
    last = max(index for index, operation in enumerate(loop) if operation.name == "optim_step")
    if not cut_short:
        loop = loop[: last + 1]
    out: list[Stretch] = []
    members: list[Operation] = []
    for index, operation in enumerate(loop):
        members.append(operation)
        following = loop[index + 1] if index + 1 < len(loop) else None
        if operation.name == "optim_step" or ((live or index < last) and _skipped(operation, following)):
            end = left_ns(operation)
            is_open = end is None
            if end is None or (live and following is None and not operation.claims and operation.name == "optim_step"):
                end, is_open = ended_ns, True  # it may be claimed yet
            out.append(Stretch(members[0].began_ns, end, None, True, is_open, False, members))
            members = []
    if members:
        failed = any(operation.error is not None for operation in members)
        ends = [left_ns(operation) for operation in members]
        is_open = live or None in ends or not failed
        end = ended_ns if live or None in ends else max(each for each in ends if each is not None)
        out.append(Stretch(members[0].began_ns, end, None, True, is_open, False, members))
    return out


def steps_ended(training: Sequence[Operation]) -> Counter[str]:
    """How many steps ended with one of these operations, by model."""
    loop = [operation for operation in training if operation.name in TRAINING]
    ended = Counter(each.model_id for each in loop if each.name == "optim_step" and each.ended_ns is not None)
    ended.update(one.model_id for one, following in pairwise(loop) if _skipped(one, following))
    return ended


def step_now(process: Process) -> int | None:
    """The step that is being taken: what the program said last, else of the model trained last; None: no step yet."""
    said = next((operation.step for operation in reversed(process.order) if operation.step is not None), None)
    if said is not None:
        return said if isinstance(said, int) else None
    models = [operation.model_id for operation in process.training if operation.name in TRAINING]
    model = models[-1] if models else process.model_before
    return None if model is None else process.steps_before[model] + steps_ended(process.training)[model] + 1


def _skipped(operation: Operation, following: Operation | None) -> bool:
    """Did this batch fail, and the loop go on with another one?"""
    if operation.error is None or following is None or following.name == "optim_step":
        return False
    if operation.name == "optim_step":
        return False
    keys = ("datum_count", "token_count")
    return any(operation.measurements.get(key) != following.measurements.get(key) for key in keys)
