"""The loader: replays every tape it can see, the inbox's and this machine's, into the store.

Invariants
- Progress is remembered after the rows are in the store: what a SIGKILL cut off is read again, and the store's key
  absorbs it. Nothing is skipped.
- A process's events are stored in their order: its next segment waits until the one before is loaded, unless that
  cannot be read; so does what a collector received for what the one before it did.
- A line that is none is set aside with its reason, and a file that cannot be read is left for a while; neither stops
  the others.
- A store that refuses (a full disk) stops the loading, not the receiving: the same rows are tried again.

Threads  "tinkertape-loader" loads; `pending` may be called by any.
Locks    `_lock` is held for one turn (read, insert, remember): who holds it sees each line either stored or pending.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from tinkertape.collector import stretch
from tinkertape.collector.batch import Batch
from tinkertape.collector.giving_way import Receiving
from tinkertape.collector.pending import Pending, pending_of
from tinkertape.collector.removals import Removals
from tinkertape.collector.stretch import Stretches
from tinkertape.collector.tape_file import Finder, Progress, TapeFile, first_of_each
from tinkertape.context import Event
from tinkertape.errors import StoreError, TapeError, TapeNotFound
from tinkertape.guard import guarded
from tinkertape.store import FEW_ROWS, MANY_ROWS, Store

ROWS_MAX = 10_000
FILE_ROWS = 2_500  # of one file before the next has its turn
BYTES_MAX = 16_000_000  # of one file in one turn
LOOK_AGAIN_S = 0.1
FIND_AGAIN_S = 0.2  # new files
ENDED_AGAIN_S = 10.0  # closed files: nobody should write to them, so it is looked less often
RETRY_S = 5.0  # a file that cannot be read
STORE_RETRY_S = 1.0

COLLECT_AFTER = 100_000  # objects: a batch makes half of that, and no circles; 10 % of the loader's time

_log = logging.getLogger("tinkertape")


def collect_less() -> None:
    """Let Python's cyclic collector run seldom, in a process that does little but load."""
    gc.set_threshold(COLLECT_AFTER, 20, 20)


class _Step(msgspec.Struct):
    """What one file brings to a batch."""

    tape: TapeFile
    progress: Progress
    ended: bool


