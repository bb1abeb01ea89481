"""One file that the loader reads: a segment of a tape or of the inbox, and how far a store has it.

The progress stands beside the file, `<segment>.loaded-<store id>`, and is replaced whole, after the rows are in the
store: a SIGKILL in between makes the loader read a piece again, which the store's key absorbs. A file of somebody else
is never written to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from tinkertape.errors import BadLine, TapeError
from tinkertape.structs import made_ready
from tinkertape.tape.format import Header, decode_line
from tinkertape.tape.forms import open_stored, segment_files, stored_bytes
from tinkertape.tape.marks import mark_path, read_mark, write_mark
from tinkertape.tape.reader import Reader, Record, first_header
from tinkertape.tape.removal import process_of
from tinkertape.tape.tape import last_end

SETTLED_NS = 2_000_000_000
IDLE_DIVISOR, IDLE_MAX_S = 30, 2.0  # a file that was silent for a minute is looked at each two seconds
STORE_ID_CHARS = 8  # of the store's id, in the name of a mark
_log = logging.getLogger("tinkertape")


INBOX = Header(run="inbox", process="")  # a line of the inbox says all by itself; what it leaves out is nobody's


class Progress(msgspec.Struct, frozen=True):
    """How far a store has a file."""

    offset: int = 0
    rows: int = 0
    set_aside: int = 0


made_ready(Progress)


class TapeFile:
    """A file and its progress; used under the loader's lock."""

    def __init__(self, path: Path, store_id: str, *, inbox: bool) -> None:
        self.path = path
        self.inbox = inbox
        self.mark = loaded_mark(path, store_id)
        self.progress = progress_of(self.mark)
        self.header: Header | None = None
        self.ended = False  # its last line says that nothing follows
        self.writer = process_of(path)
        self.series = (path.parent, "" if inbox else self.writer)  # what has an order: one process's, or the inbox
        self.read_size = -1  # so large it was when there was no whole line beyond the progress
        self.closely_until = 0  # an offset: what stands before it is not for the engine to read by itself
        self.stretched_s = 0.0  # when it last did (monotonic)
        self.not_before_s = 0.0  # when to look again (monotonic): soon, unless it is silent or cannot be read
        self._grew_s = time.monotonic()
        self._began_ns = 0

    @property
    def order(self) -> tuple[bool, int, Path]:
        """Its place among others: the inbox first, whose files are named after the collectors that wrote them, each
        in its time."""
        if self.inbox and not self._began_ns:
            with contextlib.suppress(OSError):
                header = self.first_header()
                self._began_ns = header.wall_ns if header else 0
        return not self.inbox, self._began_ns, self.path

    def goes_before(self, later: TapeFile) -> bool:
        """Is one of the same series that stands later to wait for this one? Not where two collectors write at once."""
        if self.writer == later.writer:
            return True
        try:
            return self.path.stat().st_mtime_ns <= later._began_ns
        except OSError:
            return False

    @property
    def run(self) -> str:
        """Whose tape it is, by its header, else by its folder."""
        if self.inbox:
            return "inbox"
        return self.header.run if self.header else self.path.parent.name

    @property
    def process(self) -> str:
        return self.header.process if self.header else self.path.stem.rpartition("-")[0]

    def advance(self, progress: Progress) -> None:
        """Remember how far the store has the file. Where no mark can be written it is known until the collector
        ends."""
        self.progress = progress
        with contextlib.suppress(OSError):
            write_mark(self.mark, msgspec.structs.asdict(progress))

    def note_growth(self, grew: bool) -> None:
        """Whoever is silent is looked at less and less often."""
        now_s = time.monotonic()
        if grew:
            self._grew_s = now_s
        self.not_before_s = now_s + min((now_s - self._grew_s) / IDLE_DIVISOR, IDLE_MAX_S)

    def size(self) -> int:
        return stored_bytes(self.path)

    def is_behind(self) -> bool:
        """May it have lines that are not loaded?"""
        try:
            size = self.size()
        except OSError:
            return False
        return size > self.progress.offset and size != self.read_size

    def ends_ahead(self) -> bool:
        """Is it closed, and not loaded to its end yet?"""
        try:
            return self.size() > self.progress.offset and last_end(self.path) is not None
        except (OSError, TapeError):
            return False

    def first_header(self) -> Header | None:
        """The header in the file's first line, if it is good. Raises `OSError`."""
        with open_stored(self.path) as file:
            return first_header(file)

    def reader(self, offset: int) -> Reader:
        """A reader from an offset on, which knows the header already if this file's was read."""
        reader = Reader(self.path, offset)
        reader.header = self.header
        if self.inbox:
            reader.holds = INBOX
        return reader

    def records(self, raws: Sequence[bytes], offset: int) -> Iterator[Record]:
        """Lines of this file that stand one after another from an offset on."""
        header = INBOX if self.inbox else self.header
        for raw in raws:
            next_offset = offset + len(raw) + 1
            try:
                yield Record(decode_line(raw, header), raw, offset, next_offset)
            except BadLine as error:
                yield Record(error, raw, offset, next_offset)
            offset = next_offset


