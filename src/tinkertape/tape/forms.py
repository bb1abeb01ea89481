"""The two forms of a segment on disk: plain, as it is written, and compressed, once it is closed.

A segment is named by its plain path, `<process>-<segment>.jsonl`, in whichever form it is; the compressed one has
`.gz` behind that name and is one gzip stream. Every offset, in a mark or a `Record`, is one of the plain bytes. While
both are there, for an instant or after a kill, they hold the same, and the plain one is read. No thread, no lock.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIX = ".jsonl"
COMPRESSED = ".gz"
REMOVED = "removed"  # the mark beside a segment that is no more
ONE_CALL = 200  # names, which the system gives in one call: 32 kB
_MAGIC = b"\x1f\x8b"
_TRAILER = 4  # bytes: a gzip stream ends with the length of what it holds


def segment_files(folder: Path) -> list[Path]:
    """The segments in a folder, in either form, each once, in order, by their plain paths. Raises `OSError`."""
    there = _names(folder)
    if len(there) > ONE_CALL:  # the list was made in parts: what was compressed in between may be in none of them
        there |= _names(folder)
    removed = {name.removesuffix(f".{REMOVED}") for name in there if name.endswith(f".{REMOVED}")}
    found = {plain_path(folder / name) for name in there if name.endswith((SUFFIX, SUFFIX + COMPRESSED))}
    return sorted(path for path in found if path.stem not in removed)


def _names(folder: Path) -> set[str]:
    """The files in a folder, from one look: who asks for each if it is there misses one that is compressed then."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file() or entry.name.endswith(f".{REMOVED}")}


def plain_path(path: Path) -> Path:
    """The name of the segment that a file is a form of."""
    return path.with_name(path.name.removesuffix(COMPRESSED)) if path.name.endswith(SUFFIX + COMPRESSED) else path


def compressed_path(segment: Path) -> Path:
    return segment.with_name(segment.name + COMPRESSED)


def stored_path(segment: Path) -> Path:
    """The file in which a segment is now; the plain one if none is there."""
    beside = compressed_path(segment)
    return segment if segment.exists() or not beside.exists() else beside


def stored_bytes(segment: Path) -> int:
    """The length of a segment in plain bytes. Raises `OSError`."""
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        with _compressed_or_missing(segment) as file:
            return length_of_compressed(file)


def length_of_compressed(file: io.BufferedReader) -> int:
    """How many bytes a gzip stream says it holds; 0 for one that is cut off so early that it says nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TRAILER))
    return int.from_bytes(file.read(_TRAILER), "little") if size > _TRAILER else 0


def open_stored(segment: Path) -> io.BufferedReader:
    """Open a segment for reading plain bytes, in whichever form it is. Raises `OSError`."""
    try:
        return segment.open("rb")
    except FileNotFoundError:
        return decompressed(_compressed_or_missing(segment))


def is_compressed(file: int) -> bool:
    """Is an open segment the compressed form? By its first bytes, with which no line begins."""
    return os.pread(file, len(_MAGIC), 0) == _MAGIC


def decompressed(file: io.BufferedReader) -> io.BufferedReader:
    """The plain bytes of a gzip stream; where it is damaged they end, and `damage_of` says so."""
    return io.BufferedReader(_Decompressed(file), 256 * 1024)


def damage_of(file: io.BufferedReader) -> str:
    """Why reading a compressed segment ended before its end; empty if it did not."""
    return file.raw.damage if isinstance(file.raw, _Decompressed) else ""


def _compressed_or_missing(segment: Path) -> io.BufferedReader:
    """Raises `FileNotFoundError` with the segment's own name."""
    try:
        return compressed_path(segment).open("rb")
    except FileNotFoundError:
        return segment.open("rb")  # says what is missing, or finds what came meanwhile


class _Decompressed(io.RawIOBase):
    """The plain bytes of a gzip stream. Going back in it means to begin again."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.damage = self._empty = "" if file.peek(1) else "it is empty"
        self._stream = gzip.GzipFile(fileobj=file, mode="rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        if not self.damage:
            with self._noting_damage():
                data = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.damage = self._empty
        with self._noting_damage():
            self._stream.seek(offset, whence)
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._file.close()
        super().close()

    @contextlib.contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = str(error) or type(error).__name__
