"""Where in the program an exception came from, by its traceback's text. Pure."""

from __future__ import annotations

import itertools
import re
from pathlib import PurePath

_HEAD = re.compile(r"^([ |+]*)(?:Exception Group )?Traceback \(most recent call last\):$", re.MULTILINE)
_FRAME = re.compile(r'^[ |]*File "([^"]+)", line (\d+)', re.MULTILINE)
_FOREIGN = ("site-packages", "/tinkertape/", "/lib/python", "<frozen", "<string>")


def code_line(traceback: str, message: str = "") -> str:
    """`train.py:41`: the innermost line of a traceback that is your own, or nothing.

    The exception's `message` stands at its end, and may say anything, frames too: it is never read for one.
    """
    for path, line in reversed(_FRAME.findall(_frames(traceback, message.strip()))):
        if not any(foreign in path for foreign in _FOREIGN):
            return f"{PurePath(path).name}:{line}"
    return ""


def _frames(traceback: str, message: str) -> str:
    """The frames of the last exception: what is indented below its head, before the part "Type: message"."""
    at = traceback.rfind(message) if message else -1
    text = traceback[:at] if at > 0 else traceback
    head = next(reversed(list(_HEAD.finditer(text))), None)
    if head is None:  # cut short
        return text
    indent = head[1].replace("+", "|") + "  "
    lines = text[head.end() :].lstrip("\n").split("\n")
    return "\n".join(itertools.takewhile(lambda line: line.startswith(indent), lines))
