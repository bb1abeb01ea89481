"""Long stretches of plain lines, which the engine reads by itself: ten times as fast as line by line.

For a file that is far behind. A stretch ends before the first line that is not plain (`collector/plain.py`); where the
engine is not sure of one, or an event is to be filed under another run than it says, nothing of the stretch is stored,
and it is read line by line. While one is stored the next is read already, which changes nothing: it is forgotten, if
it is not what comes next.

Threads  the loader's, under its lock; "tinkertape-ahead" reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tinkertape.collector.batch import Batch, Sessions
from tinkertape.collector.plain import Leading, Plain
from tinkertape.collector.tape_file import INBOX, Progress, TapeFile
from tinkertape.errors import StoreError
from tinkertape.store import Passed, Passing, Store
from tinkertape.tape.format import Header
from tinkertape.tape.forms import open_stored

BYTES_MAX = 8_000_000  # of one stretch
BYTES_MIN = 200_000  # fewer come as fast line by line
LINES_MIN = 500

Process = tuple[str, str, str]  # project, run, process


class Stretch(NamedTuple):
    """What a stretch brought: how far the file is stored with it, the runs that grew, how many events are new."""

    progress: Progress
    runs: set[str]
    rows: int
    duplicates: int


class _Ahead(NamedTuple):
    """What is read before its turn."""

    path: Path
    offset: int
    read: Future[tuple[Leading, Passing | None]]


class Stretches:
    """Brings stretches into one store. `complete` says below which index all events of a process are stored, and is
    kept up to date."""

    def __init__(self, store: Store, complete: dict[Process, int]) -> None:
        self._store = store
        self._complete = complete
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="tinkertape-ahead")
        self._ahead: _Ahead | None = None
        self.plain = Plain()

    def close(self) -> None:
        """Nothing is taken any more."""
        self.forget()
        self._reader.shutdown()

    def take(self, tape: TapeFile, batch: Batch, sessions: Sessions, then: TapeFile | None) -> Stretch | None:
        """Store the stretch with which a file goes on; what stands among it and is no event goes to the batch. None:
        there is none. Meanwhile the next stretch of `then` is read. Raises `StoreError`, `OSError`."""
        before = tape.progress
        leading, passing = self._read_now(tape)
        end = before.offset + leading.size
        if passing is None:
            tape.closely_until = end + 1
            return None
        try:
            if then is not None:
                self._look_ahead(then, end if then is tape else then.progress.offset)
            passed = passing.passed()
            if sum(row.events for row in passed) != leading.events or any(
                _is_to_look_at(row, sessions) for row in passed
            ):
                tape.closely_until = end
                return None
            duplicates = self._insert(passing, leading.events, passed)
        finally:
            passing.close()
        rejected = len(batch.rejected)
        for place, raw in leading.beside:
            for record in tape.records([raw], before.offset + place):
                batch.take(tape, record)
        progress = Progress(end, before.rows + leading.events, before.set_aside + len(batch.rejected) - rejected)
        return Stretch(progress, {row.run for row in passed}, leading.events - duplicates, duplicates)

    def forget(self) -> None:
        """What was read before its turn is not taken."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.read.exception() is None and (passing := ahead.read.result()[1]) is not None:
            with contextlib.suppress(StoreError):
                passing.close()

    def _look_ahead(self, tape: TapeFile, offset: int) -> None:
        if _may_go_on(tape, offset):
            self._ahead = _Ahead(tape.path, offset, self._reader.submit(self._read, tape, offset))

    def _read_now(self, tape: TapeFile) -> tuple[Leading, Passing | None]:
        """The next stretch of a file, read now or before."""
        ahead = self._ahead
        if ahead is not None and (ahead.path, ahead.offset) == (tape.path, tape.progress.offset):
            self._ahead = None
            return ahead.read.result()
        self.forget()
        return self._read(tape, tape.progress.offset)

    def _read(self, tape: TapeFile, offset: int) -> tuple[Leading, Passing | None]:
        """Let the engine read the lines that a file goes on with, if enough of them are plain."""
        header = _header_of(tape)
        with open_stored(tape.path) as file, self._store.file_in_memory() as lines:
            file.seek(offset)
            leading = self.plain.lead(file, lines, BYTES_MAX)
            is_long = header is not None and leading.events + len(leading.beside) >= LINES_MIN
            return leading, self._store.passing(lines, header) if header is not None and is_long else None

    def _insert(self, passing: Passing, count: int, passed: list[Passed]) -> int:
        """Store what passes, but for what is stored for certain; about how many that are comes back."""
        low = {_process(row): self._complete.get(_process(row), 0) for row in passed}
        known = {_process(row): low[_process(row)] for row in passed if row.ours and row.lowest < low[_process(row)]}
        if any(row.ours < row.events or row.highest >= low[_process(row)] for row in passed):
            self._store.insert_passing(passing, count, known)
            self._complete.update(completed(passed, self._complete))
        return sum(min(row.different, known[_process(row)] - row.lowest) for row in passed if _process(row) in known)


def completed(passed: list[Passed], complete: Mapping[Process, int]) -> dict[Process, int]:
    """Below which index all events of a process are stored, once these are."""
    return {
        _process(row): max(row.highest + 1, complete.get(_process(row), 0))
        for row in passed
        if row.ours and row.lowest <= complete.get(_process(row), 0) and row.different == row.highest - row.lowest + 1
    }


def _process(row: Passed) -> Process:
    return row.project, row.run, row.process


def _is_to_look_at(row: Passed, sessions: Sessions) -> bool:
    return row.unfit > 0 or (row.ours < row.events and row.run in sessions)


def behind(tapes: Iterable[TapeFile]) -> list[TapeFile]:
    """Those that may go on with a stretch, the one that waited longest first."""
    found = [tape for tape in tapes if _may_go_on(tape, tape.progress.offset)]
    return sorted(found, key=lambda tape: tape.stretched_s)


def _may_go_on(tape: TapeFile, offset: int) -> bool:
    if _header_of(tape) is None or offset < tape.closely_until:
        return False
    try:
        return tape.size() - offset > BYTES_MIN
    except OSError:
        return False  # said by whoever reads it line by line


def _header_of(tape: TapeFile) -> Header | None:
    return INBOX if tape.inbox else tape.header
