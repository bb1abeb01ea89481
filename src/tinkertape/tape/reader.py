"""Reads a segment: every whole line, from an offset on, however damaged the file is.

A last line without its end is not complete yet: it is counted `torn`, and read again later. A line that is no line of a
tape is set aside with its reason, and the next one is read. Memory is bounded by one chunk and one line. Offsets are
plain bytes, in whichever form the segment is. A reader belongs to one thread; the file may grow, and be compressed,
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tinkertape.errors import BadLine, TapeError, TapeNotFound
from tinkertape.tape.format import LINE_MAX, Header, Line, decode_line
from tinkertape.tape.forms import damage_of, open_stored, stored_bytes
from tinkertape.tape.headers import header_of_place

CHUNK = 256 * 1024  # bytes
CUT_SHORT = "Input data was truncated"  # how msgspec says it of a line


class Record(NamedTuple):
    """One line of a segment: what it says, or why it is set aside; its bytes without "\\n"; where it is.

    The bytes of a line that is longer than `LINE_MAX` are not kept.
    """

    line: Line | BadLine
    raw: bytes
    offset: int
    next_offset: int


class Reader:
    """Follows one segment from an offset on.

    Iterate for `(line, next_offset)` of every good line that is there now, and again later for what came since.
    `offset` is where the next line begins, also when an iteration was left early; `torn` (0 or 1) and `set_aside`
    count what was met so far, `cut` those set aside that lack their end; `header` is the last one met, or the file's
    first line for a reader that began later; `holds`, where it is set, says what lines leave out, whatever headers
    stand among them; `damage` says why a compressed segment could not be read to its end.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.torn = 0
        self.set_aside = 0
        self.cut = 0
        self.damage = ""
        self.header: Header | None = None
        self.holds: Header | None = None
        self._header_of_place = header_of_place(path)

    def __iter__(self) -> Iterator[tuple[Line, int]]:
        for record in self.records():
            if not isinstance(record.line, BadLine):
                yield record.line, record.next_offset

    def records(self) -> Iterator[Record]:
        """Every whole line that is there now, bad ones too. Raises `TapeNotFound`, and `TapeError` for a file that
        cannot be read.
        """
        if self.offset and self._is_read():
            return
        with self._open() as file:
            if self.offset and self.header is None:
                self.header = first_header(file)
            file.seek(self.offset)
            yield from self._records_of(file)
            self.damage = damage_of(file)

    def _is_read(self) -> bool:
        """Is there nothing beyond the offset? Spares following a compressed segment its decompression."""
        try:
            return stored_bytes(self.path) == self.offset
        except OSError:
            return False  # said by whoever opens it

    def _records_of(self, file: BinaryIO) -> Iterator[Record]:
        rest = b""
        while True:
            chunk = self._read(file)
            if not chunk:
                self.torn = 1 if rest else 0
                return
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for raw in lines:
                yield from self._record(raw, self.offset + len(raw) + 1)
            if len(rest) > LINE_MAX:
                end = self._end_of_line(file, self.offset + len(rest))
                if end is None:
                    self.torn = 1
                    return
                yield from self._record(rest, end)
                rest = b""
                file.seek(end)

    def _record(self, raw: bytes, next_offset: int) -> Iterator[Record]:
        offset, self.offset = self.offset, next_offset
        if not raw:
            return  # an empty line says nothing, and takes nobody's place
        line: Line | BadLine
        try:
            if len(raw) > LINE_MAX:
                raw = b""
                raise BadLine(f"longer than {LINE_MAX} bytes")
            line = decode_line(raw, self.holds or self.header or self._header_of_place)
            if isinstance(line, Header):
                self.header = line
        except BadLine as error:
            self.set_aside += 1
            self.cut += is_cut_short(error)
            line = error
        yield Record(line, raw, offset, next_offset)

    def _end_of_line(self, file: BinaryIO, offset: int) -> int | None:
        while chunk := self._read(file):
            place = chunk.find(b"\n")
            if place >= 0:
                return offset + place + 1
            offset += len(chunk)
        return None

    def _open(self) -> BufferedReader:
        try:
            return open_stored(self.path)
        except FileNotFoundError as error:
            raise TapeNotFound(f"there is no tape at {self.path}") from error
        except OSError as error:
            raise TapeError(f"cannot read {self.path}: {error.strerror}{advice_on(error)}") from error

    def _read(self, file: BinaryIO) -> bytes:
        try:
            return file.read(CHUNK)
        except OSError as error:
            raise TapeError(f"cannot read {self.path}: {error.strerror}; look at the disk") from error


def advice_on(error: OSError) -> str:
    """What to do about what cannot be opened, where the error's own words do not say it."""
    return "; look at its rights, or choose another folder" if isinstance(error, PermissionError) else ""


def is_cut_short(error: BadLine) -> bool:
    """Is it a line without its end, as a full disk leaves it?"""
    return str(error).endswith(CUT_SHORT)


def first_header(file: BinaryIO) -> Header | None:
    """The header in a segment's first line, if there is a good one."""
    file.seek(0)
    raw = file.readline(LINE_MAX)
    try:
        line = decode_line(raw)
    except BadLine:
        return None
    return line if isinstance(line, Header) else None
