"""One process at a time delivers a segment, compresses it or removes it: whoever does holds a lock on its file.

The lock (`flock`) ends with its process, however it ends. Readers and the writer of a segment take none.

Fork     a child closes its copies of the locked files, so that the lock stays its parent's alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinkertape.tape.forms import stored_path

_held: set[int] = set()


def hold(segment: Path) -> int | None:
    """Take a segment; None while somebody else holds it, or it is gone. The descriptor is of the form it is in."""
    path = stored_path(segment)
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there = os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        there = False
    if not there:  # held, or compressed or removed since it was opened
        os.close(file)
        return None
    _held.add(file)
    return file


def let_go(file: int) -> None:
    """Let go of what `hold` gave."""
    if file in _held:
        _held.discard(file)
        os.close(file)


@contextmanager
def holding(segment: Path) -> Iterator[int | None]:
    """`hold` for the length of a block."""
    file = hold(segment)
    try:
        yield file
    finally:
        if file is not None:
            let_go(file)


def _after_fork() -> None:
    for file in list(_held):
        let_go(file)


os.register_at_fork(after_in_child=_after_fork)
