"""The inbox: a tape of what the collector received, written with group commit.

Invariants
- Bodies that come in while a write is under way are written together by the next one: one `write`, one `fdatasync`,
  then all of them are answered.
- What is acknowledged is in the file, whole and in one piece. What is not may be there in part, after a failed write:
  the segment ends there, the sender comes again, and what stands twice is stored once.
- A folder or a segment that was removed or moved meanwhile is noticed before and after each write: what was written
  into nothing is written again, into a folder made anew.
- A segment stands alone: it begins with the inbox's own header, and the header of a sending process stands before the
  first of its lines in that segment.

Threads  `append` runs in the event loop's thread; "tinkertape-inbox" writes, and hands the outcome back with one
         `call_soon_threadsafe` a commit.
Locks    `_condition` guards the list of what waits; never held during I/O.
Exit     `close` writes what waits, then ends.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tinkertape.config import new_process_id, private_folder, process_started
from tinkertape.errors import CollectorError
from tinkertape.tape.format import Header, encode_line, timestamp
from tinkertape.tape.segment import DISK, FileSystem, SegmentFile

SEGMENT_MAX = 64_000_000  # bytes, then the next file
SEGMENT_AGE_S = 86_400.0  # what comes slowly gets a file a day, so that none is kept for ever
BUSY_S = 0.05  # since the last commit
REFUSING_S = 0.5  # after a failed write; who comes again after a second finds the disk asked anew
WAITING_MAX = 64_000_000  # bytes not yet written: more is refused for now, with 503


class InboxFull(CollectorError):
    """The disk does not keep up, or takes nothing: come again later."""


class Introduction(msgspec.Struct, frozen=True):
    """The header of a sending process; written once a segment, before its first line there."""

    process: str
    line: bytes


class Place(msgspec.Struct, frozen=True):
    """Where something is in the inbox: before the offset `end` of a segment."""

    segment: Path
    end: int


class _Waiting(msgspec.Struct):
    lines: bytes
    introduction: Introduction | None
    written: asyncio.Future[Place]


class Inbox:
    """A folder of segments; one object writes one series of them, so that several collectors may share the folder."""

    def __init__(self, folder: Path, *, segment_max: int = SEGMENT_MAX, disk: FileSystem = DISK) -> None:
        """Make the folder where it is missing. Raises `CollectorError` when it cannot be written to."""
        self.folder = folder
        self._disk = disk
        self.commits = 0
        self.bytes_written = 0
        self.failures = 0
        self._committed_s = 0.0
        self._refusal: tuple[InboxFull | None, float] = (None, 0.0)  # and until when it holds (monotonic)
        self._process = new_process_id()
        self._segment_max = segment_max
        self._segment = 0
        self._segment_began_s = 0.0
        self._file: SegmentFile | None = None
        self._identity = (0, 0)  # of the segment's file
        self._introduced: set[str] = set()
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._closing = False
        self._condition = threading.Condition()
        try:
            private_folder(folder)
            disk.sync_folder(folder.parent)
        except OSError as error:
            raise _unwritable(folder, error.strerror) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unwritable(folder, "permission denied")
        self._thread = threading.Thread(target=self._write_loop, name="tinkertape-inbox", daemon=True)
        self._thread.start()

    async def append(self, lines: bytes, introduction: Introduction | None = None) -> Place:
        """Write whole lines; returns where they are, when they are on the disk. Raises `InboxFull` when they are
        not."""
        return await self.put(lines, introduction)

    def put(self, lines: bytes, introduction: Introduction | None = None) -> asyncio.Future[Place]:
        """The same, without waiting. Raises `InboxFull` where no more is taken."""
        waiting = _Waiting(lines, introduction, asyncio.get_running_loop().create_future())
        with self._condition:
            if self._closing or self._waiting_bytes > WAITING_MAX:
                raise InboxFull("the inbox does not take more just now; come again in a second")
            self._waiting.append(waiting)
            self._waiting_bytes += len(lines)
            self._condition.notify()
        return waiting.written

    @property
    def current(self) -> Path:
        """The segment that is written to now, or was last; nobody else may touch it."""
        return self.folder / f"{self._process}-{self._segment:05d}.jsonl"

    def must_have_room(self) -> None:
        """Raise `InboxFull` where the disk refused a moment ago: before anything is read for it. Any thread."""
        refusal, until_s = self._refusal
        if refusal is not None and time.monotonic() < until_s:
            raise InboxFull(str(refusal))

    @property
    def has_room(self) -> bool:
        """Did the disk take the last that it was given, or is it asked anew?"""
        refusal, until_s = self._refusal
        return refusal is None or time.monotonic() >= until_s

    @property
    def is_busy(self) -> bool:
        """Is something being received just now?"""
        return time.monotonic() - self._committed_s < BUSY_S

    def close(self) -> None:
        """Write what waits and close the file."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout=10.0)

    # the writing thread

    def _write_loop(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                batch, self._waiting = self._waiting, []
                self._waiting_bytes = 0
                closing = self._closing
            if batch:
                self._answer(batch, self._commit(batch))
            elif closing:
                break
        self._end_segment()

    def _commit(self, batch: Sequence[_Waiting]) -> Place | InboxFull:
        try:
            if self._file is None or self._is_long(self._file) or self._is_gone():
                self._next_segment()
            self._write(self._lines_of(batch))
            if self._is_gone():
                self._next_segment()
                self._write(self._lines_of(batch))
                self._must_be_there()
        except OSError as error:
            self.failures += 1
            self._end_segment()
            refusal = InboxFull(f"cannot write to {self.folder}: {error.strerror}; make room, the senders come again")
            self._refusal = (refusal, time.monotonic() + REFUSING_S)
            return refusal
        self._refusal = (None, 0.0)
        self.commits += 1
        self._committed_s = time.monotonic()
        assert self._file is not None
        return Place(self._file.path, self._file.size)

    def _is_long(self, file: SegmentFile) -> bool:
        return file.size > self._segment_max or time.monotonic() - self._segment_began_s > SEGMENT_AGE_S

    def _lines_of(self, batch: Sequence[_Waiting]) -> bytes:
        parts: list[bytes] = []
        for waiting in batch:
            introduction = waiting.introduction
            if introduction is not None and introduction.process not in self._introduced:
                self._introduced.add(introduction.process)
                parts.append(introduction.line)
            parts.append(waiting.lines)
        return b"".join(parts)

    def _write(self, lines: bytes) -> None:
        assert self._file is not None
        if self._file.append(lines) < len(lines) or not self._file.sync():
            raise self._file.trouble or OSError(errno.EIO, "the disk took less than it was given")
        self.bytes_written += len(lines)

    def _is_gone(self) -> bool:
        """Is the file that is written to no longer the one that bears its name, where the loader finds it?"""
        assert self._file is not None
        try:
            return _identity(self._file.path) != self._identity
        except OSError:
            return True

    def _must_be_there(self) -> None:
        if self._is_gone():
            raise OSError(errno.ENOENT, "it is removed again and again")

    def _end_segment(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next_segment(self) -> None:
        self._end_segment()
        self._introduced.clear()
        self._segment += 1
        self._segment_began_s = time.monotonic()
        path = self.current
        self._file = SegmentFile(path, disk=self._disk)
        try:
            self._identity = _identity(path)
            self._write(encode_line(self._header()))
        except OSError:
            path.unlink(missing_ok=True)  # a full disk is asked again and again: no heap of empty files
            raise
        self._disk.sync_folder(self.folder)  # else a power cut forgets the file's name

    def _header(self) -> Header:
        now_ns = time.time_ns()
        return Header(
            run="inbox",
            process=self._process,
            segment=self._segment,
            name="inbox",
            pid=os.getpid(),
            pid_started=process_started(os.getpid()),
            host=platform.node(),
            began=timestamp(now_ns),
            wall_ns=now_ns,
            monotonic_ns=time.perf_counter_ns(),
        )

    @staticmethod
    def _answer(batch: Sequence[_Waiting], outcome: Place | InboxFull) -> None:
        loops = {waiting.written.get_loop() for waiting in batch}
        for loop in loops:
            futures = [waiting.written for waiting in batch if waiting.written.get_loop() is loop]
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, futures, outcome)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _unwritable(folder: Path, reason: str | None) -> CollectorError:
    return CollectorError(f"cannot write to {folder}: {reason}; choose another folder with --inbox")


def _settle(futures: Sequence[asyncio.Future[Place]], outcome: Place | InboxFull) -> None:
    for future in futures:
        if future.done():  # the sender went away meanwhile
            continue
        if isinstance(outcome, Place):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
