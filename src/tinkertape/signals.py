"""Signals are the program's. Ours is one moment: between a SIGTERM that it leaves alone and its death of it.

A program that does not handle SIGTERM dies of it, and so it does here, by the same signal and without another line of
its own, but for the moment in which `before_death` runs, `PATIENCE_S` at most. Three things make that moment:

- a handler in Python stops the main thread. It is equal to `SIG_DFL`, and `signal.getsignal` and `signal.signal` tell
  it as that; a handler that the program sets takes its place, and it does not come back by itself;
- before it stands one in C, of the standard library's `faulthandler`, which writes into a socket. It runs even while
  the main thread is inside a C call that ends late, or never;
- a thread waits at the socket, where the kernel says which process wrote. It lets `before_death` run in another thread,
  then puts the default back and sends the signal again. Where that fails, the main thread does it.

Left as they are: a signal that the program or a library handles or ignores; process 1, which does not die of it; a
start in another thread than the main one; a program that closes our socket, as one that becomes a daemon does. A C call
that keeps the interpreter's lock delays the death until it lets go.

Threads  "tinkertape-sigterm" waits. Threads that are started inside `unsignalled` take no signal: who waits for one by
         `sigwait` gets it.
Locks    `_hold`: while the main thread writes or ends the tape; it is waited for `PATIENCE_S` at most. `before_death`
         does not run in the thread that was stopped, which may hold any.
Fork     a child has the default: what ends it is not the end of its parent. While one is made, the signal waits.
Exit     `forget` puts the default back.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from tinkertape.guard import guarded

PATIENCE_S = 1.5
MAIN_PATIENCE_S = PATIENCE_S + 1.0  # the main thread's, before it does itself what the other should have done
FAULTS = frozenset({"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"})  # a thread's own
SIGTERM = signal.SIGTERM
_CREDENTIALS = struct.Struct("3i")  # process, user, group
# glibc loads it when a thread ends with the interpreter, and aborts where the program may open no more files.
with contextlib.suppress(OSError):
    ctypes.CDLL("libgcc_s.so.1")
_raw: Any = import_module("_signal")  # `signal.signal` would take our handler for the SIG_DFL that it is equal to


class _AsDefault(int):
    """The handler: 0, as `SIG_DFL` is, and callable."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Stop here. Runs in the main thread, between two of its instructions."""
        if _is_held and _watch is not None:
            _watch.is_dying = True
        else:
            _die_here()


def _die_here() -> None:
    """In the main thread: let the other one end what is to be ended, and die."""
    with contextlib.suppress(BaseException):  # a second signal: there is nothing to wait for any more
        if _watch is not None and not _watch.has_stopped:
            _watch.stop_here()
    _raw.signal(SIGTERM, _raw.SIG_DFL)
    os.kill(os.getpid(), SIGTERM)


