"""The begin and the end of a worker of `multiprocessing`: it ends by `os._exit`, past `atexit`, after multiprocessing's
own finalizers.

A worker first forgets the finalizers of its parent, then calls its hooks: only there can one of ours be made. One that
is spawned without a forkserver does neither: a finalizer is made before it. A bare `os._exit` is not seen.

Threads  any; in practice where modules are imported and objects are made.
Fork     what was asked for holds in every child.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tinkertape.guard import guarded

_LAST = -1_000  # after every finalizer that may still record something
_first_functions: list[Callable[[], object]] = []
_functions: list[Callable[[], object]] = []
_is_hooked = False  # multiprocessing's list of hooks outlives forks, as this does
_before_fork: BaseException | None = None  # what `sys.last_value` was there: pytest and notebooks set it and go on


def at_the_begin_of_forked_workers(function: Callable[[], object]) -> None:
    """Call this in every worker that is forked from this process, in its main thread, before its own function."""
    _first_functions.append(function)


def at_the_end_of_forked_workers(function: Callable[[], object]) -> None:
    """Call this at the end of every worker that is forked from this process; what was asked for last comes first."""
    _functions.insert(0, function)


def at_the_end_of_this_worker(function: Callable[[], object]) -> None:
    """Call this at the end of this process, if it is a worker, forked or not; else never."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        _finalize_by(function)


def at_the_end_of_the_worker_to_be(function: Callable[[], object]) -> None:
    """Call this at the end of this process, first of all: it was spawned, and has yet to become a worker."""
    _first_functions.clear()  # it is no forked one
    _functions.insert(0, function)
    _expect_worker()
    if "multiprocessing.util" in sys.modules:
        _finalize_by(function)


def what_ends_this_process() -> BaseException | None:
    """The exception that is ending this program, or this worker, for a function that is called at its end. None: it
    ends by itself, or by `SystemExit`, which only of a worker is known.

    One of before a fork is not the child's own, whether it is being handled there, or was the last to be printed; at a
    prompt nothing ends by the last.
    """
    process, error = sys.modules.get("multiprocessing.process"), sys.exception()
    trace = None if error is None else error.__traceback__
    if process is not None and trace is not None and trace.tb_frame.f_code is process.BaseProcess._bootstrap.__code__:
        return error
    last = getattr(sys, "last_value", None)  # the interpreter sets it as the program dies
    return None if last is _before_fork or hasattr(sys, "ps1") else last


def _expect_worker() -> None:
    """In a child, which may become a worker."""
    global _is_hooked
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _is_hooked:
        with guarded("workers"):
            util.register_after_fork(_end, _begin)
            _is_hooked = True


def _begin(end: Callable[[], None]) -> None:
    _call(_first_functions)
    _finalize_by(end)


def _finalize_by(function: Callable[[], object]) -> None:
    with guarded("workers"):
        sys.modules["multiprocessing.util"].Finalize(None, function, exitpriority=_LAST)


def _end() -> None:
    _call(_functions)


def _call(functions: list[Callable[[], object]]) -> None:
    for function in functions:
        with guarded("workers"):
            function()


def _after_fork() -> None:
    global _before_fork
    _before_fork = getattr(sys, "last_value", None)
    _expect_worker()


os.register_at_fork(after_in_child=_after_fork)
