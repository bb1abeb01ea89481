"""The text of an exception with its traceback, as the standard library's `traceback` writes it, letter by letter.

That opens source files, and looks for what to underline, at each exception: 50 to 100 us. Here each frame's part is
made once, by `traceback` itself, and remembered: what fails again and again, as a poll tried again, costs 10 us.
Whatever is more than frames and a last line (groups, syntax errors, names that are looked for, recursion) is left to
`traceback`.

Threads  any; the worst of a race is a part made twice. Bounded: a table that is full begins anew.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from types import CodeType, TracebackType

PARTS_MAX = 4_096
REPEATS_MAX = 3  # of one line in a row, before `traceback` counts them
_OTHERS = (SyntaxError, NameError, AttributeError, ImportError)  # whose last lines say more than their own words
_HEAD = "Traceback (most recent call last):\n"
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE = "\nDuring handling of the above exception, another exception occurred:\n\n"

_parts: dict[tuple[int, int], tuple[CodeType, str]] = {}  # by the code's id, which it keeps as long as it stands here


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


def _plain(error: BaseException, trace: TracebackType | None) -> Iterator[str]:
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
    for place in range(len(links) - 1, -1, -1):
        link, its_trace, words = links[place]
        yield from _one(link, its_trace)
        yield words


def _one(error: BaseException, trace: TracebackType | None) -> Iterator[str]:
    if isinstance(error, (BaseExceptionGroup, *_OTHERS)):
        raise _Other
    if trace is not None:
        yield _HEAD
    last, repeats = None, 0
    while trace is not None:
        code = trace.tb_frame.f_code
        here = code.co_filename, trace.tb_lineno, code.co_name
        repeats = repeats + 1 if here == last else 1
        if repeats > REPEATS_MAX:
            raise _Other
        last = here
        yield _part(trace, code)
        trace = trace.tb_next
    yield from traceback.format_exception_only(type(error), error)


def _part(trace: TracebackType, code: CodeType) -> str:
    key = id(code), trace.tb_lasti
    known = _parts.get(key)
    if known is not None:
        return known[1]
    part = "".join(traceback.format_tb(trace, 1))
    if len(_parts) >= PARTS_MAX:
        _parts.clear()
    _parts[key] = code, part
    return part
