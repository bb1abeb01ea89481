"""One file that the loader reads: a segment of a tape or of the inbox, and how far a store has it.

The progress stands beside the file, `<segment>.loaded-<store id>`, and is replaced whole, after the rows are in the
store: a SIGKILL in between makes the loader read a piece
again, which the store's key absorbs. A file is never written to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tinkertape.config import open_private
from tinkertape.errors import BadLine
from tinkertape.tape.format import LINE_MAX, Header, decode_line

CHUNK = 4_000_000  # bytes read at a time


class Progress(msgspec.Struct, frozen=True):
    """How far a store has a file."""

    offset: int = 0
    rows: int = 0
    set_aside: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """Complete lines, each with its offset, and where the next one begins."""

    lines: list[tuple[int, bytes]]
    next_offset: int


class TapeFile:
    """A file and its progress; used under the loader's lock."""

    def __init__(self, path: Path, store_id: str, *, inbox: bool) -> None:
        self.path = path
        self.inbox = inbox
        self.progress_path = path.with_suffix(f".loaded-{store_id[:8]}")
        self.progress = self._read_progress()
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

    def _read_progress(self) -> Progress:
        try:
            return msgspec.json.decode(self.progress_path.read_bytes(), type=Progress)
        except (OSError, msgspec.MsgspecError):
            return Progress()

    def advance(self, progress: Progress) -> None:
        """Remember how far the store has the file. Where that cannot be written, it is known until the collector
        ends."""
        self.progress = progress
        passing = self.progress_path.with_suffix(f"{self.progress_path.suffix}-new")
        with contextlib.suppress(OSError):
            descriptor = open_private(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                os.write(descriptor, msgspec.json.encode(progress))
            finally:
                os.close(descriptor)
            passing.replace(self.progress_path)

    def size(self) -> int:
        return self.path.stat().st_size

    def read(self, offset: int, limit: int = CHUNK) -> Chunk:
        """Complete lines from `offset` on. A torn last line waits; one longer than a line can be is one line cut off
        at the limit, then skipped. Raises `OSError`."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if offset > 0 and self.header is None:
                self._take_header(os.pread(descriptor, LINE_MAX, 0).partition(b"\n")[0])
            data = os.pread(descriptor, limit, offset)
            if b"\n" not in data and len(data) == limit:
                return self._read_long(descriptor, offset)
        finally:
            os.close(descriptor)
        return _split(data, offset)

    def _read_long(self, descriptor: int, offset: int) -> Chunk:
        data = os.pread(descriptor, LINE_MAX + 1, offset)
        if b"\n" in data or len(data) <= LINE_MAX:
            return _split(data, offset)
        end = offset + len(data)
        while data:
            data = os.pread(descriptor, CHUNK, end)
            place = data.find(b"\n")
            if place >= 0:
                return Chunk([(offset, b"longer than a line can be")], end + place + 1)
            end += len(data)
        return Chunk([], offset)

    def _take_header(self, line: bytes) -> None:
        with contextlib.suppress(BadLine):
            found = decode_line(line)
            if isinstance(found, Header):
                self.header = found


def _split(data: bytes, offset: int) -> Chunk:
    *complete, _torn = data.split(b"\n")
    lines: list[tuple[int, bytes]] = []
    for line in complete:
        lines.append((offset, line))
        offset += len(line) + 1
    return Chunk(lines, offset)


def find_files(tapes: Path | None, inbox: Path) -> Iterator[tuple[Path, bool]]:
    """The files there are: (path, whether it is of the inbox), the oldest name first in each folder."""
    yield from ((path, True) for path in _segments(inbox))
    if tapes is None:
        return
    try:
        with os.scandir(tapes) as entries:
            folders = sorted(entry.path for entry in entries if entry.is_dir())
    except OSError:
        return
    for folder in folders:
        yield from ((path, False) for path in _segments(Path(folder)))


def _segments(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.name.endswith(".jsonl"))
    except OSError:
        return []
