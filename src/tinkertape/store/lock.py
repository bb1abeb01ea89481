"""Holds the store's folder for one process, and says who holds it.

The lock is the kernel's (`flock` on `tinkertape.pid`): it ends with the process, also by SIGKILL, so a pid file that
was left behind locks nobody out. What stands in the file is for people: the pid, and when that process started, since
a pid is used again.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from tinkertape.config import open_private, process_started
from tinkertape.errors import StoreLocked

PID_FILE = "tinkertape.pid"


class FolderLock:
    """A folder, held from `acquire` to `release`; any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the folder, or raise `StoreLocked` with the process that has it."""
        descriptor = open_private(self._folder / PID_FILE, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise StoreLocked(
                f"cannot open {self._folder}: {holder} is using it; stop it, or choose another folder with --store"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "started": process_started(os.getpid())}).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the folder free; the file stays, empty."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _holder(content: bytes) -> str:
    try:
        entry = json.loads(content)
        pid, started = int(entry["pid"]), entry["started"]
    except (ValueError, KeyError, TypeError):
        return "another process"
    return f"process {pid}" if process_started(pid) == started else "another process"
