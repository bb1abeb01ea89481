"""Compresses a closed segment, under a name of its own until it is whole on the disk, then the plain one goes.

A kill at any moment leaves the plain segment, or both, or the compressed one: never neither. No thread, no lock but
that of `hold`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tinkertape.config import open_private
from tinkertape.tape.codecs import Compressor, written
from tinkertape.tape.forms import SUFFIX, compressed_path
from tinkertape.tape.hold import holding

CHUNK = 256 * 1024  # bytes; the GIL is given back for each
_UNFINISHED = ".new"


def compress(segment: Path) -> bool:
    """Compress a plain segment that nobody writes to any more. False: somebody holds it, or there is none.

    Raises `OSError` of the disk, and leaves the segment as it was.
    """
    with holding(segment) as file:
        if file is None or not segment.exists():
            return False
        beside = segment.with_name(f".{segment.name}.{os.getpid()}{_UNFINISHED}")
        try:
            status = os.fstat(file)
            _write_compressed(file, beside, written().compressor(status.st_size))
            os.utime(beside, ns=(status.st_atime_ns, status.st_mtime_ns))
            beside.replace(compressed_path(segment))
        finally:
            beside.unlink(missing_ok=True)
        segment.unlink(missing_ok=True)
        return True


def remove_leftovers(folder: Path) -> None:
    """Remove what compressions left that were killed; those that still go on are held. Raises `OSError`."""
    for leftover in folder.glob(f".*{SUFFIX}.*{_UNFINISHED}"):
        segment = folder / f"{leftover.name[1:].partition(SUFFIX)[0]}{SUFFIX}"
        with holding(segment) as file:
            if file is not None:
                leftover.unlink(missing_ok=True)


def _write_compressed(file: int, target: Path, compressor: Compressor) -> None:
    with os.fdopen(open_private(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as made:
        offset = 0
        while chunk := os.pread(file, CHUNK, offset):
            offset += len(chunk)
            made.write(compressor.compress(chunk))
        made.write(compressor.flush())
        made.flush()
        os.fsync(made.fileno())