def first_of_each(waiting: Iterable[TapeFile]) -> list[TapeFile]:
    """In their order, those that need not wait for one before them to be loaded to its end: so the events of a process
    are stored in theirs, from its own segments and from what several collectors received of it."""
    found: list[TapeFile] = []
    behind = defaultdict[tuple[Path, str], list[TapeFile]](list)
    for tape in sorted(waiting, key=lambda tape: tape.order):
        if not any(earlier.goes_before(tape) for earlier in behind[tape.series]):
            found.append(tape)
        if tape.is_behind():
            behind[tape.series].append(tape)
    return found


def loaded_mark(segment: Path, store_id: str) -> Path:
    """Where it stands how far a store has a segment."""
    return mark_path(segment, f"loaded-{store_id[:STORE_ID_CHARS]}")


def progress_of(mark: Path) -> Progress:
    """What such a mark says; nothing is loaded where there is none."""
    try:
        return msgspec.convert(read_mark(mark), Progress)
    except msgspec.ValidationError:
        return Progress()


class Finder:
    """Finds files that were not there before, without reading every folder each time: one that did not change for a
    while holds nothing new.
    """

    def __init__(self, tapes: Path | None, inbox: Path) -> None:
        self._tapes = tapes
        self._inbox = inbox
        self._unchanged: dict[str, int] = {}  # folder → its mtime when it was read
        self._refused: set[str] = set()  # folders that may not be read, each said once
        self.changed: set[str] = set()  # folders of tapes that were read anew; whoever looks at them takes them out

    def files(self) -> Iterator[tuple[Path, bool]]:
        """(path, whether it is of the inbox) of the files in folders that may have changed, by name in each."""
        yield from ((path, True) for path in _segments(str(self._inbox)))
        for folder in _folders(self._tapes) if self._tapes is not None else ():
            yield from ((path, False) for path in self._new_segments(folder))

    def _new_segments(self, folder: str) -> list[Path]:
        try:
            changed_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116  ten thousand of them, five times a second
        except OSError:
            return []
        if self._unchanged.get(folder) == changed_ns:
            return []
        if time.time_ns() - changed_ns > SETTLED_NS:  # else a file may come yet within the clock's tick
            self._unchanged[folder] = changed_ns
        self.changed.add(folder)
        try:
            segments = segment_files(Path(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._unchanged.pop(folder, None)  # rights are given back with no change of the folder's time
            self._say_refused(folder, error)
            return []
        self._refused.discard(folder)
        return segments

    def _say_refused(self, folder: str, error: OSError) -> None:
        if folder not in self._refused:
            self._refused.add(folder)
            _log.warning("cannot read %s: %s; its run is not stored until that is mended", folder, error.strerror)


def _folders(tapes: Path) -> list[str]:
    try:
        with os.scandir(tapes) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir())
    except OSError:
        return []


def _segments(folder: str) -> list[Path]:
    try:
        return segment_files(Path(folder))
    except OSError:
        return []
