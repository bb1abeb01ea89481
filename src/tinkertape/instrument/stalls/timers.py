"""The stack of a thread that holds the GIL, written while it does: nobody else can, since whoever looks needs the GIL.

Each thread has a timer of the kernel's over its own processor time, put off again and again. While C code holds the GIL
nobody puts it off: the thread itself gets the signal, and faulthandler's C function writes its stack, in place. So a
thread is dumped only if it has used its budget of processor time while the monitor could not run: not when the machine
slept, the process was stopped, or others had the processors. Where the monitor was late for another reason there are no
timers for a while: a thread that is dumped in the middle of its Python code may crash, once in some hundred times.

Why not `faulthandler.dump_traceback_later`, as facts/performance.md §4 has it: its thread walks all stacks without the
GIL, and reads freed memory when a stall ends while it writes, or when it is only late. Ordinary programs died of
SIGSEGV within 45 such dumps (benchmarks/RESULTS.md). It also starts a thread each time, and it is the one timer that
pytest and others use; theirs is never touched here.

SIGURG is ignored by default, so that a late one is harmless (Go's runtime uses it for that reason). Where it is in use,
or the kernel has no such timers, there are no dumps.

Threads  one, the monitor's; the signal's handler runs in whichever thread holds the GIL.
Fork     timers are not inherited.
Exit     `close` deletes the timers; the handler stays, since nothing can be written when no timer runs.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from tinkertape.instrument.stalls.frames import stacks_in

BUDGET_NS = 250_000_000  # of processor time without being put off
DUMPS_MAX = 1_000_000  # bytes; the file is emptied after each look

_raw: Any = import_module("_signal")  # `signal.getsignal` makes an enumeration's member of it, which costs 20 us
_SIGEV_THREAD_ID = 4  # Linux: to this one thread


class _Event(ctypes.Structure):
    """struct sigevent, as Linux has it."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("unused", ctypes.c_int * 11),
    )


class _Setting(ctypes.Structure):
    """struct itimerspec: repeat, and how long from now."""

    _fields_ = (
        ("repeat_s", ctypes.c_long),
        ("repeat_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


def cpu_clock(native_id: int) -> int:
    """The kernel's clock of one thread's processor time: what `pthread_getcpuclockid` says, without its danger."""
    return (~native_id << 3) | 6


def is_free(signal_number: int) -> bool:
    """Does nobody in this process catch or ignore this signal, be it in Python or in C?"""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    masks = [line.split()[1] for line in status.splitlines() if line.startswith(("SigCgt:", "SigIgn:"))]
    return len(masks) == 2 and not any(int(mask, 16) >> (signal_number - 1) & 1 for mask in masks)


class Timers:
    """The timers of all threads, and the file that stacks are written to."""

    def __init__(self, library: Any, file: IO[bytes]) -> None:
        self._library = library
        self._file = file
        self._timers: dict[int, ctypes.c_void_p] = {}  # by native id
        self._on = ctypes.byref(_Setting(0, 0, 0, BUDGET_NS))
        self._set = library.timer_settime

    def put_off(self, computed: Collection[int], alive: Collection[int]) -> None:
        """Give each thread that has computed its whole budget again; forget those that are alive no more.

        Both by native id. One that has not computed has its budget still.
        """
        for thread in computed:
            timer = self._timers.get(thread)
            if timer is None and (timer := self._made(thread)) is None:
                continue
            self._set(timer, 0, self._on, None)
        if len(self._timers) > len(alive):
            for thread in self._timers.keys() - set(alive):
                self._library.timer_delete(self._timers.pop(thread))

    def check(self) -> bool:
        """Is the signal still ours? Else there are no timers any more."""
        if _raw.getsignal(signal.SIGURG) == _raw.SIG_DFL:  # faulthandler's own does not count
            return True
        self.close()
        return False

    def _made(self, thread: int) -> ctypes.c_void_p | None:
        event = _Event(None, signal.SIGURG, _SIGEV_THREAD_ID, thread)
        timer = ctypes.c_void_p()
        if self._library.timer_create(cpu_clock(thread), ctypes.byref(event), ctypes.byref(timer)) != 0:
            return None  # it has ended, or there are no timers left
        self._timers[thread] = timer
        return timer

    def take(self) -> list[list[str]]:
        """The stacks that were written since the last time."""
        descriptor = self._file.fileno()
        written = os.fstat(descriptor).st_size
        if not written:
            return []
        dump = os.pread(descriptor, DUMPS_MAX, 0).decode("utf-8", "replace")
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return stacks_in(dump)

    def close(self) -> None:
        for timer in self._timers.values():
            self._library.timer_delete(timer)
        self._timers.clear()


_file: IO[bytes] | None = None  # faulthandler writes there as long as the process lives


def make_timers() -> Timers | None:
    """Timers for this process; None where there are none, or somebody uses the signal."""
    global _file
    if sys.platform != "linux" or sys.implementation.name != "cpython":
        return None
    if _file is None and (not is_free(signal.SIGURG) or signal.getsignal(signal.SIGURG) is not signal.SIG_DFL):
        return None
    try:
        library = ctypes.PyDLL(None)  # keeps the GIL: these calls take less than giving it up
        library.timer_create, library.timer_settime, library.timer_delete  # noqa: B018  are they there?
        file = os.fdopen(os.memfd_create("tinkertape-stacks"), "wb", buffering=0)
    except (AttributeError, OSError):
        return None
    faulthandler.register(signal.SIGURG, file=file, all_threads=False, chain=False)
    _file = file
    return Timers(library, file)
