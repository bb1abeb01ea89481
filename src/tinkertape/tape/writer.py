"""Writes the tape: one file a process and segment, in a thread of its own.

Threads  `wake` and `drain` run in the thread that executes an event, or flushes; `_write_loop` in "tinkertape-writer".
Locks    `_file_lock`: one chunk of the queue, made into lines and written; taken by the writer, and by a caller whose
         event is ERROR or who flushes, for a bounded time: what it cannot do by then is left to the writer.
         `_start_lock`: to start the thread; whoever does not get it at once goes on.
Fork     `start_over`: new locks, an empty queue, no file, no thread; the recorder calls it in the child.
Exit     `close` takes as long as it was given; what is then unwritten is lost, and counted with the reason "exit".
         The end line, which says so, has a block of the disk of its own.

A file that was deleted or moved away meanwhile is noticed before the next write: it goes on in the next segment.

The queue has many who append and, under `_file_lock`, one who takes. Lines are numbered when they are taken, so a
file's order is the order of the indices. A write that the system cuts short is gone on with from that byte. While the
disk refuses, nothing is taken from the queue: what does not fit into memory then is the disk's loss, by its reason.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Literal

from tinkertape.guard import count_failure, guarded
from tinkertape.signals import held
from tinkertape.tape.removal import DELETED
from tinkertape.tape.segment import SegmentFile
from tinkertape.tape.snapshot import Taken

SEGMENT_MAX = 16 * 1024 * 1024  # bytes; the segment that passes it is closed, and the next one begins
INTERVAL_S = 0.05  # a killed process loses what is younger, and what was being written
CHUNK = 200  # events between two releases of the GIL (facts/performance.md §2)
CHUNK_BYTES = 256 * 1024  # of snapshots, and the one that passes it: of large events, as long takes a few
ROUNDS_TO_SLEEP = 40  # empty rounds, then the thread sleeps until it is woken
SLEEP_MAX_S = 10.0
RETRY_S, RETRY_MAX_S = 0.05, 1.0  # how long a refusing disk is left alone
Durability = Literal["kill", "power"]
REASONS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EFBIG: "disk_full",
    errno.EROFS: "read_only",
    errno.EACCES: "no_permission",
    errno.EPERM: "no_permission",
    errno.EIO: "disk_error",
}

_log = logging.getLogger("tinkertape")


class Writer:
    """Takes snapshots from a queue, makes lines of them and appends them to a segment.

    `lines` makes lines from snapshots and the first one's index, all but what cannot be said; `open_segment` opens the
    file, and `head` is its first line.
    `after_taking` is shown what was taken, and answers how many indices to leave out, for events that found no room.
    A segment of `segment_max` bytes is closed by the line that `end` makes, `open_next` opens the one that follows, and
    `after_closing` is told; without `open_next` a segment grows for ever.
    Read under no lock, for the ledger: `taken`, the indices given so far; `written`, the lines brought to a file, and
    `written_to`, by segment; `lost`.
    """

    def __init__(
        self,
        queue: deque[Taken],
        lines: Callable[[list[Taken], int], list[bytes]],
        open_segment: Callable[[], SegmentFile],
        head: Callable[[], bytes],
        *,
        durability: Durability = "kill",
        after_taking: Callable[[list[Taken]], int] = lambda chunk: 0,
        segment_max: int = SEGMENT_MAX,
        open_next: Callable[[], SegmentFile] | None = None,
        end: Callable[[], bytes] = lambda: b"",
        after_closing: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._lines = lines
        self._open_segment = open_segment
        self._head = head
        self._durability = durability
        self._after_taking = after_taking
        self._segment_max = segment_max
        self._open_next = open_next
        self._end = end
        self._after_closing = after_closing
        self._begin()

    def start_over(self) -> None:
        """In a forked child: everything anew. Its copy of the parent's file is closed, nothing is written to it."""
        segment = self._segment
        self._begin()
        if segment is not None:
            with guarded("tape.writer.fork"):
                segment.close()

    def _begin(self) -> None:
        self._file_lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None
        self._segment: SegmentFile | None = None
        self._rest = b""  # lines made, not yet in the file
        self._head_pending = False
        self._unsynced = False
        self._has_left = False  # a file that was deleted
        self._retry_at, self._retry_s = 0.0, RETRY_S
        self._closing = False
        self.asleep = True  # who appends to the queue calls `wake` when this is set
        self.trouble: str | None = None  # why the disk refuses, while it does
        self.taken = 0
        self.written = 0
        self.written_to: Counter[str] = Counter()  # its name
        self.lost: Counter[str] = Counter()

    # --- the thread ---

    def wake(self) -> None:
        """Start the thread, or wake it. Never blocks."""
        if not self._start_lock.acquire(blocking=False):
            return
        try:
            self.asleep = False
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._write_loop, name="tinkertape-writer", daemon=True)
                self._thread.start()
            else:
                self._wakeup.set()
        except RuntimeError as error:  # the interpreter is shutting down, or has no thread left: `close` writes
            self._thread = None
            count_failure("tape.writer.start", error)
        finally:
            self._start_lock.release()

    def _write_loop(self) -> None:
        empty_rounds = 0
        while not self._closing:
            time.sleep(INTERVAL_S)
            if self._queue or self._rest:
                empty_rounds = 0
                with guarded("tape.writer"):
                    self.drain(RETRY_MAX_S)
                continue
            empty_rounds += 1
            if empty_rounds >= ROUNDS_TO_SLEEP:
                self._wakeup.clear()
                self.asleep = True
                if not self._queue:  # one that was appended before `asleep` was set is seen here
                    self._wakeup.wait(SLEEP_MAX_S)
                self.asleep = False
                empty_rounds = 0

    # --- writing ---

    def drain(self, timeout_s: float) -> bool:
        """Bring what is in the queue now to the file, in at most about `timeout_s`. Is all of it there?

        Any thread. While the disk refuses it is asked again only after a pause, and the answer is False at once.
        """
        deadline = time.monotonic() + timeout_s
        with held():
            if not self._file_lock.acquire(timeout=max(timeout_s, 0.0)):
                return False
            try:
                return self._drain_until(deadline, len(self._queue))
            finally:
                self._file_lock.release()

    def _drain_until(self, deadline: float, events: int, *, at_once: bool = False) -> bool:
        if not at_once and time.monotonic() < self._retry_at:
            return False
        while self._rest or events > 0:
            if self._closing and not at_once:
                return False  # `close` goes on with what is left, and waits for nobody's turn to end
            if self._rest and not self._write_rest():
                return False
            if events > 0:
                events -= self._take_chunk()
            if time.monotonic() > deadline and (self._rest or events > 0):
                return False
        if self._unsynced and self._segment is not None:
            if not self._segment.sync():
                return self._refused(self._segment.trouble)
            self._unsynced = False
        return True

    def _take_chunk(self) -> int:
        """Make lines of the next events in the queue; how many there were. Under `_file_lock`."""
        chunk: list[Taken] = []
        take, room = self._queue.popleft, CHUNK_BYTES
        with contextlib.suppress(IndexError):  # empty, or emptied by a `close` that would wait no longer
            for _ in range(CHUNK):
                taken = take()
                chunk.append(taken)
                if taken.__class__ is bytes:  # what was told is small
                    room -= len(taken)
                    if room <= 0:
                        break
        first, self.taken = self.taken, self.taken + len(chunk)
        lines = self._lines(chunk, first)
        if len(lines) < len(chunk):
            self.lost["not_encodable"] += len(chunk) - len(lines)
        self._rest += b"".join(lines)
        self.taken += self._after_taking(chunk)
        return len(chunk) or CHUNK  # an empty queue ends the turn, whoever emptied it

    def _write_rest(self) -> bool:
        """Append what is made; False: the disk refused, and the rest waits for the next turn. Under `_file_lock`."""
        try:
            if self._segment is None:
                self._begin_segment(self._open_segment())
            elif self._open_next is not None and not self._segment.is_in_place:
                self._leave(self._segment, self._open_next)
        except OSError as error:
            return self._refused(error)
        assert self._segment is not None
        done = self._segment.append(self._rest)
        if done:
            lines = self._rest.count(b"\n", 0, done)
            if lines and self._head_pending:
                self._head_pending, lines = False, lines - 1
            self.written += lines
            self.written_to[self._segment.path.name] += lines
            self._rest = self._rest[done:]
            self._unsynced = self._durability == "power"
        if self._rest:
            return self._refused(self._segment.trouble)
        self.trouble, self._retry_s = None, RETRY_S
        if self._segment.size >= self._segment_max and not self._closing and self._open_next is not None:
            self._rotate(self._segment, self._open_next)
        return True

    def _begin_segment(self, segment: SegmentFile) -> None:
        self._segment, self._rest, self._head_pending = segment, self._head() + self._rest, True

    def _leave(self, gone: SegmentFile, open_next: Callable[[], SegmentFile]) -> None:
        """Go on in the next segment. What was in this one is lost, with the line of which only a part was. Raises
        `OSError`. Under `_file_lock`.
        """
        following = open_next()
        if self._head_pending or not gone.ends_line:
            self.lost[DELETED] += not self._head_pending
            self._rest = self._rest.partition(b"\n")[2]
        gone.close()
        self._after_closing()
        self._begin_segment(following)
        if not self._has_left:
            _log.warning("tinkertape: %s was deleted or moved away: its events are counted as lost", gone.path)
        self._has_left = True

    def _rotate(self, full: SegmentFile, open_next: Callable[[], SegmentFile]) -> None:
        """Close the segment and go on in the next. Where the disk refuses, it goes on in this one, and tries again.

        Under `_file_lock`. The next one is opened first: with it, the room for the last line of all is kept.
        """
        if self._durability == "power" and not full.sync():
            return  # what is in it is not safe, and `drain` will ask the next one only
        line = self._end()
        try:
            following = open_next()
        except OSError:
            return
        if full.append(line) < len(line):
            full.abandon()
            following.close()
            following.path.unlink(missing_ok=True)
            return
        if self._durability == "power":
            full.sync()
        full.close()
        self._after_closing()
        self._begin_segment(following)

    def _refused(self, error: OSError | None) -> bool:
        code = error.errno if error is not None else None
        self.trouble = REASONS.get(code or 0, "write_failed")
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
        return False

    # --- the end ---

    @property
    def made(self) -> int:
        """Lines that are made and not yet in the file."""
        return self._rest.count(b"\n") - (1 if self._head_pending else 0)

    def close(self, end: Callable[[], bytes], timeout_s: float) -> bool:
        """Write what is left, then the line that `end` makes; what is unwritten after `timeout_s` is lost.

        Is everything in the file? The thread ends by itself.
        """
        deadline = time.monotonic() + timeout_s
        self._closing = True
        self._wakeup.set()
        if not self._file_lock.acquire(timeout=max(timeout_s, 0.0)):
            self.lost["exit"] += self._give_up()  # what is being written may still come through
            return False
        try:
            whole = self._drain_until(deadline, len(self._queue), at_once=True)
            unwritten = self.made + self._give_up()
            if unwritten:
                self.lost[self.trouble or "exit"] += unwritten
            self._rest, self._head_pending = b"", False
            if self._segment is not None:
                self._segment.abandon()
                ended = self._write_end(self._segment, end(), deadline)
                if self._durability == "power":
                    ended = self._segment.sync() and ended
                self._segment.close()
                self._segment = None
                whole = whole and ended
            return whole and not unwritten
        finally:
            self._file_lock.release()

    def _write_end(self, segment: SegmentFile, line: bytes, deadline: float) -> bool:
        """The last line, for which room was kept: without it nobody learns what was lost. Tried until the deadline."""
        line = line[segment.append(line) :]
        segment.release()
        while line:
            self._refused(segment.trouble)
            line = line[segment.append(line) :]
            if self.trouble != "disk_full" or time.monotonic() > deadline:
                break
            if line:
                time.sleep(RETRY_S)
        return not line

    def _give_up(self) -> int:
        """Number what is left in the queue, and forget it."""
        count = len(self._queue)
        self._queue.clear()
        self.taken += count
        return count
