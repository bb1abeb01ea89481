"""The command line: a file a command.

    entry.py     what the `tinkertape` command calls: it survives the absence of click
    group.py     the table of commands, each imported when it is used; turns mistakes into one line
    program.py   a program run as Python itself would run it, above one frame of ours, `importlib_bootstrap.py`
    source.py    where commands read from: a collector if there is one, else the tapes
    render.py    a report for a terminal; `text.py` says what may be shown, `figures.py` how a figure reads

Doors are the only places that put rooms together. The answer goes to stdout; talk and progress go to stderr.
"""

from __future__ import annotations

from tinkertape.cli.entry import main

__all__ = ["main"]
