"""What stands on tapes and in the inbox beyond what is loaded: counted by reading it, each identity once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from tinkertape.collector.batch import Batch
from tinkertape.collector.tape_file import TapeFile
from tinkertape.store import LedgerRow

Key = tuple[str, str]  # run, process
Identity = tuple[str, int, str]  # process, index, event id


class Pending(msgspec.Struct):
    """By (run, process): the identities that wait, the lines that will be set aside, and what was declared in
    between."""

    identities: dict[Key, set[Identity]]
    rejected: Counter[Key]
    declared: dict[Key, LedgerRow]


def pending_of(files: Iterable[TapeFile], sessions: Mapping[str, tuple[str, str]], run: str | None = None) -> Pending:
    """Read the rest of these files. Under the loader's lock."""
    found = Pending({}, Counter(), {})
    for tape in files:
        offset = tape.progress.offset
        while True:
            try:
                chunk = tape.read(offset)
            except OSError:
                break
            if chunk.next_offset == offset:
                break
            offset = chunk.next_offset
            batch = Batch()
            ended = tape.ended
            for place, raw in chunk.lines:
                batch.take(tape, place, raw)
            tape.ended = ended
            _add(found, batch, {**sessions, **batch.sessions} if batch.sessions else sessions, run)
    return found


def _add(found: Pending, batch: Batch, sessions: Mapping[str, tuple[str, str]], run: str | None) -> None:
    for event in batch.filed(sessions):
        if run is None or event.run == run:
            identity = (event.process, event.index, event.event_id)
            found.identities.setdefault((event.run, event.process), set()).add(identity)
    for rejected in batch.rejected:
        if run is None or rejected.run == run:
            found.rejected[rejected.run, rejected.process] += 1
    for _project, row in batch.ledgers:
        if run is None or row.run == run:
            found.declared[row.run, row.process] = row
