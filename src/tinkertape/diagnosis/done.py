"""What of a run's steps is done: those of which no training call failed for good; and what failed. Pure text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tinkertape.diagnosis import words
from tinkertape.diagnosis.steps import TRAINING
from tinkertape.diagnosis.view import View

NAMED = 2  # kinds of failed calls by their names; more are counted


class FailedCall(NamedTuple):
    """A call that failed. `again`: in the same step it was called again, and that one did not."""

    name: str
    step: int | None
    again: bool


def failed_calls(view: View) -> list[FailedCall]:
    """Every call that failed, in order; an interruption is no failure."""
    found: list[FailedCall] = []
    well: set[tuple[str, int | None]] = set()  # of what was called later
    for operation in reversed(view.process.order):
        step = view.step_of(operation)
        if operation.error is not None:
            found.append(FailedCall(operation.name, step, step is not None and (operation.name, step) in well))
        elif operation.ended_ns is not None and operation.failure is None:
            well.add((operation.name, step))
    return found[::-1]


def steps_done(steps: int, failed: Sequence[FailedCall], told: str) -> str:
    """`all 9 steps are done`, or how many are, and what failed where that is not `told` yet."""
    lost = {call.step for call in failed if call.step is not None and not call.again and call.name in TRAINING}
    done = steps - len(lost)
    if not lost:
        said = f"all {steps} steps are done" if steps > 1 else "the step is done"
    elif done > 0:
        said = f"{done} of {steps} steps {'is' if done == 1 else 'are'} done"
    else:
        said = "no step is done"
    kinds = Counter(failed_said for call in failed if (failed_said := _said(call, told)))
    if not kinds:
        return said
    named = [f"{kind} ({number} times)" if number > 1 else kind for kind, number in kinds.items()]
    more = [f"so did {words.count(len(named) - NAMED, 'other call')}"] if len(named) > NAMED else []
    return f"{said}{':' if lost else ', but'} {words.listed([*named[:NAMED], *more])}"


def _said(call: FailedCall, told: str) -> str:
    name = f"`{call.name}`"
    if call.again:
        return f"{name} failed in step {call.step} before it was called again"
    if name in told:
        return ""
    return f"{name} failed in step {call.step}" if call.step is not None else f"{name} failed outside the steps"
