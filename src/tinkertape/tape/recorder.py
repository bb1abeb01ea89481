"""The recorder: the handler that brings every event of a bus, and what `log` is given, to the tape.

Threads  `record` and `log` run in the thread that executes the event; lines are made and written in
         "tinkertape-writer", closed segments are compressed in "tinkertape-upkeep".
Locks    `_large_lock`: to count the bytes of large snapshots; what `tape/writer.py` says of the rest.
Fork     a child records under a new process id into a file of its own, from index 0; nothing of the parent's queue.
Exit     `close` writes what is left, for as long as it is given, and the end line; afterwards nothing is accepted.
         At the end of a worker of multiprocessing (`workers.py`) it is closed or, where it was made in the worker,
         flushed, so that its maker may still close it. A bare `os._exit` is not seen.

What the program's thread does: look at two context variables and a clock, encode the data (the snapshot), append the
bytes to a queue, wake the writer: `take`, which `Telemetry.log` has written out once more. What our own sources tell
(`taker`) is appended as it is, to be described later. It never writes to disk, but for an event of severity ERROR or
above and for `flush`: these reach the file before they return, or after 50 ms are left to the writer and counted
`late`. Memory is bounded in events and in the bytes of large ones; what finds no room has used its index and is
counted: by the disk's reason while the disk refuses, else `memory_full`.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tinkertape.bus import Bus
from tinkertape.context import current_scope, current_severity, current_span, is_replaying, severity_of
from tinkertape.dispatch import Tell
from tinkertape.errors import TapeError
from tinkertape.exception_record import status_of
from tinkertape.guard import guarded
from tinkertape.signals import before_sigterm, held, unsignalled
from tinkertape.tape.format import End, Header, encode_line
from tinkertape.tape.headers import new_header, next_header, redacted_header, renewed, segment_path
from tinkertape.tape.ledger import Ledger
from tinkertape.tape.removal import gone_from
from tinkertape.tape.segment import DISK, FileSystem, SegmentFile
from tinkertape.tape.snapshot import (
    SNAPSHOT_MAX,
    UNENCODABLE,
    LineMaker,
    Taken,
    encode_snapshot,
    encode_snapshot_slowly,
    is_from_outside,
)
from tinkertape.tape.told import Told
from tinkertape.tape.upkeep import Upkeep
from tinkertape.tape.writer import SEGMENT_MAX, Durability, Writer
from tinkertape.wire import SEVERITY_RANK
from tinkertape.workers import (
    at_the_begin_of_forked_workers,
    at_the_end_of_forked_workers,
    at_the_end_of_this_worker,
    what_ends_this_process,
)

NEVER_RECORDED = ("tape.", "delivery.", "telemetry.handler.")  # they would feed themselves
AT_ONCE = SEVERITY_RANK["ERROR"]  # from this severity on an event is in the file before `record` returns
AT_ONCE_S = 0.05
SEGMENTS_KEPT = 8  # at least, where the space is bounded
LARGE = 4096  # bytes; smaller snapshots are bounded by their count
LARGE_MAX = 64 * 1024 * 1024  # bytes of large snapshots in memory
_NAMES_MAX = 10_000
_RANKS = {str(severity): rank for severity, rank in SEVERITY_RANK.items()}
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_now_ns, _span_get, _scope_get = time.perf_counter_ns, current_span.get, current_scope.get


class Recorder:
    """Records one process of a run into its folder: `<folder>/<process>-<segment>.jsonl`.

    `header` says what the tape's header shall say beside what the recorder finds out itself, by the names of `Header`
    (name, project, session_id, sdk_version, metadata, tags, exe). Nothing is opened before the first event. Raises
    `TapeError` for a run id that cannot be a folder's name.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        *,
        header: Mapping[str, Any] | None = None,
        max_pending: int = 100_000,
        durability: Durability = "kill",
        max_bytes: int | None = None,
        segment_max: int = SEGMENT_MAX,
        disk: FileSystem = DISK,
    ) -> None:
        if not _SAFE_NAME.match(run):
            raise TapeError(f"cannot record under the id {run!r}: it must be letters, digits, '-' and '_' only")
        self.folder = folder
        self.max_pending = max_pending
        self._disk = disk
        self._durability = durability
        self._severities: dict[str, tuple[str, int]] = {}
        if max_bytes is not None:
            segment_max = min(segment_max, max_bytes // SEGMENTS_KEPT)
        self._upkeep = Upkeep(folder, None if max_bytes is None else max_bytes - segment_max)
        self.queue: deque[Taken] = deque()
        self.writer = Writer(
            self.queue,
            lambda chunk, index: self._lines.lines(chunk, index),
            self._open,
            self._head,
            durability=durability,
            after_taking=self._after_taking,
            segment_max=segment_max,
            open_next=self._open_next,
            end=lambda: self._end(""),
            after_closing=self._after_closing,
        )
        self._begin(new_header(run, header))
        self._maker = os.getpid()
        _recorders.add(self)
        at_the_end_of_this_worker(partial(_flush, weakref.ref(self)))

    def _begin(self, header: Header) -> None:
        self.header = header
        self.late = 0  # events that should have been in the file at once, and were left to the writer
        self.room = self.max_pending
        self._told = Told(self.queue, self.writer, self.record, self.room)
        self._lines = LineMaker(header.run, header.process)
        self._large_lock = threading.RLock()
        self._large_bytes = 0
        self._drops: dict[str, _Tally] = {}
        self._drops_numbered = 0

    @property
    def run(self) -> str:
        return self.header.run

    @property
    def process(self) -> str:
        return self.header.process

    @property
    def path(self) -> Path:
        """The file that is written now; it exists from the first event on."""
        return segment_path(self.folder, self.header)

    # --- in the program's thread ---

    def attach(self, bus: Bus, handler_id: object = "tinkertape.recorder") -> None:
        """Record every event of this bus. Raises `HandlerExists`."""
        bus.attach_all(handler_id, self.record, on_failure="keep", taker=self.taker)

    def record(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], config: Any) -> None:
        """Record one event of the bus: the handler for `attach_all`. Events of a replay are not recorded again."""
        severity, rank = self._severities.get(event) or self._severity_of(event)
        if rank < 0 or is_replaying():
            return
        given = current_severity()  # set while `Telemetry.log` executes its event
        if given is not None:
            severity, rank = given, _RANKS.get(given, 1)
        self.take(event, severity, rank, {} if measurements is None else measurements, metadata)

    def taker(self, event: str) -> Tell | None:
        """What records an event of this name that is told by a source of ours. None: `record` does."""
        severity, rank = self._severity_of(event)
        return self._told.taker(event, severity) if 0 <= rank < AT_ONCE else None

    def log(self, name: str, data: Any = None, severity: str = "INFO") -> bool:
        """Record what `Telemetry.log` was given, past the bus. False: the recorder is closed, no index was used."""
        return self.take(name, severity, _RANKS.get(severity, 1), None, data)

    def take(self, name: str, severity: str, rank: int, measurements: Any, data: Any) -> bool:
        """Record one event; `rank` is its severity's. What was logged has no measurements, None."""
        span = _span_get()
        ids = None if span is None else (span.trace_id, span.span_id)
        parts = (_now_ns(), name, data, _scope_get(), ids, severity, measurements)
        try:
            snapshot = encode_snapshot(parts)
        except UNENCODABLE as error:
            accepted = self._take_slowly(parts, rank)
            if measurements is None and is_from_outside(error, parts):
                raise
            return accepted
        if len(snapshot) > LARGE or rank >= AT_ONCE or len(self.queue) >= self.room:
            return self._take_slowly(parts, rank) if len(snapshot) > SNAPSHOT_MAX else self._put(snapshot, rank)
        self.queue.append(snapshot)  # as `_put`, one call less
        if self.writer.asleep:
            self.writer.wake()
        return True

    def _take_slowly(self, parts: tuple[Any, ...], rank: int) -> bool:
        """Data that msgspec refuses, or too much of it: rendered and bounded, then as any other."""
        snapshot = b""
        with guarded("tape.recorder.render"):
            snapshot = encode_snapshot_slowly(parts)
        return self._put(snapshot, rank) if snapshot else self._drop("not_encodable")

    def _put(self, snapshot: bytes, rank: int) -> bool:
        if len(self.queue) >= self.room or (len(snapshot) > LARGE and not self._has_room_for(snapshot)):
            return self._refuse()
        self.queue.append(snapshot)
        if self.writer.asleep:
            self.writer.wake()
        if rank >= AT_ONCE:
            self._write_at_once()
        return True

    def _severity_of(self, event: str) -> tuple[str, int]:
        """The severity of an event and its rank, -1 for one that is never recorded; remembered."""
        severity = severity_of(event)
        known = (severity, -1 if event.startswith(NEVER_RECORDED) else _RANKS.get(severity, 1))
        if len(self._severities) < _NAMES_MAX:
            self._severities[event] = known
        return known

    def _has_room_for(self, large: bytes) -> bool:
        with self._large_lock:
            if self._large_bytes + len(large) > LARGE_MAX:
                return False
            self._large_bytes += len(large)
            return True

    def _refuse(self) -> bool:
        if self.room < 0:  # closed
            return False
        return self._drop(self.writer.trouble or "memory_full")

    def _drop(self, reason: str) -> bool:
        self._drops.setdefault(reason, _Tally()).add()
        return True  # recorded, and lost: its index was used

    def _write_at_once(self) -> None:
        with guarded("tape.recorder.at_once"):
            if not self.writer.drain(AT_ONCE_S):
                self.late += 1

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Bring everything recorded so far to the file. False: not within the time, or the disk refuses."""
        return self.writer.drain(timeout_s)

    # --- for the writer ---

    def _open(self) -> SegmentFile:
        return self._named(self.path, self.folder, *self.folder.parents[:2])

    def _open_next(self) -> SegmentFile:
        return self._named(segment_path(self.folder, next_header(self.header)), self.folder)

    def _named(self, path: Path, *folders: Path) -> SegmentFile:
        """A new segment whose name, too, outlasts a loss of power, where that was asked for."""
        segment = SegmentFile(path, disk=self._disk, reserve=True)
        try:
            for folder in folders if self._durability == "power" else ():
                self._disk.sync_folder(folder)
        except OSError:
            segment.close()
            raise
        return segment

    def _after_closing(self) -> None:
        self.header = next_header(self.header)
        self._upkeep.wake(self.path)

    def _head(self) -> bytes:
        return encode_line(redacted_header(self.header))

    def _after_taking(self, chunk: list[Taken]) -> int:
        if self._large_bytes:
            with self._large_lock:
                self._large_bytes -= sum(
                    len(taken) for taken in chunk if isinstance(taken, bytes) and len(taken) > LARGE
                )
        drops = sum(tally.value() for tally in list(self._drops.values()))
        new, self._drops_numbered = drops - self._drops_numbered, drops
        return new

    # --- the count, and the end ---

    def dropped(self) -> dict[str, int]:
        """What this process lost so far, by reason."""
        return dict(self._unwritten() + self._gone())

    def _unwritten(self) -> Counter[str]:
        tallies = Counter({reason: tally.value() for reason, tally in list(self._drops.items())})
        return tallies + self.writer.lost

    def _gone(self) -> Counter[str]:
        """What was on the tape, and is no more."""
        return gone_from(self.folder, self.process, self.writer.written_to)

    @property
    def trouble(self) -> str | None:
        """Why the disk refuses, or refused at the end: a reason of `dropped` (`disk_full`, `no_permission`, …).

        None: it takes what it is given.
        """
        return self.writer.trouble

    def ledger(self) -> Ledger:
        """The count of this process: what is in memory and what is in the file is pending. Exact when nothing is being
        recorded or written meanwhile; `flush` first.
        """
        writer, unwritten, gone = self.writer, self._unwritten(), self._gone()
        unnumbered = sum(tally.value() for tally in list(self._drops.values())) - self._drops_numbered
        waiting = len(self.queue)
        return Ledger(
            recorded=writer.taken + waiting + unnumbered,
            pending=writer.written + writer.made + waiting - gone.total(),
            dropped=dict(unwritten + gone),
        )

    def close(self, status: str = "success", timeout_s: float = 2.0) -> bool:
        """Write what is left and the end line. Is everything in the file? A second call does nothing."""
        if self.room < 0:
            return True
        self.room = self._told.room = -1
        return self.writer.close(lambda: self._end(status), timeout_s)

    def _end(self, status: str) -> bytes:
        self.writer.taken += self._after_taking([])
        end = End(
            recorded=self.writer.taken,
            written=self.writer.written,
            dropped=self.dropped(),
            status=status,
            monotonic_ns=time.perf_counter_ns(),
        )
        return encode_line(end)

    def _start_over(self) -> None:
        """In a forked child: another process, nothing recorded yet. The parent's file is its own."""
        self.queue.clear()
        self._upkeep.start_over()
        closed = self.room < 0
        self._begin(renewed(self.header))
        self.writer.start_over()
        if closed:
            self.room = self._told.room = -1


