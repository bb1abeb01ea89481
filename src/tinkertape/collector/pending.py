"""What stands on tapes and in the inbox beyond what is loaded: counted by reading it, each identity once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from tinkertape.collector.batch import Batch
from tinkertape.collector.tape_file import TapeFile
from tinkertape.errors import TapeError
from tinkertape.store import LedgerRow

Key = tuple[str, str]  # run, process
Identity = tuple[str, int, str]  # process, index, event id
LINES_AT_ONCE = 10_000


class Pending(msgspec.Struct):
    """By (run, process): the identities that wait, the lines that will be set aside, what was declared in between, and
    last lines that are not complete.
    """

    identities: dict[Key, set[Identity]]
    rejected: Counter[Key]
    declared: dict[Key, LedgerRow]
    torn: Counter[Key]


def pending_of(files: Iterable[TapeFile], sessions: Mapping[str, tuple[str, str]], run: str | None = None) -> Pending:
    """Read the rest of these files. Under the loader's lock."""
    found = Pending({}, Counter(), {}, Counter())
    for tape in files:
        try:
            if tape.size() != tape.progress.offset:
                _read_rest(tape, found, sessions, run)
        except (OSError, TapeError):
            continue  # the loader says so
    return found


def _read_rest(tape: TapeFile, found: Pending, sessions: Mapping[str, tuple[str, str]], run: str | None) -> None:
    batch, ended, header = Batch(), tape.ended, tape.header
    reader = tape.reader(tape.progress.offset)
    for record in reader.records():
        batch.take(tape, record)
        if len(batch) >= LINES_AT_ONCE:
            _add(found, batch, sessions, run)
            batch = Batch()
    _add(found, batch, sessions, run)
    if reader.torn and not tape.inbox and run in (None, tape.run):
        found.torn[tape.run, tape.process] += 1
    tape.ended, tape.header = ended, header or tape.header


def _add(found: Pending, batch: Batch, sessions: Mapping[str, tuple[str, str]], run: str | None) -> None:
    for event in batch.filed({**sessions, **batch.sessions} if batch.sessions else sessions):
        if run is None or event.run == run:
            identity = (event.process, event.index, event.event_id)
            found.identities.setdefault((event.run, event.process), set()).add(identity)
    for rejected in batch.rejected:
        if run is None or rejected.run == run:
            found.rejected[rejected.run, rejected.process] += 1
    for _project, row in batch.ledgers:
        if run is None or row.run == run:
            found.declared[row.run, row.process] = row