class Loader:
    """Loads `inbox` and `tapes` into `store`, from `start` to `close`."""

    def __init__(
        self,
        store: Store,
        inbox: Path,
        tapes: Path | None,
        *,
        on_stored: Callable[[list[str]], None] = lambda runs: None,
        on_moving: Callable[[str], None] = lambda session_id: None,
        on_loaded: Callable[[Path, int], None] = lambda segment, offset: None,
        receiving: Receiving | None = None,
    ) -> None:
        self._store = store
        self._finder = Finder(tapes, inbox)
        self._removals = Removals(store, self._finder)
        self._on_stored = on_stored
        self._on_moving = on_moving
        self._on_loaded = on_loaded
        self._receiving = receiving or Receiving(lambda: False)
        self._files: dict[Path, TapeFile] = {}
        self._found_s = self._looked_at_ended_s = 0.0
        self._sessions: dict[str, tuple[str, str]] = {}
        self._complete: dict[tuple[str, str, str], int] = {}  # by process: every index of ours below is stored
        self._stretches = Stretches(store, self._complete)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closing = False
        self._hurried = False
        self._held_back = 0  # files whose turn is not yet
        self._file_rows = FILE_ROWS
        self._stop = threading.Event()  # set with `_closing`
        self._thread = threading.Thread(target=self._load, name="tinkertape-loader", daemon=True)
        self.rows = 0
        self.stretched = 0  # of them, what the engine read by itself
        self.duplicates = 0
        self.set_aside = 0
        self.failures = 0

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def close(self) -> None:
        """Load what is there, for a few seconds at most, then stop."""
        self._closing = True
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def load_all(self, progress: Callable[[int, int], None]) -> None:
        """Load what is there now, in the caller's thread, instead of `start`; `progress` is told the bytes done, and
        those of all. Raises `StoreError`.
        """
        self._closing = True  # every file has its turn at once
        self._file_rows = ROWS_MAX
        self._ask_store()
        self._find()
        whole = self.backlog_bytes()
        loaded_before = self._loaded_bytes()
        with contextlib.closing(self._stretches):
            while self.turn():
                done = self._loaded_bytes() - loaded_before
                progress(min(done, whole), whole)
                if done >= whole:  # what is written meanwhile is for whoever serves next
                    break

    def hurry(self) -> None:
        """Somebody waits for what is new in the inbox: look at once. Any thread."""
        self._hurried = True
        self._wake.set()

    def pending(self, run: str | None = None) -> Pending:
        """What stands on tapes and inbox and is not stored. The caller holds `still`, if another count must fit to
        it."""
        with self._lock:
            self._find()
            files = [tape for tape in self._files.values() if run is None or tape.inbox or tape.run == run]
            found = pending_of(files, self._sessions, run)
            rows = self._removals.untold(found.left)
            found.declared.update({(row.run, row.process): row for row in rows if run in (None, row.run)})
            return found

    def is_loading(self, run: str) -> bool:
        """Is a tape of this run on this machine closed, and not loaded to its end yet? Any thread, without a lock."""
        tapes = list(self._files.values())
        return any(tape.ends_ahead() for tape in tapes if not tape.inbox and tape.run == run)

    def has_tape(self, run: str) -> bool:
        """Is there a tape of this run on this machine? Any thread, without a lock."""
        return any(not tape.inbox and tape.run == run for tape in list(self._files.values()))

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """While inside, nothing moves from pending to stored; `pending` may be asked."""
        with self._lock:
            yield

    def _loaded_bytes(self) -> int:
        return sum(tape.progress.offset for tape in self._files.values())

    def backlog_bytes(self) -> int:
        """How many bytes of known files are not loaded yet."""
        return sum(max(0, _size(tape) - tape.progress.offset) for tape in list(self._files.values()))

    # the loading thread

    def _load(self) -> None:
        with contextlib.closing(self._stretches):
            self._load_loop()

    def _load_loop(self) -> None:
        while not self._prepare() and not self._closing:
            self._wake.wait(STORE_RETRY_S)
        deadline_s = None
        while True:
            began_s, closing = time.monotonic(), self._closing  # asked before: the last turn sees all that is there
            loaded = self._turn_guarded()
            if closing:
                deadline_s = deadline_s or time.monotonic() + 5.0
                if loaded <= 0 or time.monotonic() > deadline_s:
                    break
            elif loaded < 0:
                self._wake.wait(STORE_RETRY_S)
                self._wake.clear()
            elif loaded == 0:
                self._wake.wait(LOOK_AGAIN_S)
                self._wake.clear()
            else:
                self._receiving.give_way(time.monotonic() - began_s, self._stop)

    def _prepare(self) -> bool:
        try:
            self._ask_store()
        except StoreError as error:
            self._failed(error)
            return False
        return True

    def _ask_store(self) -> None:
        """Ask the store for what an earlier life knew."""
        self._sessions = self._store.sessions()
        for session_id in self._store.sessions_unfiled():
            self._on_moving(session_id)
            self._store.refile(session_id, *self._sessions[session_id])
        self._complete.update(self._store.complete_processes())

    def _turn_guarded(self) -> int:
        """Rows loaded; -1 after a failure."""
        with guarded("collector.loader"):
            try:
                return self.turn()
            except StoreError as error:
                self._failed(error)
        return -1

    def _failed(self, error: StoreError) -> None:
        self.failures += 1
        if self.failures == 1:
            _log.warning("tinkertape: %s; what is received waits in the inbox, and is tried again", error)

    def turn(self) -> int:
        """Load one batch of what is new; how many lines it took is returned. Raises `StoreError`."""
        with self._lock:
            self._find()
            self._store.give_back_every = FEW_ROWS if self._receiving.is_receiving() else MANY_ROWS
            hurried, self._hurried = self._hurried, False
            batch, steps = Batch(), dict[Path, _Step]()
            behind = stretch.behind(waiting := self._to_look_at(hurried))
            runs = self._stretch(behind, batch, steps)
            later = [tape for tape in behind if steps and tape.progress.offset >= tape.closely_until]
            self._gather([tape for tape in waiting if tape not in later], batch, steps)
            grown = sorted({*runs, *self._store_batch(batch)}) if steps else []
            for step in steps.values():
                step.tape.advance(step.progress)
                step.tape.ended = step.ended
            grown += self._removals.tell()
        if grown:
            self._on_stored(grown)
        for step in steps.values():
            if step.tape.inbox:
                self._on_loaded(step.tape.path, step.progress.offset)
        return len(batch) + len(steps) + self._held_back

    def _find(self) -> None:
        now_s = time.monotonic()
        if now_s - self._found_s < FIND_AGAIN_S and not (self._closing or self._hurried):
            return
        self._found_s = now_s
        for path, inbox in self._finder.files():
            if path not in self._files:
                self._files[path] = TapeFile(path, self._store.id, inbox=inbox)

    def _stretch(self, behind: list[TapeFile], batch: Batch, steps: dict[Path, _Step]) -> set[str]:
        """Load a stretch of one file that is far behind, each in its turn; the runs that grew come back."""
        for place, tape in enumerate(behind):
            then = None if self._receiving.is_receiving() else (*behind, tape)[place + 1]
            try:
                taken = self._stretches.take(tape, batch, self._sessions, then)
            except OSError:
                continue  # said by whoever reads it line by line
            if taken is not None:
                tape.stretched_s = time.monotonic()
                tape.note_growth(True)
                steps[tape.path] = _Step(tape, taken.progress, tape.ended)
                self.rows += taken.rows
                self.stretched += taken.rows
                self.duplicates += taken.duplicates
                return taken.runs
        self._stretches.forget()
        return set()

    def _gather(self, waiting: list[TapeFile], batch: Batch, steps: dict[Path, _Step]) -> None:
        """A batch from all files that grew, round and round: a long one must not hold up the run that goes on now."""
        while waiting and len(batch) < ROWS_MAX:
            waiting = [tape for tape in waiting if len(batch) < ROWS_MAX and self._read(tape, batch, steps)]

    def _to_look_at(self, hurried: bool) -> list[TapeFile]:
        now_s = time.monotonic()
        look_at_ended = self._closing or now_s - self._looked_at_ended_s > ENDED_AGAIN_S
        if look_at_ended:
            self._looked_at_ended_s = now_s
        looked_at = [
            tape
            for tape in self._files.values()
            if (self._closing or tape.not_before_s <= now_s or (hurried and tape.inbox))
            and (look_at_ended or not tape.ended)
        ]
        first = first_of_each(looked_at)
        self._held_back = len(looked_at) - len(first)
        return first

    def _read(self, tape: TapeFile, batch: Batch, steps: dict[Path, _Step]) -> bool:
        """Take some lines of a file; True: there may be more."""
        step = steps.get(tape.path)
        before = step.progress if step else tape.progress
        try:
            size = tape.size()
            if size < before.offset:  # cut: begin again, the store's key absorbs what it has
                before = Progress()
            grown = self._read_from(tape, before, batch) if size > before.offset else None
        except (FileNotFoundError, TapeNotFound):
            del self._files[tape.path]
            return False
        except (OSError, TapeError):
            tape.not_before_s = time.monotonic() + RETRY_S
            tape.read_size = _size(tape)
            with guarded("collector.loader.file"):
                raise
            return False
        if step is None:
            tape.note_growth(grown is not None)
            tape.read_size = size if grown is None else -1
        if grown is None:
            return False
        steps[tape.path] = grown
        return grown.progress.offset < size

    def _read_from(self, tape: TapeFile, before: Progress, batch: Batch) -> _Step | None:
        """Take lines until there are no more, or it is another file's turn."""
        rows, set_aside, lines = len(batch.events), len(batch.rejected), len(batch)
        was_ended, tape.ended = tape.ended, False
        reader = tape.reader(before.offset)
        offset = before.offset
        for record in reader.records():
            batch.take(tape, record)
            if isinstance(record.line, Event):
                self._stretches.plain.learn(record.raw)
            offset = record.next_offset
            if len(batch) >= ROWS_MAX or len(batch) - lines >= self._file_rows or offset - before.offset > BYTES_MAX:
                break
        else:
            offset = reader.offset
        ended, tape.ended = tape.ended, was_ended
        if offset == before.offset:
            return None
        rows, set_aside = len(batch.events) - rows, len(batch.rejected) - set_aside
        return _Step(tape, Progress(offset, before.rows + rows, before.set_aside + set_aside), ended)

    def _store_batch(self, batch: Batch) -> list[str]:
        """Insert a batch; the runs that grew come back."""
        self._store.note_processes(batch.processes)
        refiled = self._note_sessions(batch.sessions)
        events = self._unknown(batch.filed(self._sessions))
        self._store.insert(events)
        self._store.reject(batch.rejected)
        ledgers = self._removals.counted(batch.ledgers)
        for project in {project for project, _row in ledgers}:
            self._store.note_ledgers(project, [row for name, row in ledgers if name == project])
        for event in events:
            self._note_complete(event)
        self.rows += len(events)
        self.duplicates += len(batch.events) - len(events)
        self.set_aside += len(batch.rejected)
        runs = {event.run for event in events} | {row.run for _project, row in batch.ledgers}
        return sorted(runs | refiled)

    def _note_sessions(self, found: dict[str, tuple[str, str]]) -> set[str]:
        """Remember new sessions, and bring what came before them to their run."""
        grown: set[str] = set()
        for session_id, (project, run) in found.items():
            if session_id in self._sessions or session_id == run:
                continue
            self._store.note_session(session_id, project, run)
            self._sessions[session_id] = (project, run)
            self._on_moving(session_id)
            if self._store.refile(session_id, project, run):
                grown.add(run)
        return grown

    def _unknown(self, events: Iterable[Event]) -> list[Event]:
        """Without the events of ours that are stored for certain: a process's tape and what its delivery brought hold
        the same."""
        complete = self._complete
        return [
            event
            for event in events
            if event.event_id or event.index >= complete.get((event.project, event.run, event.process), 0)
        ]

    def _note_complete(self, event: Event) -> None:
        key = (event.project, event.run, event.process)
        if not event.event_id and event.index == self._complete.get(key, 0):
            self._complete[key] = event.index + 1


def _size(tape: TapeFile) -> int:
    try:
        return tape.size()
    except OSError:
        return 0
