"""A disk that a test can make refuse and tear writes; what it holds is a real file."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from tinkertape.tape.segment import RESERVE, Disk


class FaultyDisk(Disk):
    """`budget`: bytes that still fit, None: any number. `short`: at most so many bytes a write. `error`: what a full
    or broken disk says. `held`: while cleared, a write waits. `synced` counts the syncs.
    """

    def __init__(self, budget: int | None = None, short: int | None = None, error: int = errno.ENOSPC) -> None:
        self.budget = budget
        self.short = short
        self.error = error
        self.held = threading.Event()
        self.held.set()
        self.synced = 0
        self.writes = 0
        self.reserved: set[int] = set()

    def open(self, path: Path) -> int:
        if self.budget == 0:
            raise OSError(self.error, "refused")
        return super().open(path)

    def write(self, file: int, data: bytes) -> int:
        self.held.wait(30)
        self.writes += 1
        allowed = len(data) if self.short is None else min(len(data), self.short)
        if self.budget is not None:
            if self.budget == 0:
                raise OSError(self.error, "refused")
            allowed = min(allowed, self.budget)
            self.budget -= allowed
        return super().write(file, data[:allowed])

    def reserve(self, folder: Path) -> int:
        if self.budget is not None:
            if self.budget < RESERVE:
                raise OSError(self.error, "refused")
            self.budget -= RESERVE
        file = super().reserve(folder)
        self.reserved.add(file)
        return file

    def close(self, file: int) -> None:
        if file in self.reserved and self.budget is not None:
            self.budget += RESERVE
        self.reserved.discard(file)
        super().close(file)

    def sync(self, file: int) -> None:
        self.synced += 1
        super().sync(file)
