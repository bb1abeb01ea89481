"""Metrics of a program that has several processes: each writes what it counted, and whoever is asked adds it up.

A reporter writes its states to a file of its own in a folder that all share: where they changed, each second (less
often where that would take more than 5 % of a processor), and when it closes. Several reporters of one process have a
file each; a metric of one name is counted once, as the newest of them has it. What a process leaves that has ended is
moved into one file, `ended.json`, so that the folder does not grow with every worker. That file names what it took, and
so does a crash between its writing and the removal count nothing twice.

Threads  "tinkertape-metrics" writes; `states` runs in the thread that serves the scrape.
Locks    `_writing`: one thread of this process at a time writes or moves; who is not let in for WRITING_S, or came in a
         signal's handler that interrupted it, reads the files as they are. `lock` in the folder (`flock`): one process
         moves at a time.
Fork     a child has a file and a thread of its own, from the fork on: nobody may ever ask it.
Exit     `close` writes a last time, and so does the end of the program or of a worker of `multiprocessing`; where a
         process is killed, or ends by a bare `os._exit`, what came in the last second is missing.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.errors import MetricError
from tinkertape.guard import guarded
from tinkertape.metrics.aggregate import Aggregate
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.ending import Ending
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.states import merged
from tinkertape.metrics.turn import Turn
from tinkertape.metrics.values import Family, Kept, family_of
from tinkertape.structs import made_ready
from tinkertape.workers import at_the_end_of_forked_workers, at_the_end_of_this_worker

PERIOD_S = 1.0
REST = 20  # times as long as writing took
WRITING_S = 1.0  # far longer than it takes
ENDED = "ended.json"
READ_AGAIN = 5  # times, while others move files

_numbers = count(1)  # of the reporters of this process


class _File(msgspec.Struct):
    """What a file says: series by metric's name, and the files that it took over."""

    metrics: dict[str, list[Kept]]
    took: list[str] = []


made_ready(_File)


class SharedStates:
    """The states of an aggregate, and of those of the same metrics in the other processes of `directory`.

    Raises `MetricError` for a folder that cannot be written, after closing the aggregate.
    """

    def __init__(self, metrics: Sequence[Metric], aggregate: Aggregate, directory: Path) -> None:
        self._metrics, self._aggregate, self._directory = tuple(metrics), aggregate, directory
        self._number = next(_numbers)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.start_over()
            self.write()
        except OSError as error:
            aggregate.close()
            raise MetricError(f"cannot write to {directory}: {error.strerror}; choose another folder") from error
        _shared.add(self)
        at_the_end_of_this_worker(partial(_close, weakref.ref(self)))

    def start_over(self) -> None:
        """Begin as a process of its own."""
        self._path = self._directory / f"{os.getpid()}-{_began(os.getpid())}-{self._number}.json"
        self._writing = Turn()
        self._is_due = False
        self._written: list[list[Kept]] = [[] for _ in self._metrics]
        self._ended = Ending()
        threading.Thread(target=self._write_each, args=(self._ended,), name="tinkertape-metrics", daemon=True).start()

    def _write_each(self, ended: Ending) -> None:
        took_s = 0.0
        while not ended.wait(max(PERIOD_S, REST * took_s)):
            began_s = time.thread_time()
            with guarded("metrics.processes"):
                self.write()
            took_s = time.thread_time() - began_s

    def write(self) -> None:
        """Bring this reporter's file up to date, or leave it to whoever is about to. Raises `OSError`."""
        self._is_due = True
        with self._writing.if_free(WRITING_S) as is_free:
            if is_free:
                self._write()

    def _write(self) -> None:
        while self._is_due:
            self._is_due = False
            states = self._aggregate.states()
            if states != self._written or not self._path.exists():
                named = zip(self._metrics, states, strict=True)
                _replace(self._path, _File({metric.name: kept for metric, kept in named if kept}))
                self._written = states

    def collect(self) -> list[Family]:
        """All series of all processes; this one's as they are now, the others' as they wrote them last."""
        self._is_due = True
        with self._writing.if_free(WRITING_S) as is_free:
            for work in (self._write, self._take_over) if is_free else ():
                with guarded("metrics.processes"):
                    work()
        files = self._read_all()
        taken = {name for _, file in files for name in file.took}
        current = _by_process([(name, file) for name, file in files if name not in taken])
        return [family_of(metric, _added(metric, current)) for metric in self._metrics]

    def _read_all(self) -> list[tuple[str, _File]]:
        """Every file, as they were at one moment: while one looked, another process may have moved some into `ENDED`,
        which would be missing here and there, and a counter that goes down is a start anew to Prometheus.
        """
        for _ in range(READ_AGAIN):
            before = _stamp(self._directory / ENDED)
            files = [found for path in self._directory.glob("*.json") if (found := _read(path)) is not None]
            if _stamp(self._directory / ENDED) == before:
                break
        return files

    def _take_over(self) -> None:
        """Move what ended processes left into one file."""
        files = list(self._directory.glob("*-*.json"))
        dead = {process for process in map(_process_of, files) if not _lives(*process)}  # all files of one, or none
        gone = [path for path in files if _process_of(path) in dead]
        if not gone:
            return
        with _locked(self._directory / "lock"):
            before = _read(self._directory / ENDED)
            file = _File({}) if before is None else before[1]
            new = [found for path in gone if path.name not in file.took and (found := _read(path)) is not None]
            states = [file.metrics, *_by_process(new)]
            names = dict.fromkeys(name for each in states for name in each)
            total = {name: _merged([each[name] for each in states if name in each]) for name in names}
            _replace(self._directory / ENDED, _File(total, [path.name for path in gone]))
            for path in gone:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write a last time, and no more; what was counted stays in the folder."""
        if self._ended.say():
            with guarded("metrics.processes"):
                self.write()


def _by_process(files: Sequence[tuple[str, _File]]) -> list[Mapping[str, list[Kept]]]:
    """What each process counted: each metric as the newest of its reporters has it that counted any."""
    processes: dict[tuple[str, str], dict[str, list[Kept]]] = {}
    for name, file in sorted(files, key=lambda each: _number_of(each[0])):
        processes.setdefault(_process_of(Path(name)), {}).update(file.metrics)
    return list(processes.values())


def _added(metric: Metric, files: Sequence[Mapping[str, list[Kept]]]) -> list[Kept]:
    """One metric's series over all files; one that was defined otherwise elsewhere is left out there."""
    found = [kept for file in files for kept in file.get(metric.name, ()) if _fits(metric, kept)]
    return _merged([found])


