"""Where the command line writes: the answer on stdout, talk on stderr.

Nothing that is shown is ever read as markup. Without a terminal the text is plain and 120 columns wide (`COLUMNS`
says otherwise); NO_COLOR is honoured.
"""

from __future__ import annotations

import io
import os
import sys
from typing import IO

from rich.console import Console
from rich.text import Text

from tinkertape.cli.text import json_escaped

PLAIN_WIDTH = 120


def console_on(stream: IO[str] | None) -> Console:
    """A console on a stream, opened anew each time: the stream may have been replaced."""
    stream = stream if stream is not None else io.StringIO()  # closed by whoever started us: said to nobody
    terminal = stream.isatty()
    width = None if terminal or os.environ.get("COLUMNS", "").isdecimal() else PLAIN_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width, force_terminal=terminal)


def answers() -> Console:
    """Stdout. A character that its encoding does not know is shown as `?`, not raised."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    return console_on(sys.stdout)


def talk() -> Console:
    """Stderr, for progress and notes."""
    return console_on(sys.stderr)


def say_damage(number: int) -> None:
    """One line on stdout for a tape of which some lines could not be read."""
    if number:
        lines = (
            "1 line of the tape is damaged and was"
            if number == 1
            else f"{number} lines of the tape are damaged and were"
        )
        answers().print(Text(f"{lines} set aside", style="bold"))


def print_json(document: bytes) -> None:
    """One JSON document on stdout, and a line feed; nothing in it can steer a terminal."""
    if sys.stdout is not None:
        sys.stdout.write(json_escaped(document.decode("utf-8", "replace")) + "\n")
