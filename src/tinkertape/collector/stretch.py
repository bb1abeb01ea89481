"""Long stretches of plain lines, which the engine reads by itself: ten times as fast as line by line.

For a file that is far behind. A stretch ends before the first line that is not plain (`collector/plain.py`); where the
engine is not sure of one, or an event is to be filed under another run than it says, nothing of the stretch is stored,
and it is read line by line.

Threads  the loader's, under its lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tinkertape.collector.batch import Batch, Sessions
from tinkertape.collector.plain import BESIDE, Plain
from tinkertape.collector.tape_file import INBOX, Progress, TapeFile
from tinkertape.store import Passed, Store
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


class Stretches:
    """Brings stretches into one store. `complete` says below which index all events of a process are stored, and is
    kept up to date."""

    def __init__(self, store: Store, complete: dict[Process, int]) -> None:
        self._store = store
        self._complete = complete
        self.plain = Plain()

    def take(self, tape: TapeFile, batch: Batch, sessions: Sessions) -> Stretch | None:
        """Store the stretch with which a file goes on; what stands among it and is no event goes to the batch. None:
        there is none. Raises `StoreError`, `OSError`."""
        before = tape.progress
        header = INBOX if tape.inbox else tape.header
        if header is None or before.offset < tape.closely_until:
            return None
        raws = _whole_lines(tape)
        count = self.plain.leading(raws[:LINES_MIN])
        if count < LINES_MIN:
            tape.closely_until = before.offset + sum(map(len, raws[:count])) + count + 1
            return None
        count = self.plain.leading(raws)
        leading = raws[:count]
        end = before.offset + sum(map(len, leading)) + count
        events = [raw for raw in leading if not raw.startswith(BESIDE)]
        with self._store.passing(b"\n".join(events), header) as passed:
            if sum(row.events for row in passed) != len(events) or any(_is_to_look_at(row, sessions) for row in passed):
                tape.closely_until = end
                return None
            duplicates = self._insert(len(events), passed)
        rejected = len(batch.rejected)
        if len(events) < count:
            for record in tape.records(leading, before.offset):
                if record.raw.startswith(BESIDE):
                    batch.take(tape, record)
        progress = Progress(end, before.rows + len(events), before.set_aside + len(batch.rejected) - rejected)
        return Stretch(progress, {row.run for row in passed}, len(events) - duplicates, duplicates)

    def _insert(self, count: int, passed: list[Passed]) -> int:
        """Store what passes, but for what is stored for certain; about how many that are comes back."""
        low = {_process(row): self._complete.get(_process(row), 0) for row in passed}
        known = {_process(row): low[_process(row)] for row in passed if row.ours and row.lowest < low[_process(row)]}
        if any(row.ours < row.events or row.highest >= low[_process(row)] for row in passed):
            self._store.insert_passing(count, known)
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


def _whole_lines(tape: TapeFile) -> list[bytes]:
    """The next lines of a file."""
    with open_stored(tape.path) as file:
        file.seek(tape.progress.offset)
        piece = file.read(BYTES_MAX)
    return piece[: max(0, piece.rfind(b"\n"))].split(b"\n")
