"""A segment of a tape as delivery sees it: complete lines from an offset on, and how far the collector acknowledged
them.

The acknowledgement file `<segment>.ack` beside it, `{"collector", "offset", "events", "rejected"}`, is replaced whole.
Whoever delivers a segment holds it (`tape/hold.py`), so two processes never deliver the same one at the same time, and
nobody compresses or removes it meanwhile. Offsets are those of the plain bytes, in whichever form the segment is.
"""

from __future__ import annotations

import os
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.config import open_private
from tinkertape.tape.format import LINE_MAX
from tinkertape.tape.forms import decompressed, is_compressed, length_of_compressed
from tinkertape.tape.hold import hold, let_go

READ_AT_ONCE = 1 << 18  # bytes; a batch for a collector of ours is no larger


class Acknowledged(msgspec.Struct, frozen=True):
    """What one collector said that it has: all lines before `offset`."""

    collector: str = ""
    offset: int = 0
    events: int = 0
    rejected: int = 0


class Batch(msgspec.Struct, frozen=True):
    """Complete event lines as they stand on the tape, with the end line's counts if it was reached."""

    lines: list[bytes]
    offsets: list[int]  # where each line ends
    next_offset: int
    ledger: dict[str, Any] | None = None


class _Glance(msgspec.Struct):
    """As much of a line as tells which kind it is; decoding it proves that the line is JSON."""

    tape: int = 0
    tape_end: int = 0
    event: str = ""


_glance = msgspec.json.Decoder(_Glance)


class Segment:
    """One file of a tape. `acquire` before reading; `release` when done."""

    def __init__(self, path: Path, collector: str) -> None:
        self.path = path
        self.collector = collector
        self.acknowledged = Acknowledged(collector)
        self.header: dict[str, Any] = {}
        self._file: int | None = None
        self._compressed: BufferedReader | None = None  # the plain bytes of one that is compressed
        self._compressed_bytes = 0  # how many there are

    @property
    def acknowledgement(self) -> Path:
        return self.path.with_suffix(".ack")

    def acquire(self) -> bool:
        """Take the segment for this process and read how far it came; False while somebody else holds it."""
        file = hold(self.path)
        if file is None:
            return False
        self._file = file
        if is_compressed(file):
            stream = os.fdopen(os.dup(file), "rb")
            self._compressed_bytes = length_of_compressed(stream)
            stream.seek(0)
            self._compressed = decompressed(stream)
        self.acknowledged = self._read_acknowledgement()
        return True

    def _read_acknowledgement(self) -> Acknowledged:
        try:
            found = msgspec.json.decode(self.acknowledgement.read_bytes(), type=Acknowledged)
        except (OSError, msgspec.MsgspecError):
            found = Acknowledged()
        return found if found.collector == self.collector else Acknowledged(self.collector)

    def release(self) -> None:
        if self._file is not None:
            if self._compressed is not None:
                self._compressed.close()
                self._compressed = None
            let_go(self._file)
            self._file = None

    @property
    def pending_bytes(self) -> int:
        if self._file is None:
            return 0
        size = os.fstat(self._file).st_size if self._compressed is None else self._compressed_bytes
        return size - self.acknowledged.offset

    def read(self, max_events: int) -> Batch:
        """The next complete lines, at most `max_events` and about 256 kB.

        A bad line is passed over: the collector cannot take it, readers of the tape count it.
        """
        if not self.header:
            self.header = self._read_header()
        offset = self.acknowledged.offset
        chunk = self._bytes(READ_AT_ONCE, offset)
        if b"\n" not in chunk and len(chunk) == READ_AT_ONCE:
            chunk = self._bytes(LINE_MAX, offset)
        return _batch(chunk, offset, max_events)

    def _read_header(self) -> dict[str, Any]:
        first = self._bytes(READ_AT_ONCE, 0).partition(b"\n")[0]
        try:
            header = msgspec.json.decode(first, type=dict[str, Any])
        except msgspec.MsgspecError:
            return {}
        return header if "tape" in header else {}

    def _bytes(self, length: int, offset: int) -> bytes:
        if self._compressed is not None:
            self._compressed.seek(offset)
            return self._compressed.read(length)
        assert self._file is not None
        return os.pread(self._file, length, offset)

    def acknowledge(self, offset: int, events: int, rejected: int = 0) -> None:
        """Remember that the collector has everything before `offset`; on disk before this returns."""
        before = self.acknowledged
        self.acknowledged = Acknowledged(self.collector, offset, before.events + events, before.rejected + rejected)
        temporary = self.acknowledgement.with_suffix(".ack-new")
        file = open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(file, msgspec.json.encode(self.acknowledged))
        finally:
            os.close(file)
        temporary.replace(self.acknowledgement)


def _batch(chunk: bytes, offset: int, max_events: int) -> Batch:
    lines: list[bytes] = []
    offsets: list[int] = []
    ledger: dict[str, Any] | None = None
    *complete, _torn = chunk.split(b"\n")
    for line in complete:
        if len(lines) >= max_events:
            break
        offset += len(line) + 1
        try:
            glance = _glance.decode(line)
        except msgspec.MsgspecError:
            continue
        if glance.tape_end:
            ledger = msgspec.json.decode(line)
        elif glance.event and not glance.tape:
            lines.append(line)
            offsets.append(offset)
    return Batch(lines, offsets, offset, ledger)