class _Watch:
    """Waits for a SIGTERM, in a thread of its own."""

    def __init__(self, before_death: Callable[[], object]) -> None:
        self._before_death = before_death
        self._reads, self._writes = socket.socketpair()
        self._writes.setblocking(False)
        if hasattr(socket, "SO_PASSCRED"):
            self._reads.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.file = self._writes.fileno()
        self._is_over = False
        self.is_dying = False
        self.has_stopped = False  # the main thread
        self._thread = threading.Thread(target=self._run, name="tinkertape-sigterm", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop_here(self) -> None:
        """Wait for death, in the main thread."""
        self.has_stopped = True
        self._wake()
        never = _thread.allocate_lock()
        never.acquire()
        never.acquire(timeout=MAIN_PATIENCE_S)

    def end(self) -> None:
        """Wait no more."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is full: the thread is awake
            os.write(self.file, b".")

    def _run(self) -> None:
        while (writer := self._writer()) != os.getpid():  # a process that was forked past Python died of the signal
            if writer is None:
                self._give_up()
                return
        if self._is_over:
            self._reads.close()
            self._writes.close()
            return
        self.is_dying = True
        if _hold.acquire(timeout=PATIENCE_S):
            _hold.release()
        ended = _thread.allocate_lock()
        ended.acquire()
        _thread.start_new_thread(self._end, (ended,))
        ended.acquire(timeout=PATIENCE_S)
        _die()

    def _writer(self) -> int | None:
        """Wait until something is written; the process that wrote it, this one where the kernel does not say. None: the
        socket was closed under us.
        """
        try:
            written, ancillary, _, _ = self._reads.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError:
            return None
        if not written:
            return None
        for level, kind, told in ancillary:
            if level == socket.SOL_SOCKET and kind == getattr(socket, "SCM_CREDENTIALS", None):
                return int(_CREDENTIALS.unpack(told[: _CREDENTIALS.size])[0])
        return os.getpid()

    def _give_up(self) -> None:
        """The program closed every file, as one that becomes a daemon does: their numbers may be its own by now."""
        global _watch
        self._reads.detach()
        self._writes.detach()
        if _watch is self:
            _watch = None
            _restore()

    def _end(self, ended: _thread.LockType) -> None:
        with guarded("signals.before_death"):
            self._before_death()
        ended.release()


_watch: _Watch | None = None
_hold = threading.RLock()
_is_held = False  # by the main thread, and by no other


def before_sigterm(before_death: Callable[[], object]) -> bool:
    """Call `before_death`, in another thread, when a SIGTERM is about to end this process. False: it is left alone."""
    global _watch
    if not _may_watch():
        return False
    forget()
    _watch = _Watch(before_death)
    _watch.start()
    faulthandler.unregister(SIGTERM)  # one that the program's own handler had put out of use: else nothing is set anew
    _raw.signal(SIGTERM, _AsDefault(_raw.SIG_DFL))
    faulthandler.register(SIGTERM, file=_watch.file, all_threads=False, chain=True)
    return True


def forget() -> None:
    """Put the default back, unless the program has set another handler. Any thread."""
    global _watch
    watch = _watch
    if watch is None or watch.is_dying or watch.has_stopped:
        return
    _watch = None
    _restore()
    watch.end()


def _restore() -> None:
    """The default again, where the handler is ours."""
    if not isinstance(_raw.getsignal(SIGTERM), _AsDefault):
        return
    faulthandler.unregister(SIGTERM)
    if threading.current_thread() is threading.main_thread():
        _raw.signal(SIGTERM, _raw.SIG_DFL)
    else:
        _set_default()


def _may_watch() -> bool:
    """Is the signal the default's, and is this the thread and the process to change that?"""
    if threading.current_thread() is not threading.main_thread() or os.getpid() == 1:
        return False
    return signal.getsignal(SIGTERM) is signal.SIG_DFL and (_watch is not None or not _is_caught())


def _is_caught() -> bool:
    """Does a library handle it, in C? The system says so, where it has /proc."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (SIGTERM - 1) & 1)


def _die() -> None:
    """By the signal, of its default."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (SIGTERM,))
    _set_default()
    os.kill(os.getpid(), SIGTERM)


def _set_default() -> None:
    """What `signal.signal` does below, which only the main thread may call."""
    set_signal = ctypes.pythonapi.PyOS_setsig
    set_signal.argtypes, set_signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    set_signal(SIGTERM, None)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Death by SIGTERM waits until this is over: the main thread is not stopped in here, with locks that it took."""
    global _is_held
    if _is_held or threading.current_thread() is not threading.main_thread():
        yield
        return
    _is_held = True
    try:
        with _hold:
            yield
    finally:
        _is_held = False
        if _watch is not None and _watch.is_dying:
            _die_here()


@contextlib.contextmanager
def unsignalled() -> Iterator[None]:
    """Threads that start inside take no signal."""
    faults = {getattr(signal, name) for name in FAULTS if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_forking = threading.local()  # the mask of a thread that forks


def _before_fork() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (SIGTERM,)) if _watch is not None else None


def _after_fork() -> None:
    mask = getattr(_forking, "mask", None)
    if mask is not None:
        _forking.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    global _watch, _hold, _is_held
    _hold, _is_held = threading.RLock(), False
    if _watch is not None:
        _watch = None
        _restore()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
