"""How long the threads that carry the SDK's exchanges waited for a processor: the kernel's own count.

A stamp is taken when our thread runs, not when something happened: on a busy machine the answer lies there, and the
thread waits in a run queue. Linux counts that wait by thread, in the second field of `/proc/self/task/<id>/schedstat`,
up to date whenever the thread runs. Two threads stand between an answer and its stamp: the SDK's loop, and the HTTP
transport's own (a pool of Rust's, which wakes the loop); their waits may follow each other, so they are added.

Each file is opened once a thread and read in place, 3 us in the midst of other work, and there are half a dozen: so no
reading is taken that could not change an answer by more than 4 ms. An exchange takes for its begin one of up to 20 ms
ago, which makes its wait longer by what was waited in between, never shorter. At its end it takes one of up to 4 ms
ago, and none where it lasted no longer itself: then it has waited no longer, either. New threads are looked for at most
once a second (5 us).
Absent where the system does not count: None, and no measurement. What it cannot see: a thread that waits for the GIL
whose holder waits for a processor, and a hypervisor that runs somebody else.

Threads  the SDK's loop.
Fork     the files name the parent's threads: closed in the child, which opens its own.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from tinkertape.instrument.kept_file import KeptFile

NETWORK_THREAD = b"tokio-"  # what the transport's threads are called: `tokio-rt-worker`, or `tokio-runtime-w`
NETWORK_THREADS_MAX = 8  # read at most: there are as many as cores, or twice
_TASKS = Path("/proc/self/task")
_LOOK_FIRST_NS = 10_000_000  # the transport starts its threads during the first exchange
_LOOK_MAX_NS = 1_000_000_000
_BEGIN_AGE_NS = 20_000_000
_SHORT_NS = 4_000_000


class _Thread(KeptFile):
    """One thread's count; `waited_ns` is the last that was read. The file is closed when nobody has it any more."""

    __slots__ = ("waited_ns",)

    def __init__(self, thread_id: str) -> None:
        """Raises OSError where the system does not count, or the thread has ended."""
        super().__init__(_TASKS / thread_id / "schedstat")
        self.waited_ns = 0
        self.read()

    def read(self) -> int:
        try:
            self.waited_ns = int(os.pread(self.descriptor, 64, 0).split(maxsplit=2)[1])
        except (OSError, ValueError, IndexError):  # it has ended, or the file is the program's by now
            return self.waited_ns
        return self.waited_ns


class _Threads:
    """The threads that are read: each caller's own, and the transport's."""

    def __init__(self) -> None:
        self._counted = True  # by this system, as far as is known
        self._callers: dict[str, _Thread] = {}
        self._network: dict[str, _Thread] = {}
        self._ended_ns = 0  # what those had waited that are gone
        self._others: set[str] = set()  # threads known to be no transport's
        self._look_at_ns = 0
        self._look_after_ns = _LOOK_FIRST_NS
        self._newest: tuple[int, int, int | None] = (0, 0, None)  # the thread that read, when, and what

    def waited_ns(self, age_ns: int) -> int | None:
        """The calling thread's newest reading if it is no older than that, else a new one."""
        thread, now_ns = threading.get_ident(), time.perf_counter_ns()
        read_by, read_ns, reading = self._newest
        if now_ns - read_ns > age_ns or read_by != thread:
            reading = self._read(now_ns) if self._counted else None
            self._newest = (thread, now_ns, reading)
        return reading

    def _read(self, now_ns: int) -> int | None:
        if now_ns >= self._look_at_ns:
            self._look()
        thread_id = str(threading.get_native_id())
        caller = self._callers.get(thread_id)
        if caller is None:
            try:
                caller = self._callers[thread_id] = _Thread(thread_id)
            except OSError:
                self._counted = False
                return None
        return self._ended_ns + caller.read() + sum([thread.read() for thread in self._network.values()])

    def _look(self) -> None:
        """Find the transport's threads that are new, and let go of what has ended."""
        self._look_at_ns = time.perf_counter_ns() + self._look_after_ns
        self._look_after_ns = min(2 * self._look_after_ns, _LOOK_MAX_NS)
        try:
            now = set(os.listdir(_TASKS))  # noqa: PTH208  the names alone
        except OSError:
            return
        for gone in set(self._network) - now:
            self._ended_ns += self._network.pop(gone).waited_ns
        for gone in set(self._callers) - now:
            del self._callers[gone]
        self._others &= now
        for thread_id in now - self._others - set(self._network):
            with suppress(OSError):  # it has just ended
                if not (_TASKS / thread_id / "comm").read_bytes().startswith(NETWORK_THREAD):
                    self._others.add(thread_id)
                elif len(self._network) < NETWORK_THREADS_MAX:
                    self._network[thread_id] = _Thread(thread_id)


_threads = _Threads()


def waited_ns() -> int | None:
    """How long the calling thread and the transport's have waited for a processor so far, ns. None: not counted."""
    return _threads.waited_ns(_BEGIN_AGE_NS)


def since(began_ns: int | None, lasted_ns: int) -> int | None:
    """How much longer they have waited since `waited_ns()` said `began_ns`, in the same thread, `lasted_ns` ago."""
    if began_ns is None:
        return None
    now_ns = began_ns if lasted_ns < _SHORT_NS else _threads.waited_ns(_SHORT_NS)
    return None if now_ns is None else max(0, now_ns - began_ns)


def forget() -> None:
    """Let go of every file: after `uninstall`, and in the child of a fork."""
    global _threads
    _threads = _Threads()


os.register_at_fork(after_in_child=forget)
