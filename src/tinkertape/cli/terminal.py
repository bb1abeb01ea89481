"""Where the command line writes: the answer on stdout, talk on stderr.

Nothing that is shown is ever read as markup. Without a terminal the text is plain and 120 columns wide (`COLUMNS`
says otherwise); NO_COLOR is honoured.
"""

from __future__ import annotations

import os
import sys
from typing import IO

from rich.console import Console

from tinkertape.cli.text import json_escaped

PLAIN_WIDTH = 120


def console_on(stream: IO[str]) -> Console:
    """A console on a stream, opened anew each time: the stream may have been replaced."""
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


def print_json(document: bytes) -> None:
    """One JSON document on stdout, and a line feed; nothing in it can steer a terminal."""
    sys.stdout.write(json_escaped(document.decode("utf-8", "replace")) + "\n")
