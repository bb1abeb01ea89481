"""One file that the loader reads: a segment of a tape or of the inbox, and how far a store has it.

The progress stands beside the file, `<segment>.loaded-<store id>`, and is replaced whole, after the rows are in the
store: a SIGKILL in between makes the loader read a piece again, which the store's key absorbs. A file of somebody else
is never written to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tinkertape.tape.format import Header
from tinkertape.tape.marks import mark_path, read_mark, write_mark
from tinkertape.tape.reader import Reader
from tinkertape.tape.tape import SUFFIX

STORE_ID_CHARS = 8  # of the store's id, in the name of a mark


class Progress(msgspec.Struct, frozen=True):
    """How far a store has a file."""

    offset: int = 0
    rows: int = 0
    set_aside: int = 0


class TapeFile:
    """A file and its progress; used under the loader's lock."""

    def __init__(self, path: Path, store_id: str, *, inbox: bool) -> None:
        self.path = path
        self.inbox = inbox
        self.mark = mark_path(path, f"loaded-{store_id[:STORE_ID_CHARS]}")
        self.progress = _progress(self.mark)
        self.header: Header | None = None
        self.ended = False  # its last line says that nothing follows
        self.not_before_s = 0.0  # after a failure: when to try again (monotonic)

    @property
    def run(self) -> str:
        """Whose tape it is, by its header, else by its folder."""
        if self.inbox:
            return "inbox"
        return self.header.run if self.header else self.path.parent.name

    @property
    def process(self) -> str:
        return self.header.process if self.header else self.path.stem.rpartition("-")[0]

    def advance(self, progress: Progress) -> None:
        """Remember how far the store has the file. Where no mark can be written it is known until the collector
        ends."""
        self.progress = progress
        with contextlib.suppress(OSError):
            write_mark(self.mark, msgspec.structs.asdict(progress))

    def size(self) -> int:
        return self.path.stat().st_size

    def reader(self, offset: int) -> Reader:
        """A reader from an offset on, which knows the header already if this file's was read."""
        reader = Reader(self.path, offset)
        reader.header = self.header
        return reader


def _progress(mark: Path) -> Progress:
    try:
        return msgspec.convert(read_mark(mark), Progress)
    except msgspec.ValidationError:
        return Progress()


def find_files(tapes: Path | None, inbox: Path) -> Iterator[tuple[Path, bool]]:
    """The files there are: (path, whether it is of the inbox), by name in each folder."""
    yield from ((path, True) for path in _segments(inbox))
    for folder in _folders(tapes) if tapes is not None else ():
        yield from ((path, False) for path in _segments(folder))


def _folders(tapes: Path) -> list[Path]:
    try:
        with os.scandir(tapes) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []


def _segments(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.name.endswith(SUFFIX))
    except OSError:
        return []
