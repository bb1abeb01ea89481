"""The store: what tapes brought, in ClickHouse's tables, each event once.

Invariants
- The identity of an event is (run, process, index, event id); whoever inserts it again changes no answer, whatever
  else the copy says. Of two copies the one that arrived first counts, so that a cursor never meets an event twice. The
  engine merges away what has the same sorting key, time and project included; every query leaves out the rest.
- `insert` returns when the rows are in the table and synced; a SIGKILL at any other moment leaves none of them, or all.
- The folder belongs to one process (`StoreLocked`); it is 0700, its files 0600.

Threads  any may read; writing is for the loader and the summaries, and each insert is one call under the engine's lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import msgspec

from tinkertape.config import open_private, private_folder
from tinkertape.context import Event
from tinkertape.errors import StoreError
from tinkertape.store import queries
from tinkertape.store.code_pages import give_back_code_pages
from tinkertape.store.engine import Engine
from tinkertape.store.lock import FolderLock
from tinkertape.store.passing import Passing, file_in_memory
from tinkertape.store.rows import EVENT_COLUMNS, event_columns, event_of
from tinkertape.tape.format import Header

ID_FILE = "tinkertape.id"
PAGE = 5_000  # events read at a time by `event_stream`, 40 MB of memory; each page reads the indexes of the whole run
COPIES_MAX = 64  # so many copies an event `last_events` looks behind
CODE_PAGES_S = 5.0  # those of the engine's program, at most so often: 12 ms, and 5 of the next query
FEW_ROWS, MANY_ROWS = 5_000, 15_000  # inserted: then memory is given back, often or where every microsecond counts
ARRIVAL = -2  # the column of `run_events.sql`
_encode = msgspec.json.Encoder().encode
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's


class Rejected(msgspec.Struct, frozen=True):
    """A line or event that was set aside. `id` is stable: the same line rejected again is one row."""

    run: str
    process: str
    id: str
    reason: str
    source: str = ""
    text: str = ""
    project: str = "default"


class Store:
    """An open store; make it with `Store.open`."""

    def __init__(self, folder: Path, lock: FolderLock, engine: Engine, identity: str) -> None:
        self.folder = folder
        self.id = identity
        self._lock = lock
        self._engine = engine
        self.give_back_every = FEW_ROWS
        self._rows_since = 0  # memory was given back
        self._code_pages_s = -CODE_PAGES_S  # monotonic: were given back
        self._arrival_lock = threading.Lock()
        self._arrival = queries.last_arrival(engine)

    @classmethod
    def open(cls, url: str) -> Store:
        """Open, and make where missing, the store at `chdb:///absolute/folder`.

        Raises `StoreLocked` when another process holds the folder, `StoreError` when the address, the folder or what
        is in it cannot be used.
        """
        folder = folder_of(url)
        lock = _acquired(folder)
        try:
            identity = _identity(folder)
            engine = Engine(folder)
        except BaseException:
            lock.release()
            raise
        try:
            for statement in queries.schema_texts():
                engine.write(statement)
            store = cls(folder, lock, engine, identity)
            store.give_back_memory()
            return store
        except BaseException:
            engine.close()
            lock.release()
            raise

    def close(self) -> None:
        """Stop the engine and give the folder free."""
        self._engine.close()
        self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # writing

    def _arrivals(self, count: int) -> int:
        with self._arrival_lock:
            first = max(time.time_ns(), self._arrival + 1)
            self._arrival = first + count - 1
            return first

    def insert(self, events: Sequence[Event]) -> None:
        """Store events that `rows.unfit` has nothing against; a duplicate changes nothing. Up to 10 000 at once."""
        if events:
            columns = event_columns(events, self._arrivals(len(events)))
            self._engine.insert("events", EVENT_COLUMNS, columns)
            self._give_back_after(len(events))

    def file_in_memory(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A file to write plain lines to, for `passing`."""
        return file_in_memory(self.folder)

    def passing(self, file: IO[bytes], header: Header) -> Passing:
        """Let the engine read the lines of a `file_in_memory`; `header` gives what they leave out. Any thread. Raises
        `StoreError`."""
        return Passing(self._engine, file, header)

    def insert_passing(self, passing: Passing, count: int, known: Mapping[tuple[str, str, str], int]) -> None:
        """Store what passes, `count` lines, without the events of ours below the index that is `known` of their
        (project, run, process)."""
        passing.store(self._arrivals(count), known)
        self._give_back_after(count)

    def _give_back_after(self, rows: int) -> None:
        """The client leaves its blocks in circles, and both allocators keep what was freed: 200 MB after 100 000 rows,
        40 with this (benchmarks/RESULTS.md)."""
        self._rows_since += rows
        if self._rows_since >= self.give_back_every:
            self._rows_since = 0
            gc.collect(1)
            self.give_back_memory()

    def give_back_memory(self) -> None:
        """Give the system what neither the engine nor Python uses any more."""
        with contextlib.suppress(StoreError):  # an engine without it
            queries.give_back_memory(self._engine)
        if _malloc_trim is not None:
            _malloc_trim(0)
        now_s = time.monotonic()
        if now_s - self._code_pages_s >= CODE_PAGES_S:
            self._code_pages_s = now_s
            give_back_code_pages()

    def reject(self, rows: Sequence[Rejected]) -> None:
        """Remember what was set aside, and why."""
        if rows:
            first = self._arrivals(len(rows))
            names = ("project", "run", "process", "id", "arrival", "reason", "source", "text")
            values = [
                (row.project, row.run, row.process, row.id, first + place, row.reason, row.source, row.text)
                for place, row in enumerate(rows)
            ]
            self._engine.insert("rejected", names, _columns(values))

    def note_processes(self, rows: Sequence[queries.ProcessRow]) -> None:
        """Remember who records a run: the header of a tape."""
        if rows:
            first = self._arrivals(len(rows))
            names = ("project", "run", "process", "arrival", "name", "wall_ns", "header")
            values = [
                (row.project, row.run, row.process, first + place, row.name, row.wall_ns, _encode(row.header).decode())
                for place, row in enumerate(rows)
            ]
            self._engine.insert("processes", names, _columns(values))

    def note_ledgers(self, project: str, rows: Sequence[queries.LedgerRow]) -> None:
        """Remember what processes say of themselves; of several the largest stays."""
        if rows:
            names = ("project", "run", "process", "recorded", "dropped", "closed")
            values = [
                (project, row.run, row.process, row.recorded, _encode(row.dropped).decode(), row.closed) for row in rows
            ]
            self._engine.insert("ledgers", names, _columns(values))

    def note_session(self, session_id: str, project: str, run: str) -> None:
        """Remember that a session of the service belongs to a run."""
        arrival = self._arrivals(1)
        names = ("session_id", "project", "run", "arrival")
        self._engine.insert("sessions", names, _columns([(session_id, project, run, arrival)]))

    def refile(self, session_id: str, project: str, run: str) -> int:
        """Move what a session's own bodies brought to the run of the session; returns how many events. Repeating it
        does nothing."""
        count = self.count(session_id)
        if count and run != session_id:
            queries.refile_events(self._engine, session_id, project, run, self._arrivals(count))
            queries.forget_run_summary(self._engine, session_id)
            queries.forget_run_events(self._engine, session_id)  # last: while there are some, a cut-off move is found
        return count

    def note_summary(self, row: queries.Summary, project: str = "default") -> None:
        """Remember a run as the list shows it; the latest stays."""
        names = ("project", "run", "began_us", "arrival", "version", "summary")
        text = _encode(row.summary).decode()
        columns: list[list[Any]] = [[project], [row.run], [row.began_us], [row.arrival], [self._arrivals(1)], [text]]
        self._engine.insert("summaries", names, columns)

    # reading

    def events(self, run: str, after: int = 0, limit: int = 1_000) -> list[tuple[int, Event]]:
        """A run's events in the order of arrival, from a cursor on: [(cursor, event)]; it is the order of each process,
        but where a part of its tape came late. Of an event that came twice the first copy."""
        found: list[tuple[Any, ...]] = []
        while (wanted := limit - len(found)) > 0 and (rows := queries.run_events(self._engine, run, after, wanted)):
            found += _firsts(rows)
            after = rows[-1][ARRIVAL]
            if found and len(rows) < wanted:  # all copies: what comes after them may be more
                break
        self._give_back_after(len(found))
        return [(arrival, event) for event, arrival in map(event_of, found)]

    def event_stream(self, run: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """All events of a run from a cursor on, read a page at a time."""
        while page := self.events(run, after, PAGE):
            yield from page
            after = page[-1][0]

    def last_events(self, run: str, limit: int = 200) -> list[Event]:
        """The newest events of a run by time, newest first."""
        wanted = limit
        while True:
            rows = queries.last_events(self._engine, run, wanted)
            found = _firsts(rows)
            if len(found) >= limit or len(rows) < wanted or wanted >= COPIES_MAX * limit:
                return [event_of(row)[0] for row in found[:limit]]
            wanted *= 4

    def count(self, run: str) -> int:
        """How many events a run has, each once."""
        return queries.count_events(self._engine, run)

    def runs(self, limit: int = 100, before: tuple[int, str] | None = None) -> list[queries.Summary]:
        """The runs that were summed up, newest first, from a cursor (began in microseconds, run) on."""
        return queries.summaries(self._engine, before, limit)

    def run(self, run: str) -> queries.Summary | None:
        """One run that was summed up."""
        return queries.summary(self._engine, run)

    def runs_made_otherwise(self, rule: str) -> list[str]:
        """The runs whose summary was made by other rules than these, newest first."""
        return queries.runs_made_otherwise(self._engine, rule)

    def runs_behind(self) -> list[str]:
        """The runs that have events newer than their summary."""
        return queries.runs_behind(self._engine)

    def processes(self, run: str | None = None) -> list[queries.ProcessRow]:
        """Who recorded a run, or all; oldest first."""
        return queries.processes(self._engine, run)

    def ledgers(self, run: str | None = None) -> list[queries.LedgerRow]:
        """What the processes of a run, or all, said last of themselves."""
        return queries.ledgers(self._engine, run)

    def stored_by_process(self, run: str | None = None) -> list[queries.StoredProcess]:
        """How many events are stored, each once, by process."""
        return queries.stored_by_process(self._engine, run)

    def complete_processes(self) -> dict[tuple[str, str, str], int]:
        """How many events of ours are stored, by (project, run, process), of those where none below the highest index
        is missing."""
        return queries.complete_processes(self._engine)

    def rejected_by_process(self, run: str | None = None) -> list[tuple[str, str, int]]:
        """How many lines were set aside, each once: [(run, process, count)]."""
        return queries.rejected_by_process(self._engine, run)

    def cut_lines(self, run: str) -> int:
        """How many of the lines of a run that were set aside lack their end."""
        return queries.cut_lines(self._engine, run)

    def stored_among(self, run: str, identities: set[tuple[str, int, str]]) -> set[tuple[str, int, str]]:
        """Which of these identities (process, index, event id) of a run are stored already."""
        if not identities:
            return set()
        indexes = [identity[1] for identity in identities]
        names = sorted({identity[0] for identity in identities})
        return identities & queries.stored_identities(self._engine, run, names, min(indexes), max(indexes))

    def sessions(self) -> dict[str, tuple[str, str]]:
        """Which (project, run) each session belongs to."""
        return queries.sessions(self._engine)

    def sessions_unfiled(self) -> list[str]:
        """The sessions of a run that still have events under their own name: a move that was cut off."""
        return queries.sessions_unfiled(self._engine)


def _firsts(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows that are the first copy of their event, without that mark."""
    return [row[:-1] for row in rows if row[-1]]


def _columns(values: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*values, strict=True)]


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a store's folder without opening it, made where it is missing. Raises `StoreLocked`, `StoreError`."""
    lock = _acquired(folder)
    try:
        yield
    finally:
        lock.release()


def _acquired(folder: Path) -> FolderLock:
    try:
        private_folder(folder)
        lock = FolderLock(folder)
        lock.acquire()
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"cannot open {folder}: {reason}; choose another folder with --store") from error
    return lock


def folder_of(url: str) -> Path:
    """The folder that a store's address names. Raises `StoreError`."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.path))
    if parts.scheme != "chdb" or parts.netloc or not folder.is_absolute() or folder == Path("/"):
        raise StoreError(f"cannot open {url!r}: a store's address is chdb:///absolute/folder")
    return folder


def id_of(folder: Path) -> str | None:
    """The id of the store in a folder; None: there is none."""
    path = folder / ID_FILE
    if path.exists() and (text := path.read_text(encoding="ascii", errors="replace").strip()).isalnum():
        return text
    return None


def _identity(folder: Path) -> str:
    """The store's id, random, made once: a tape remembers by it how far this very store has read."""
    path = folder / ID_FILE
    if (known := id_of(folder)) is not None:
        return known
    text = os.urandom(8).hex()
    passing = path.with_suffix(".new")
    descriptor = open_private(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    passing.replace(path)
    return text
