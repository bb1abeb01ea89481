"""A segment of a tape as delivery sees it: complete lines from an offset on, and how far the collector acknowledged
them.

The acknowledgement file `<segment>.ack` beside it, `{"collector", "offset", "events", "rejected", "others"}`, is
replaced whole; what another collector acknowledged before is kept in `others`. What this one refused is in
`<segment>.refused` (`tape/refused.py`). Whoever delivers a segment holds it (`tape/hold.py`), so two processes never
deliver the same one at the same time, and nobody compresses or removes it meanwhile. Offsets are those of the plain
bytes, in whichever form the segment is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.delivery.post import address_of
from tinkertape.errors import BadLine, DeliveryError
from tinkertape.structs import made_ready
from tinkertape.tape.format import LINE_MAX, Header, decode_line
from tinkertape.tape.forms import decompressed, is_compressed, length_of_compressed
from tinkertape.tape.headers import header_of_place
from tinkertape.tape.hold import hold, let_go
from tinkertape.tape.marks import mark_path, read_mark, write_mark
from tinkertape.tape.refused import Refused, write_refused
from tinkertape.wire import UNREADABLE

READ_AT_ONCE = 1 << 18  # bytes; a batch is no larger, unless more was asked for


class Reached(msgspec.Struct, frozen=True):
    """What one collector has: all lines before `offset`, but for those that it refused."""

    offset: int = 0
    events: int = 0
    rejected: int = 0


class Acknowledged(Reached, frozen=True):
    """The acknowledgement file: what the collector delivered to last said that it has, and what others did before."""

    collector: str = ""
    others: dict[str, Reached] = {}

    def by(self, collector: str) -> Reached:
        """What one collector has; addresses are compared in one spelling."""
        if _spelled(self.collector) == collector:
            return self
        return next((reached for other, reached in self.others.items() if _spelled(other) == collector), Reached())

    def replaced(self, collector: str, reached: Reached) -> Acknowledged:
        """With what a collector says now."""
        before = {self.collector: Reached(self.offset, self.events, self.rejected), **self.others}
        others = {_spelled(other): had for other, had in before.items() if other}
        others.pop(collector, None)
        return Acknowledged(reached.offset, reached.events, reached.rejected, collector=collector, others=others)


made_ready(Acknowledged)


class Batch(msgspec.Struct, frozen=True):
    """Complete event lines as they stand on the tape, with the end line's counts if it was reached.

    `skipped` lines between them are not for this collector; `is_large`: no more would be read at once.
    """

    lines: list[bytes]
    offsets: list[int]  # where each line ends
    next_offset: int
    ledger: dict[str, Any] | None = None
    skipped: int = 0
    is_large: bool = False


class _Glance(msgspec.Struct):
    """As much of a line as tells which kind it is; decoding it proves that the line is JSON."""

    tape: int = 0
    tape_end: int = 0
    event: str = ""
    event_name: str = ""


Wanted = Callable[[str, str], bool]  # kind and name of an event: is it for this collector?


_glance = msgspec.json.Decoder(_Glance)


class Segment:
    """One file of a tape, for the collector at an address (`post.address_of`). `acquire` before reading; `release` when
    done.
    """

    def __init__(self, path: Path, collector: str) -> None:
        self.path = path
        self.collector = collector
        self.acknowledged = Reached()
        self.header: dict[str, Any] = {}
        self._file: int | None = None
        self._compressed: BufferedReader | None = None  # the plain bytes of one that is compressed
        self._compressed_bytes = 0  # how many there are
        self._ahead, self._ahead_at = b"", 0  # of those: read already, from there on

    @property
    def acknowledgement(self) -> Path:
        return mark_path(self.path, "ack")

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
        self.acknowledged = acknowledgement_of(self.path).by(self.collector)
        return True

    def release(self) -> None:
        if self._file is not None:
            if self._compressed is not None:
                self._compressed.close()
                self._compressed, self._ahead = None, b""
            let_go(self._file)
            self._file = None

    @property
    def size(self) -> int:
        """How many plain bytes it has now; 0 for one that is not held."""
        if self._file is None:
            return 0
        return os.fstat(self._file).st_size if self._compressed is None else self._compressed_bytes

    def read(
        self, max_events: int, offset: int, wanted: Wanted | None = None, *, max_bytes: int = READ_AT_ONCE
    ) -> Batch:
        """The complete lines from `offset` on that are wanted, at most `max_events` and about `max_bytes`.

        A bad line is passed over: the collector cannot take it, readers of the tape count it.
        """
        if not self.header:
            self.header = self._read_header()
        chunk = self._bytes(max_bytes, offset)
        is_large = len(chunk) == max_bytes
        if is_large and b"\n" not in chunk:
            chunk, max_events = self._bytes(LINE_MAX, offset), 1
            if len(chunk) == LINE_MAX and b"\n" not in chunk:
                return Batch([], [], self._end_of_line(offset + LINE_MAX) or offset)  # no line of a tape is that long
        return _batch(chunk, offset, max_events, wanted, is_large=is_large)

    def _end_of_line(self, offset: int) -> int | None:
        while chunk := self._bytes(READ_AT_ONCE, offset):
            place = chunk.find(b"\n")
            if place >= 0:
                return offset + place + 1
            offset += len(chunk)
        return None

    def _read_header(self) -> dict[str, Any]:
        first, end, _ = self._bytes(READ_AT_ONCE, 0).partition(b"\n")
        if not end:
            return {}  # not complete yet
        try:
            line = decode_line(first)
        except BadLine:
            line = None
        header: dict[str, Any] = msgspec.to_builtins(line if isinstance(line, Header) else header_of_place(self.path))
        return header

    def _bytes(self, length: int, offset: int) -> bytes:
        if self._compressed is not None:
            return self._decompressed(self._compressed, length, offset)
        assert self._file is not None
        return os.pread(self._file, length, offset)

    def _decompressed(self, stream: BufferedReader, length: int, offset: int) -> bytes:
        """What was read already is kept: to go back in a gzip stream means to begin again."""
        if not self._ahead_at <= offset <= self._ahead_at + len(self._ahead):
            stream.seek(offset)
            self._ahead, self._ahead_at = b"", offset
        self._ahead, self._ahead_at = self._ahead[offset - self._ahead_at :], offset
        if len(self._ahead) < length:
            self._ahead += stream.read(length - len(self._ahead))
        return self._ahead[:length]

    def acknowledge(self, offset: int, events: int, refused: Sequence[Refused] = ()) -> None:
        """Remember that the collector has everything before `offset` but what it `refused`; on disk before this
        returns. Raises `OSError`, and remembers nothing then.
        """
        before = self.acknowledged
        reached = Reached(offset, before.events + events, before.rejected + len(refused))
        write_refused(self.path, refused)
        made = acknowledgement_of(self.path).replaced(self.collector, reached)
        write_mark(self.acknowledgement, msgspec.to_builtins(made))
        self.acknowledged = reached


def acknowledgement_of(segment: Path) -> Acknowledged:
    """The acknowledgement beside a segment; an empty one where there is none, or none that can be read."""
    try:
        return msgspec.convert(read_mark(mark_path(segment, "ack")), Acknowledged)
    except msgspec.ValidationError:
        return Acknowledged()


def _spelled(url: str) -> str:
    """An address in the spelling of `address_of`; an older mark has the one that was given."""
    try:
        return address_of(url)
    except DeliveryError:
        return url


def _batch(chunk: bytes, offset: int, max_events: int, wanted: Wanted | None, *, is_large: bool) -> Batch:
    lines: list[bytes] = []
    offsets: list[int] = []
    ledger: dict[str, Any] | None = None
    skipped = 0
    *complete, _torn = chunk.split(b"\n")
    for line in complete:
        if len(lines) >= max_events:
            break
        offset += len(line) + 1
        try:
            glance = _glance.decode(line)
            said = msgspec.json.decode(line) if glance.tape_end else None
        except UNREADABLE:
            continue
        if said is not None:
            ledger = said
        elif glance.event and not glance.tape:
            if wanted is None or wanted(glance.event, glance.event_name):
                lines.append(line)
                offsets.append(offset)
            else:
                skipped += 1
    return Batch(lines, offsets, offset, ledger, skipped, is_large)
