"""The workers that a recorded program spawns: each records into the same run, a file of its own.

A forked worker goes on recording by itself. One that `multiprocessing` spawns, also by way of a forkserver, is a new
interpreter that is sent a pickled table of what it needs before anything of the program is imported. Ours is one more
row of that table: text for the builtin `exec`, which starts recording as it is unpickled, so that an interpreter that
has no tinkertape goes on without.

Threads  whichever starts a process; in the worker its main thread.
Fork     a forked child's workers are followed, too.
Exit     a worker's tape ends when the worker does, by SIGTERM of a pool that is torn down as well.
"""

from __future__ import annotations

import multiprocessing.spawn
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from tinkertape.guard import guarded
from tinkertape.instrument.patches import Patches
from tinkertape.telemetry import DEATH_S, Telemetry, close_at_exit, start
from tinkertape.workers import at_the_end_of_the_worker_to_be

_BEGIN = """
try:
    from tinkertape.cli.following import join
except ImportError:
    pass
else:
    join(run, name, directory)
"""


class _Row:
    """What is unpickled as a call of `exec`."""

    def __init__(self, **names: str) -> None:
        self._names = names

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return exec, (_BEGIN, self._names)


def follow_spawned(telemetry: Telemetry, name: str) -> None:
    """Have every worker that this process spawns from now on record into its run."""
    row = _Row(run=telemetry.run, name=name, directory=str(telemetry.tape.parents[1]))

    def with_our_row(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        @wraps(original)
        def get_preparation_data(*args: Any, **kwargs: Any) -> dict[str, Any]:
            return {**original(*args, **kwargs), "tinkertape": row}

        return get_preparation_data

    Patches().replace(multiprocessing.spawn, "get_preparation_data", with_our_row)


def join(run: str, name: str, directory: str) -> None:
    """In a worker: record into the run, until the worker ends."""
    with guarded("cli.run.join"):
        os.environ["TINKERTAPE_RUN"] = run
        telemetry = start(name, directory=directory)
        at_the_end_of_the_worker_to_be(lambda: close_at_exit(DEATH_S))
        follow_spawned(telemetry, name)
