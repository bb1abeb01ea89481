"""One file of a tape, and what it needs of the disk. No thread and no lock: its owner has them."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Protocol

from tinkertape.config import open_private, private_folder

RESERVE = 4096  # bytes: a block of the usual file systems


class FileSystem(Protocol):
    """What a segment needs of the disk; a test passes one in that tears writes or refuses them."""

    def open(self, path: Path) -> int: ...
    def identity(self, file: int | Path) -> object: ...
    def size(self, file: int) -> int: ...
    def ends_line(self, file: int) -> bool: ...
    def write(self, file: int, data: bytes) -> int: ...
    def sync(self, file: int) -> None: ...
    def sync_folder(self, folder: Path) -> None: ...
    def close(self, file: int) -> None: ...
    def reserve(self, folder: Path) -> int: ...


class Disk:
    """The real file system. Folders are 0700, files 0600, opened to append."""

    def open(self, path: Path) -> int:
        private_folder(path.parent)
        return open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)

    def identity(self, file: int | Path) -> object:
        status = file.stat() if isinstance(file, Path) else os.fstat(file)
        return status.st_dev, status.st_ino

    def size(self, file: int) -> int:
        return os.fstat(file).st_size

    def ends_line(self, file: int) -> bool:
        size = self.size(file)
        return size == 0 or os.pread(file, 1, size - 1) == b"\n"

    def write(self, file: int, data: bytes) -> int:
        return os.write(file, data)

    def sync(self, file: int) -> None:
        os.fdatasync(file)

    def sync_folder(self, folder: Path) -> None:
        """Bring to the disk which files are in a folder: else a loss of power forgets the name of a new one."""
        file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that knows no such thing
                raise
        finally:
            os.close(file)

    def close(self, file: int) -> None:
        os.close(file)

    def reserve(self, folder: Path) -> int:
        """A file without a name that takes a block of the disk until it is closed, also by a kill."""
        private_folder(folder)
        path = folder / f".{os.getpid()}-{threading.get_ident()}.room"
        file = open_private(path, os.O_RDWR | os.O_CREAT)
        path.unlink()
        try:
            os.write(file, os.urandom(RESERVE))  # nothing that a file system may store in less
        except OSError:
            os.close(file)
            raise
        return file


DISK = Disk()


class SegmentFile:
    """One file of a tape, open to append whole lines. Not for two threads at once: its owner has the lock.

    `size` is where the next byte goes. `trouble` is why the last `append` or `sync` fell short, None if it did not.
    `reserve` keeps a block of the disk for a last line, which `release` makes free: a full disk has no other.
    """

    def __init__(self, path: Path, *, disk: FileSystem = DISK, reserve: bool = False) -> None:
        """Open it, made if need be, with its folder. A torn line at its end is closed by the next append.

        Raises `OSError`.
        """
        self.path = path
        self.trouble: OSError | None = None
        self._disk = disk
        self._file = disk.open(path)
        self._identity = disk.identity(self._file)
        self.size = disk.size(self._file)
        self._at_line_start = self._whole = disk.ends_line(self._file)
        self._reserve, self._reserve_identity = _reserved(disk, path.parent) if reserve else (None, None)

    def append(self, data: bytes) -> int:
        """Write lines; return how many of the bytes are in the file.

        If not all are, `trouble` says why; go on with the rest by another `append`, or give it up by `abandon`.
        """
        self.trouble = None
        if not self._whole:  # something was given up in the middle of a line
            if not self._write(b"\n"):
                return 0
            self._whole = True
        return self._write(data)

    def _write(self, data: bytes) -> int:
        done = 0
        while done < len(data):
            try:
                if not self._is_ours():
                    self._file = self._disk.open(self.path)
                    self._identity = self._disk.identity(self._file)
                count = self._disk.write(self._file, data[done:] if done else data)
            except OSError as error:
                self.trouble = error
                break
            if count <= 0:  # POSIX allows it; it must not become an endless loop
                self.trouble = OSError(errno.EIO, "nothing was written")
                break
            done += count
        if done:
            self.size += done
            self._at_line_start = data[done - 1 : done] == b"\n"
        return done

    def _is_ours(self) -> bool:
        return _is_still(self._disk, self._file, self._identity)

    @property
    def is_in_place(self) -> bool:
        """Does its path still lead to it? False: somebody deleted it, or moved it away."""
        try:
            return self._disk.identity(self.path) == self._identity
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # nobody can say just now

    @property
    def ends_line(self) -> bool:
        """Is what was appended made of whole lines?"""
        return self._at_line_start

    def abandon(self) -> None:
        """The rest of a torn append will not come: the next one begins on a line of its own."""
        self._whole = self._at_line_start

    def sync(self) -> bool:
        """Bring to the disk what was appended, so that it outlasts a loss of power. False: `trouble` says why."""
        try:
            self._disk.sync(self._file)
        except OSError as error:
            self.trouble = error
            return False
        return True

    def release(self) -> None:
        """Give the reserved block back."""
        file, self._reserve = self._reserve, None
        if file is not None and _is_still(self._disk, file, self._reserve_identity):
            self._disk.close(file)

    def close(self) -> None:
        self.release()
        if self._is_ours():
            self._disk.close(self._file)


def _reserved(disk: FileSystem, folder: Path) -> tuple[int | None, object]:
    try:
        file = disk.reserve(folder)
        return file, disk.identity(file)
    except OSError:  # it is full already
        return None, None


def _is_still(disk: FileSystem, file: int, identity: object) -> bool:
    """Is the descriptor still that of the file? A program that closes all it finds (a daemon does) frees the number for
    a file of its own, which must not get our lines, nor be closed.
    """
    try:
        return disk.identity(file) == identity
    except OSError:
        return False
