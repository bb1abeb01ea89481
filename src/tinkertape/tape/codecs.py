"""How a closed segment is compressed: with gzip, which every Python has, or with Zstandard, where this one has it.

Python 3.14 does; before, the extra `tinkertape[zstd]` brings it. It is written where it is there, since it is faster
and leaves less; whatever is there, both are read. Nothing is imported before the first segment is compressed or read.
No thread, no lock.
"""

from __future__ import annotations

import errno
import gzip
import importlib
import io
import os
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Protocol

GZIP_LEVEL = 6  # of 22 MB of HTTP lines it leaves 9.2 % at 116 MB/s; 1 leaves 10.8 % at 300, 9 leaves 8.7 % at 53
ZSTD_LEVEL = 1  # of 22 MB of all kinds of lines it leaves 6.3 % at 960 MB/s, gzip 7.1 % at 134; 3 leaves 7.5 % at 525
_GZIP = 31  # zlib's `wbits` for a gzip stream
_GZIP_TRAILER = 4  # bytes: a gzip stream ends with the length of what it holds
_FRAME_HEADER = 18  # bytes: a Zstandard frame says at its begin how much it holds (RFC 8878, 3.1.1.1)
_MISSING = "compressed with Zstandard, which this Python cannot read; pip install 'tinkertape[zstd]'"


class Compressor(Protocol):
    """What compresses a stream; it gives the GIL back meanwhile."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready of it."""

    def flush(self) -> bytes:
        """The rest."""


class Codec(NamedTuple):
    """One form of compressed segments: the `suffix` of their names, and the bytes with which each begins.

    `opened` gives the plain bytes of a file, `plain_length` their number, `compressor` compresses so many;
    `damage` is what reading raises of a file that is damaged. Each raises `OSError` where this Python cannot read it.
    """

    suffix: str
    magic: bytes
    opened: Callable[[io.BufferedReader], io.BufferedIOBase]
    plain_length: Callable[[io.BufferedReader], int]
    compressor: Callable[[int], Compressor]
    damage: Callable[[], tuple[type[Exception], ...]]


def written() -> Codec:
    """The one in which this Python compresses."""
    return GZIP if _zstd_or_none() is None else ZSTD


def codec_of(begin: bytes) -> Codec | None:
    """The one with whose first bytes a file begins; None: no line begins so, and it is plain."""
    return next((codec for codec in CODECS if begin.startswith(codec.magic)), None)


def _gzip_opened(file: io.BufferedReader) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=file, mode="rb")


def _gzip_length(file: io.BufferedReader) -> int:
    """0 for a stream that is cut off so early that it says nothing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _GZIP_TRAILER))
    return int.from_bytes(file.read(_GZIP_TRAILER), "little") if size > _GZIP_TRAILER else 0


def _gzip_compressor(_length: int) -> Compressor:
    return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)


def _gzip_damage() -> tuple[type[Exception], ...]:
    return EOFError, zlib.error, gzip.BadGzipFile


@cache
def _zstd_or_none() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _zstd() -> Any:
    found = _zstd_or_none()
    if found is None:
        raise OSError(errno.ENOTSUP, _MISSING)
    return found


def _zstd_opened(file: io.BufferedReader) -> io.BufferedIOBase:
    opened: io.BufferedIOBase = _zstd().ZstdFile(file, "rb")
    return opened


def _zstd_length(file: io.BufferedReader) -> int:
    """0 for a stream that is cut off so early that it says nothing."""
    zstd = _zstd()
    file.seek(0)
    try:
        said: int | None = zstd.get_frame_info(file.read(_FRAME_HEADER)).decompressed_size
    except zstd.ZstdError:
        return 0
    file.seek(0)
    return said if said is not None else _counted(_zstd_opened(file))


def _counted(stream: io.BufferedIOBase) -> int:
    """The length of what somebody else compressed, who did not say it."""
    length = 0
    try:
        while chunk := stream.read1():
            length += len(chunk)
    except (EOFError, _zstd().ZstdError):
        pass  # as far as it goes
    return length


def _zstd_compressor(length: int) -> Compressor:
    zstd = _zstd()
    parameter = zstd.CompressionParameter
    made = zstd.ZstdCompressor(options={parameter.compression_level: ZSTD_LEVEL, parameter.checksum_flag: 1})
    made.set_pledged_input_size(length)
    compressor: Compressor = made
    return compressor


def _zstd_damage() -> tuple[type[Exception], ...]:
    return EOFError, _zstd().ZstdError


GZIP = Codec(".gz", b"\x1f\x8b", _gzip_opened, _gzip_length, _gzip_compressor, _gzip_damage)
ZSTD = Codec(".zst", b"\x28\xb5\x2f\xfd", _zstd_opened, _zstd_length, _zstd_compressor, _zstd_damage)
CODECS = (GZIP, ZSTD)
