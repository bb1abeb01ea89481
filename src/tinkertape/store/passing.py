"""Lines that the engine reads by itself, on their way into the store.

Threads  one at a time; what different ones hold is passing side by side, each by a client of its own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from tinkertape.store import queries
from tinkertape.store.engine import Engine
from tinkertape.tape.format import Header


@contextlib.contextmanager
def file_in_memory(folder: Path) -> Iterator[IO[bytes]]:
    """A file for lines that the engine is to read; it has no name where the system can do that, and is gone after."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("tinkertape-passing", os.MFD_CLOEXEC), "w+b") as file:
            yield file
    else:
        with tempfile.NamedTemporaryFile(prefix="passing-", dir=folder) as named:
            yield named


class Passing:
    """The events of plain lines (`collector.plain`), read and not stored yet, until `close`."""

    def __init__(self, engine: Engine, file: IO[bytes], header: Header) -> None:
        """Let the engine read what was written to a `file_in_memory`; `header` gives what the lines leave out. Raises
        `StoreError`."""
        file.flush()
        path = file.name if isinstance(file.name, str) else f"/proc/self/fd/{file.name}"
        self._engine = engine
        self._writer = engine.take_writer()
        try:
            queries.make_passing(self._writer)
            queries.pass_lines(self._writer, path, header)
        except BaseException:
            self.close()
            raise

    def passed(self) -> list[queries.Passed]:
        """Of whose events they are. Raises `StoreError`."""
        return queries.passed(self._writer)

    def store(self, first_arrival: int, known: Mapping[tuple[str, str, str], int]) -> None:
        """Store them, but for the events of ours below the index that is `known` of their (project, run, process).
        Raises `StoreError`."""
        queries.store_passed(self._writer, first_arrival, known)

    def close(self) -> None:
        """Forget them. Raises `StoreError`."""
        try:
            queries.clear_passing(self._writer)
        finally:
            self._engine.give_writer(self._writer)
