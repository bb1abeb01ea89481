"""The text of an exception with its traceback, as the standard library's `traceback` writes it, letter by letter.
But for source that changes while the program runs: its lines are shown as they were at first.

That opens source files, and looks for what to underline, at each exception: 50 to 100 us. Here each frame's part is
made once, by `traceback` itself, and remembered: what fails again and again, as a poll tried again, costs 10 us.
Whatever is more than frames and a last line (groups, syntax errors, names that are looked for, recursion) is left to
`traceback`.

Threads  any; the worst of a race is a part made twice. Bounded: a table that is full begins anew.
"""

from __future__ import annotations

import sys
import traceback
from types import CodeType, TracebackType

from tinkertape.guard import message_of

PARTS_MAX = 4_096
REPEATS_MAX = 3  # of one line in a row, before `traceback` counts them
_OTHERS = (BaseExceptionGroup, SyntaxError, NameError, AttributeError, ImportError)  # whose last lines say more
_UNNAMED = ("__main__", "builtins")  # modules that a last line leaves out
_HEAD = "Traceback (most recent call last):\n"
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE = "\nDuring handling of the above exception, another exception occurred:\n\n"

_Place = tuple[str, int | None, str]  # file, line, function
_parts: dict[tuple[int, int], tuple[CodeType, _Place, str]] = {}  # by the code's id: it keeps it while it stands here


class _Other(Exception):
    """An exception that is more than frames and a last line."""


def text_of(error: BaseException, trace: TracebackType | None = None) -> str:
    """What `traceback.format_exception` gives, in one piece; `trace` is the traceback where it is another than the one
    that the exception carries. Raises what that raises.
    """
    trace = trace or error.__traceback__
    try:
        return "".join(_plain(error, trace))
    except _Other:
        return "".join(traceback.format_exception(type(error), error, trace))


def _plain(error: BaseException, trace: TracebackType | None) -> list[str]:
    """The parts, the first cause first."""
    if hasattr(sys, "tracebacklimit"):
        raise _Other
    links: list[tuple[BaseException, TracebackType | None, str]] = [(error, trace, "")]
    seen = {id(error)}
    while True:
        link = links[-1][0]
        before, words = link.__cause__, _CAUSED
        if before is None and not link.__suppress_context__:
            before, words = link.__context__, _MEANWHILE
        if before is None:
            break
        if id(before) in seen:
            raise _Other
        seen.add(id(before))
        links.append((before, before.__traceback__, words))
    parts: list[str] = []
    for link, its_trace, words in reversed(links):
        _add(link, its_trace, parts)
        parts.append(words)
    return parts


def _add(error: BaseException, trace: TracebackType | None, parts: list[str]) -> None:
    """The parts of one exception of the chain."""
    if isinstance(error, _OTHERS):
        raise _Other
    if trace is not None:
        parts.append(_HEAD)
    last, repeats = None, 0
    while trace is not None:
        code = trace.tb_frame.f_code
        _, here, part = _parts.get((id(code), trace.tb_lasti)) or _part(trace, code)
        repeats = repeats + 1 if here == last else 1
        if repeats > REPEATS_MAX:
            raise _Other
        last = here
        parts.append(part)
        trace = trace.tb_next
    parts.append(_last_line(error))


def _part(trace: TracebackType, code: CodeType) -> tuple[CodeType, _Place, str]:
    if len(_parts) >= PARTS_MAX:
        _parts.clear()
    here = code.co_filename, trace.tb_lineno, code.co_name
    known = _parts[id(code), trace.tb_lasti] = code, here, "".join(traceback.format_tb(trace, 1))
    return known


def _last_line(error: BaseException) -> str:
    kind = type(error)
    module, name = kind.__module__, kind.__qualname__
    if not isinstance(module, str) or hasattr(error, "__notes__"):
        raise _Other
    said = message_of(error)
    name = name if module in _UNNAMED else f"{module}.{name}"
    return f"{name}: {said}\n" if said else f"{name}\n"
