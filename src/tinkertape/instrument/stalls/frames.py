"""A stack as text: what an event can carry, innermost first, "file:line in function".

Pure, but for looking at frames, which are let go of at once: they hold the program's variables.
"""

from __future__ import annotations

import re
from types import FrameType

from tinkertape.instrument.pauses import Pauses

STACK_MAX = 24  # frames, innermost first; of a deeper one the outermost are left out

_DUMPED = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')


def stack_of(frame: FrameType | None) -> list[str]:
    """The stack of a thread with this top frame."""
    if frame is not None and frame.f_code is Pauses.callback.__code__:
        frame = frame.f_back  # ours: the collector of cycles has just ended, in whatever was going on
    stack: list[str] = []
    while frame is not None and len(stack) < STACK_MAX:
        code = frame.f_code
        stack.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_name}")
        frame = frame.f_back
    return stack


def stacks_in(dump: str) -> list[list[str]]:
    """The stacks that `faulthandler` wrote, one for each time that it did."""
    stacks = []
    for part in dump.split("Stack (most recent call first):\n")[1:]:
        found = (_DUMPED.fullmatch(line) for line in part.splitlines())
        stacks.append([f"{match[1]}:{match[2]} in {match[3]}" for match in found if match][:STACK_MAX])
    return [stack for stack in stacks if stack]


def likest(stacks: list[list[str]], stack: list[str]) -> list[str] | None:
    """Of several threads' stacks, the one that began like this one, seen a little later; None when none did."""
    best = max(stacks, key=lambda other: _common(other, stack), default=None)
    return best if best is not None and _common(best, stack) else None


def _common(one: list[str], other: list[str]) -> int:
    """How many frames two stacks share from the outermost on, by file and function; the line has moved on."""
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if _place(mine) != _place(theirs):
            break
        count += 1
    return count


def _place(line: str) -> tuple[str, str]:
    where, _, function = line.rpartition(" in ")
    return where.rpartition(":")[0], function
