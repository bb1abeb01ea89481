"""The two forms of a segment on disk: plain, as it is written, and compressed, once it is closed.

A segment is named by its plain path, `<process>-<segment>.jsonl`, in whichever form it is; a compressed one has `.gz`
or `.zst` behind that name (codecs.py). Every offset, in a mark or a `Record`, is one of the plain bytes. While several
are there, for an instant or after a kill, they hold the same, and the plain one is read. No thread, no lock.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinkertape.tape.codecs import CODECS, GZIP, Codec, codec_of, written

SUFFIX = ".jsonl"
REMOVED = "removed"  # the mark beside a segment that is no more
ONE_CALL = 200  # names, which the system gives in one call: 32 kB
_ENDINGS = (SUFFIX, *(SUFFIX + codec.suffix for codec in CODECS))
_MAGIC_MAX = max(len(codec.magic) for codec in CODECS)


def segment_files(folder: Path) -> list[Path]:
    """The segments in a folder, in either form, each once, in order, by their plain paths. Raises `OSError`."""
    there = _names(folder)
    if len(there) > ONE_CALL:  # the list was made in parts: what was compressed in between may be in none of them
        there |= _names(folder)
    removed = {name.removesuffix(f".{REMOVED}") for name in there if name.endswith(f".{REMOVED}")}
    found = {plain_path(folder / name) for name in there if name.endswith(_ENDINGS)}
    return sorted(path for path in found if path.stem not in removed)


def _names(folder: Path) -> set[str]:
    """The files in a folder, from one look: who asks for each if it is there misses one that is compressed then."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file() or entry.name.endswith(f".{REMOVED}")}


def plain_path(path: Path) -> Path:
    """The name of the segment that a file is a form of."""
    ending = next((ending for ending in _ENDINGS if path.name.endswith(ending)), SUFFIX)
    return path.with_name(path.name.removesuffix(ending.removeprefix(SUFFIX)))


def compressed_path(segment: Path) -> Path:
    """Its name in the form in which this Python compresses."""
    return segment.with_name(segment.name + written().suffix)


def places_of(segment: Path) -> tuple[Path, ...]:
    """Where it may be, in one form or another, the plain one first: one comes to be before another goes."""
    return segment, *(segment.with_name(segment.name + codec.suffix) for codec in CODECS)


def stored_path(segment: Path) -> Path:
    """The file in which a segment is now; the plain one if none is there."""
    return next((place for place in places_of(segment) if place.exists()), segment)


def stored_bytes(segment: Path) -> int:
    """The length of a segment in plain bytes. Raises `OSError`."""
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        with _compressed_or_missing(segment) as file:
            return length_of_compressed(file)


def length_of_compressed(file: io.BufferedReader) -> int:
    """How many bytes it says it holds; 0 where it is cut off so early that it says nothing. Raises `OSError`."""
    codec = _codec_of(file.fileno())
    return codec.plain_length(file) if codec is not None else 0


def open_stored(segment: Path) -> io.BufferedReader:
    """Open a segment for reading plain bytes, in whichever form it is. Raises `OSError`."""
    try:
        return segment.open("rb")
    except FileNotFoundError:
        return decompressed(_compressed_or_missing(segment))


def is_compressed(file: int) -> bool:
    """Is an open segment a compressed form? By its first bytes, with which no line begins."""
    return _codec_of(file) is not None


def decompressed(file: io.BufferedReader) -> io.BufferedReader:
    """The plain bytes of a compressed one; where it is damaged they end, and `damage_of` says so. Raises `OSError`."""
    return io.BufferedReader(_Decompressed(file), 256 * 1024)


def damage_of(file: io.BufferedReader) -> str:
    """Why reading a compressed segment ended before its end; empty if it did not."""
    return file.raw.damage if isinstance(file.raw, _Decompressed) else ""


def _codec_of(file: int) -> Codec | None:
    return codec_of(os.pread(file, _MAGIC_MAX, 0))


def _compressed_or_missing(segment: Path) -> io.BufferedReader:
    """Raises `FileNotFoundError` with the segment's own name."""
    for place in places_of(segment)[1:]:
        with contextlib.suppress(FileNotFoundError):
            return place.open("rb")
    return segment.open("rb")  # says what is missing, or finds what came meanwhile


class _Decompressed(io.RawIOBase):
    """The plain bytes of a compressed stream. Going back in it means to begin again."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        begin = file.peek(_MAGIC_MAX)
        codec = codec_of(begin) or GZIP
        self._damaged = codec.damage()
        self.damage = self._empty = "" if begin else "it is empty"
        self._stream = codec.opened(file)

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
        except self._damaged as error:
            self.damage = str(error) or type(error).__name__
