"""What stands on tapes and in the inbox beyond what is loaded: counted by reading it, each identity once.

A glance at a line is enough for nearly all of them; what the glance does not know is sorted in as the loader would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tinkertape.collector.batch import SESSION_CREATE, Batch, Sessions
from tinkertape.collector.tape_file import TapeFile
from tinkertape.config import event_id as derived_id
from tinkertape.errors import TapeError
from tinkertape.store import LedgerRow
from tinkertape.tape.forms import open_stored

Key = tuple[str, str]  # run, process
Identity = tuple[str, int, str]  # process, index, event id
CHUNK = 1_000_000  # bytes
_CREATES_SESSION = f'"{SESSION_CREATE}"'.encode()


class Pending(msgspec.Struct):
    """By (run, process): the identities that wait, the lines that will be set aside, what was declared in between, and
    last lines that are not complete. `left`: the folders of files that were not there any more.
    """

    identities: dict[Key, set[Identity]]
    rejected: Counter[Key]
    declared: dict[Key, LedgerRow]
    torn: Counter[Key]
    left: set[Path]


class _Glance(msgspec.Struct):
    event: str
    event_id: str = ""
    event_session_index: int = -1
    run: str = ""
    process: str = ""


_glance = msgspec.json.Decoder(_Glance).decode


def pending_of(files: Iterable[TapeFile], sessions: Sessions, run: str | None = None) -> Pending:
    """Read the rest of these files. Under the loader's lock."""
    found = Pending({}, Counter(), {}, Counter(), set())
    for tape in files:
        try:
            if tape.size() != tape.progress.offset:
                _read_rest(tape, found, sessions, run)
        except FileNotFoundError:
            found.left.add(tape.path.parent)
        except (OSError, TapeError):
            continue  # the loader says so
    return found


def _read_rest(tape: TapeFile, found: Pending, sessions: Sessions, run: str | None) -> None:
    offset = tape.progress.offset
    if offset and tape.header is None and not tape.inbox:
        tape.header = tape.first_header()
    batch, ended = Batch(), tape.ended
    for raw, next_offset in raw_lines(tape.path, offset):
        if next_offset is None:
            if not tape.inbox and run in (None, tape.run):
                found.torn[tape.run, tape.process] += 1
            break
        if not _take_at_a_glance(raw, found, sessions, run):
            batch.take(tape, next(tape.records([raw], offset)))
        offset = next_offset
    _add(found, batch, sessions, run)
    tape.ended = ended


def raw_lines(path: Path, offset: int) -> Iterator[tuple[bytes, int | None]]:
    """Lines that are not empty, each with where the next begins; a last one without its end has None."""
    with open_stored(path) as file:
        file.seek(offset)
        rest = b""
        while chunk := file.read(CHUNK):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for raw in lines:
                offset += len(raw) + 1
                if raw:
                    yield raw, offset
        if rest:
            yield rest, None


def _take_at_a_glance(raw: bytes, found: Pending, sessions: Sessions, run: str | None) -> bool:
    """Count an ordinary event; False: look closer."""
    if not raw.startswith(b'{"event":') or _CREATES_SESSION in raw:
        return False
    try:
        glance = _glance(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    if not glance.run or not glance.process or glance.event_session_index < 0:
        return False
    is_ours = glance.event_id == derived_id(glance.process, glance.event_session_index)
    home = glance.run if is_ours else sessions.get(glance.run, ("", glance.run))[1]
    if run is None or run == home:
        identity = (glance.process, glance.event_session_index, "" if is_ours else glance.event_id)
        found.identities.setdefault((home, glance.process), set()).add(identity)
    return True


def _add(found: Pending, batch: Batch, sessions: Sessions, run: str | None) -> None:
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