class _Tally:
    """A count that many threads may add to, without a lock: one call into C adds."""

    __slots__ = ("_count", "_lock", "_reads")

    def __init__(self) -> None:
        self._count = count()
        self._lock = threading.Lock()
        self._reads = 0

    def add(self) -> None:
        next(self._count)

    def value(self) -> int:
        with self._lock:
            self._reads += 1
            return next(self._count) - self._reads + 1


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()  # a fork hook cannot be removed: one a module


def _close(recorder: Recorder) -> None:
    with guarded("tape.recorder.close"), held():  # a pool tells its workers to end twice, then by SIGTERM
        recorder.close(status_of(what_ends_this_process()))


def _close_all(but_of: int | None = None) -> None:
    """In a child, at its end; but not those that the process `but_of` made: who made one here closes it here."""
    for recorder in list(_recorders):
        if recorder._maker != but_of:
            _close(recorder)


def _close_before_sigterm() -> None:
    """In a forked worker: a pool that is torn down ends it so."""
    if _recorders:
        with unsignalled():
            before_sigterm(_close_all)


def _flush(recorder: weakref.ref[Recorder]) -> None:
    here = recorder()
    if here is not None:
        with guarded("tape.recorder.close"):
            here.flush()


def _after_fork() -> None:
    for recorder in list(_recorders):
        recorder._start_over()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _close_all(but_of=os.getpid()))
at_the_begin_of_forked_workers(_close_before_sigterm)
at_the_end_of_forked_workers(_close_all)
