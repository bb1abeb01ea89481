"""A file of the system's that is read again and again. Whoever closes what he did not open (a daemon closes every
number) may have the number for a file of his own by now: that one is never closed here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class KeptFile:
    """Open to read while somebody has this. `descriptor` may be another's file by now: read with doubt."""

    __slots__ = ("_opened", "descriptor")

    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._opened = os.fstat(self.descriptor)

    def __del__(self) -> None:
        with suppress(OSError):
            if self.descriptor >= 0 and os.path.samestat(os.fstat(self.descriptor), self._opened):
                os.close(self.descriptor)
