"""The memory that the engine's own program takes: 170 MB of its 540 are read once, when it is loaded and has its first
queries, and a quarter of them is used again.

Only pages are given back that stand in its file as they do in memory, so that nothing can be lost: who needs one finds
it in the system's cache again. Those are the pages of a mapping that nobody may write to, and of which no page is a
copy of this process's own (`Anonymous`; the linker fills in addresses on some, and then protects them).

Threads  any; others may run in those very pages meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ENGINE_MODULE = "chdb._chdb"
DONT_NEED = 4  # MADV_DONTNEED of Linux, on all processors but Alpha, where it is another
_SMAPS = Path("/proc/self/smaps")
# readable, not writable, private, of a file
_MAPPING = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +(\S.*)\n((?:\w+:.*\n)+)", re.MULTILINE)
_OWN_PAGES = re.compile(rb"^(?:Anonymous|Private_Dirty|Shared_Dirty|Swap|Locked): +(\d+) kB$", re.MULTILINE)


def give_back_code_pages() -> int:
    """Tell the kernel that the unchanged pages of the engine's program are not needed now; how many stretches of it
    that were comes back. 0 where the system does not say which are unchanged, or the engine is not loaded."""
    module = sys.modules.get(ENGINE_MODULE)
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    given_back = 0
    if advise is None or module is None or not module.__file__:
        return given_back
    with contextlib.suppress(OSError):  # no such file; a kernel without that accounting
        for begin, end in unchanged_mappings(_SMAPS.read_bytes(), module.__file__):
            given_back += advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), DONT_NEED) == 0
    return given_back


def unchanged_mappings(smaps: bytes, path: str) -> Iterator[tuple[int, int]]:
    """Where the pages of a file are mapped that stand in it as they do in memory: begin and end. Pure."""
    for begin, end, name, about in _MAPPING.findall(smaps):
        own_kb = [int(kb) for kb in _OWN_PAGES.findall(about)]
        if name == path.encode() and len(own_kb) == 5 and not any(own_kb):
            yield int(begin, 16), int(end, 16)
