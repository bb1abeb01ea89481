"""Keeps what was received and is stored: compressed, for so long or up to so many bytes, whichever ends first.

Invariants
- A segment of the inbox is touched only when nobody writes to it any more and the store has all its whole lines; one
  with a torn last line is not compressed, and that line was acknowledged to nobody.
- What is removed is in the store alone from then on: `removed-<store>` in the inbox's folder says how much, and is
  written first. A kill in between removes the same segment again, and counts it once.

Threads  "tinkertape-keeping" tends the folder; `wake` may be called by any.
Exit     a compression that is cut off leaves the plain segment (`tape/compression.py`).
"""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tinkertape.collector.tape_file import STORE_ID_CHARS, loaded_mark, progress_of
from tinkertape.config import process_started
from tinkertape.guard import guarded
from tinkertape.structs import made_ready
from tinkertape.tape.compression import compress, remove_leftovers
from tinkertape.tape.format import Header
from tinkertape.tape.forms import open_stored, places_of, segment_files, stored_bytes, stored_path
from tinkertape.tape.hold import holding
from tinkertape.tape.marks import read_mark, write_mark
from tinkertape.tape.reader import first_header
from tinkertape.tape.removal import closed_segments, process_of

KEEP_S = 30 * 86_400.0
PERIOD_S = 10.0
ELSEWHERE_S = 86_400.0  # another machine's collector that wrote nothing for so long is gone


class Keep(msgspec.Struct, frozen=True):
    """For how long after its last line, and up to how many bytes in all, a loaded segment is kept."""

    seconds: float = KEEP_S
    most_bytes: int | None = None


class Gone(msgspec.Struct, frozen=True):
    """What was removed from an inbox and is in one store alone; `last` is the segment that went last."""

    segments: int = 0
    events: int = 0
    set_aside: int = 0
    last: str = ""


made_ready(Gone)


class Keeping:
    """Tends the inbox's folder for one store. `current` is the segment that its own collector writes."""

    def __init__(
        self,
        folder: Path,
        store_id: str,
        keep: Keep,
        *,
        current: Callable[[], Path],
        is_receiving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder = folder
        self._store_id = store_id
        self._keep = keep
        self._current = current
        self._is_receiving = is_receiving
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._tend_loop, name="tinkertape-keeping", daemon=True)

    def start(self) -> None:
        """Begin to tend."""
        self._thread.start()

    def wake(self) -> None:
        """A segment was closed: look at once."""
        self._wake.set()

    def close(self) -> None:
        """Stop; what is under way is waited for, a few seconds at most."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _tend_loop(self) -> None:
        while not self._closing:
            with guarded("collector.keeping"):
                self.tend(time.time())
            self._wake.wait(PERIOD_S)
            self._wake.clear()

    def tend(self, now_s: float) -> None:
        """Compress and remove what may be, once. Raises `OSError`."""
        remove_leftovers(self._folder)
        loaded = [segment for segment in self._closed(now_s) if self._is_loaded(segment)]
        for segment in too_many(loaded, self._keep, now_s):
            self._remove(segment)
            loaded.remove(segment)
        for segment in loaded:
            if self._closing or self._is_receiving():  # who sends waits for an answer; this can wait
                return
            with contextlib.suppress(OSError):  # a full disk: it stays as it is
                if segment.exists() and self._progress_offset(segment) == stored_bytes(segment):
                    compress(segment)

    def _closed(self, now_s: float) -> list[Path]:
        """The segments to which nobody writes."""
        last = {process_of(segment): segment for segment in segment_files(self._folder)}
        return closed_segments(
            self._folder, self._current(), [name for name, segment in last.items() if is_over(segment, now_s)]
        )

    def _is_loaded(self, segment: Path) -> bool:
        """Has the store every line of it that is whole?"""
        offset = self._progress_offset(segment)
        if offset == stored_bytes(segment):
            return True
        with open_stored(segment) as file:
            file.seek(offset)
            return offset > 0 and all(b"\n" not in chunk for chunk in iter(lambda: file.read(1 << 20), b""))

    def _progress_offset(self, segment: Path) -> int:
        return progress_of(loaded_mark(segment, self._store_id)).offset

    def _remove(self, segment: Path) -> None:
        with holding(segment) as file:
            if file is None:
                return
            note = gone_path(self._folder, self._store_id)
            gone = gone_from(self._folder, self._store_id)
            if gone.last != segment.name:
                had = progress_of(loaded_mark(segment, self._store_id))
                more = Gone(gone.segments + 1, gone.events + had.rows, gone.set_aside + had.set_aside, segment.name)
                write_mark(note, msgspec.structs.asdict(more))
            for path in (*places_of(segment), *self._folder.glob(f"{segment.stem}.loaded-*")):
                path.unlink(missing_ok=True)


def is_over(segment: Path, now_s: float) -> bool:
    """Is the collector gone that wrote a segment? By the segment's header. Raises `OSError`."""
    with open_stored(segment) as file:
        header = first_header(file)
    if header is not None and header.host == platform.node():
        return not _lives(header)
    return now_s - stored_path(segment).stat().st_mtime > ELSEWHERE_S


def _lives(header: Header) -> bool:
    started = process_started(header.pid)
    return started is not None and (header.pid_started is None or started == header.pid_started)


def too_many(loaded: Sequence[Path], keep: Keep, now_s: float) -> list[Path]:
    """Which of the loaded segments are to go: those too old, then the oldest until the rest is small enough."""
    statuses = [(stored_path(segment).stat(), segment) for segment in loaded]
    oldest_first = sorted(statuses, key=lambda each: (each[0].st_mtime_ns, each[1].name))
    kept_bytes = sum(status.st_size for status, _segment in oldest_first)
    going = []
    for status, segment in oldest_first:
        is_many = keep.most_bytes is not None and kept_bytes > keep.most_bytes
        if is_many or now_s - status.st_mtime > keep.seconds:
            going.append(segment)
            kept_bytes -= status.st_size
    return going


def gone_path(folder: Path, store_id: str) -> Path:
    """Where it is written down what was removed from an inbox and is in this store alone."""
    return folder / f"removed-{store_id[:STORE_ID_CHARS]}"


def gone_from(folder: Path, store_id: str) -> Gone:
    """What was removed from an inbox and is in this store alone."""
    try:
        return msgspec.convert(read_mark(gone_path(folder, store_id)), Gone)
    except msgspec.ValidationError:
        return Gone()
