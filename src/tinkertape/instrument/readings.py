"""Where the figures of the process come from: Linux's /proc, read directly, or psutil (the extra `process`) elsewhere.

/proc costs a few us a figure and needs nothing installed. Where neither is there, what the standard library knows is
left: processor time and the peak of memory.

Threads  any; nothing is kept but which of them it is.
Fork     a child chooses anew.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, Protocol

RUNNABLE_MAX = 512  # threads; beyond that their states cost too much

_STAT_MAX = 1_024  # bytes of one thread's state, which are 300

if sys.platform != "win32":
    import resource


class Readings(Protocol):
    """One way to read the figures; what it cannot say is left out."""

    def memory(self) -> dict[str, int]:
        """Bytes: rss, peak."""

    def uss(self) -> int | None:
        """Bytes that are this process's alone."""

    def cpu(self) -> dict[str, int]:
        """Ns of processor time since the process began: user, system; and switches between threads."""

    def counts(self) -> dict[str, int]:
        """threads, open_files, open_files_max."""

    def runnable_threads(self) -> int | None:
        """Threads of this process that run or want a processor, without the calling one."""


class StandardLibrary:
    """What Python itself knows."""

    def memory(self) -> dict[str, int]:
        peak = _peak_bytes()
        return {} if peak is None else {"peak": peak}

    def uss(self) -> int | None:
        return None

    def cpu(self) -> dict[str, int]:
        if sys.platform == "win32":
            times = os.times()
            return {"user": int(times.user * 1e9), "system": int(times.system * 1e9)}
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "user": int(used.ru_utime * 1e9),
            "system": int(used.ru_stime * 1e9),
            "voluntary_switches": used.ru_nvcsw,
            "involuntary_switches": used.ru_nivcsw,
        }

    def counts(self) -> dict[str, int]:
        limit = _open_files_max()
        return {} if limit is None else {"open_files_max": limit}

    def runnable_threads(self) -> int | None:
        return None


class Proc(StandardLibrary):
    """Linux's /proc/self."""

    def __init__(self, folder: Path = Path("/proc/self")) -> None:
        self._folder = folder
        self._page = os.sysconf("SC_PAGESIZE")

    def memory(self) -> dict[str, int]:
        rss = int((self._folder / "statm").read_bytes().split()[1]) * self._page
        return {"rss": rss, "peak": max(rss, *super().memory().values())}  # the kernel's peak lags behind

    def uss(self) -> int | None:
        try:
            lines = (self._folder / "smaps_rollup").read_bytes().splitlines()
        except OSError:  # before Linux 4.14, or not allowed
            return None
        private = [line.split() for line in lines if line.startswith((b"Private_Clean:", b"Private_Dirty:"))]
        return sum(int(fields[1]) for fields in private) * 1024 if private else None

    def counts(self) -> dict[str, int]:
        return {
            "threads": len(os.listdir(self._folder / "task")),  # noqa: PTH208  the names alone
            "open_files": self._open_files(),
            **super().counts(),
        }

    def _open_files(self) -> int:
        descriptors = self._folder / "fd"
        counted = descriptors.stat().st_size  # since Linux 6.2 the folder's size is their number
        return counted or len(os.listdir(descriptors)) - 1  # noqa: PTH208  the names alone, less the listing's own

    def runnable_threads(self) -> int | None:
        own = str(threading.get_native_id())
        threads = os.listdir(self._folder / "task")  # noqa: PTH208  the names alone
        if len(threads) > RUNNABLE_MAX:
            return None
        return sum(_is_runnable(f"{self._folder}/task/{thread}/stat") for thread in threads if thread != own)


class Psutil(StandardLibrary):
    """psutil, where there is no /proc."""

    def __init__(self, psutil: Any) -> None:
        self._process = psutil.Process()

    def memory(self) -> dict[str, int]:
        found = self._process.memory_info()
        peak = getattr(found, "peak_wset", None)  # Windows
        return {"rss": found.rss, **({} if peak is None else {"peak": peak}), **super().memory()}

    def uss(self) -> int | None:
        uss = getattr(self._process.memory_full_info(), "uss", None)
        return None if uss is None else int(uss)

    def counts(self) -> dict[str, int]:
        count = self._process.num_handles if sys.platform == "win32" else self._process.num_fds
        return {"threads": self._process.num_threads(), "open_files": count(), **super().counts()}


@cache
def readings() -> Readings:
    """The best way that there is here."""
    if sys.platform == "linux" and Path("/proc/self/statm").exists():
        return Proc()
    try:
        import psutil  # noqa: PLC0415  an optional extra
    except ImportError:
        return StandardLibrary()
    return Psutil(psutil)


os.register_at_fork(after_in_child=readings.cache_clear)  # psutil's object is the parent's


def _is_runnable(stat: str) -> bool:
    """By the system's own calls: there may be hundreds, and a `Path` takes longer than the kernel does."""
    try:
        file = os.open(stat, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(file, _STAT_MAX)
        finally:
            os.close(file)
    except OSError:  # it has just ended
        return False
    return text[text.rindex(b")") + 2 :].startswith(b"R")


def _peak_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _open_files_max() -> int | None:
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