def _fits(metric: Metric, kept: Kept) -> bool:
    counts = getattr(kept.state, "counts", None)
    of_kind = type(kept.state).__name__.removesuffix("State").lower()
    kinds = {"counter": "count", "sum": "sum", "last_value": "last", "distribution": "bucket", "summary": "sketch"}
    return kinds[metric.kind] == of_kind and (counts is None or len(counts) == len(metric.buckets or ()) + 1)


def _merged(lists: Sequence[Sequence[Kept]]) -> list[Kept]:
    total: dict[Tags, Kept] = {}
    for each in chain.from_iterable(lists):
        known = total.get(each.tags)
        if known is None or type(known.state) is not type(each.state):
            total[each.tags] = each
        else:
            total[each.tags] = Kept(each.tags, merged(known.state, each.state), min(known.began_ns, each.began_ns))
    return list(total.values())


def _read(path: Path) -> tuple[str, _File] | None:
    """A file's name and content; None for one that has just gone, or that nobody of us wrote."""
    with suppress(OSError, ValueError, msgspec.ValidationError):
        found = json.loads(path.read_bytes())  # not msgspec's: exact sums have more than 64 bits
        return path.name, msgspec.convert(found, _File, strict=False)
    return None


def _stamp(path: Path) -> tuple[int, int] | None:
    """Another one for each file that took this path."""
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def _replace(path: Path, file: _File) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        plain: Any = msgspec.to_builtins(file, str_keys=True)
        written.write(json.dumps(plain, separators=(",", ":")))  # `dump` is written in Python: ten times as long
    part.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _process_of(path: Path) -> tuple[str, str]:
    """Whose file this is: a process's number, and when it began."""
    pid, _, rest = path.stem.partition("-")
    return pid, rest.partition("-")[0]


def _number_of(name: str) -> int:
    number = Path(name).stem.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def _lives(pid: str, began: str) -> bool:
    """Does the process still run: the same number, begun at the same moment?"""
    return pid.isdigit() and _began(int(pid)) == began


def _began(pid: int) -> str:
    """When a process began, by the kernel's count; "0" where the system does not say, "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "" if Path("/proc/self/stat").exists() else "0"


_shared: weakref.WeakSet[SharedStates] = weakref.WeakSet()  # a fork hook cannot be removed: one, holding nobody alive


def _start_over() -> None:
    for shared in list(_shared):
        if not shared._ended.is_said:
            with guarded("metrics.processes"):
                shared.start_over()


def _close(shared: weakref.ref[SharedStates]) -> None:
    """At the end of the worker that made it."""
    here = shared()
    if here is not None:
        here.close()


def _close_all() -> None:
    for shared in list(_shared):
        shared.close()


os.register_at_fork(after_in_child=_start_over)
atexit.register(_close_all)
at_the_end_of_forked_workers(_close_all)
