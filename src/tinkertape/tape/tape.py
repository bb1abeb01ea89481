"""A tape: the events of one run, or of one file of it, as they are on disk now.

Opening reads nothing but names; each iteration reads the files anew, to their ends of that moment. Any thread, one at a
time.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from tinkertape.context import Event
from tinkertape.errors import BadLine, TapeError, TapeNotFound
from tinkertape.tape.format import LINE_MAX, End, Header, Line, decode_line
from tinkertape.tape.forms import SUFFIX, open_stored, plain_path, segment_files, stored_path
from tinkertape.tape.ledger import Ledger, ProcessCount, ledger_of, total
from tinkertape.tape.marks import mark_path, read_mark
from tinkertape.tape.reader import Reader, advice_on, first_header
from tinkertape.tape.refused import refused_in
from tinkertape.tape.removal import Removed, process_of, removed_in
from tinkertape.tape.verify import ProcessCheck, Verified, has_cut_lines

_TAIL = 64 * 1024  # bytes; an end line is far shorter


class Tape:
    """A run's folder, or one segment. Iterating yields its `Event`s, those of each process in order of their index.

    `torn` and `set_aside` are those of the last iteration that came to its end; `damaged` are those set aside that
    `verify` calls damage: not a line that a full disk cut short, if its event is counted as dropped.
    """

    def __init__(self, path: Path, segments: list[Path]) -> None:
        self.path = path
        self.segments = segments
        self.torn = 0
        self.set_aside = 0
        self.damaged = 0

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The tape in a run's folder, also while no segment is there yet. Raises `TapeError`."""
        with _reading(folder):
            return cls(folder, segment_files(folder))

    def __iter__(self) -> Iterator[Event]:
        readers = [[Reader(segment) for segment in segments] for segments in self.processes().values()]
        streams = [_ordered(process) for process in readers]
        for _, event in heapq.merge(*streams, key=lambda pair: pair[0]) if len(streams) > 1 else _chained(streams):
            yield event
        self.torn = sum(reader.torn for process in readers for reader in process)
        self.set_aside = sum(reader.set_aside for process in readers for reader in process)
        self.damaged = self.set_aside - self._counted(
            [process for process in readers if any(each.cut for each in process)]
        )

    def _counted(self, cut: Sequence[Sequence[Reader]]) -> int:
        """How many lines that a full disk cut short are counted as dropped, as `verify` sees it."""
        ledgers = self.ledgers() if cut else {}
        return sum(
            reader.cut
            for process in cut
            if has_cut_lines(ledgers[process_of(process[-1].path)], last_end(process[-1].path))
            for reader in process
        )

    def processes(self) -> dict[str, list[Path]]:
        """The segments of each process, in order, by the process's id in their names."""
        found: dict[str, list[Path]] = {}
        for segment in self.segments:
            found.setdefault(process_of(segment), []).append(segment)
        return found

    @property
    def headers(self) -> list[Header]:
        """The header of each segment that has a good one."""
        found = (header_of(segment) for segment in self.segments)
        return [header for header in found if header is not None]

    @property
    def run(self) -> str:
        """The run's id, as the first header says it; without one, the folder's name."""
        folder = self.path if self.path.is_dir() else self.path.parent
        return next((header.run for header in self.headers), folder.name)

    @property
    def ends(self) -> dict[str, End]:
        """The end line of each process that closed its tape; a process that is not there still runs, or was killed.

        It counts also where torn or damaged lines stand behind it.
        """
        ends = {process: closing_of(segments[-1]) for process, segments in self.processes().items()}
        return {process: end for process, end in ends.items() if end is not None}

    @property
    def removed(self) -> dict[Path, Removed]:
        """The segments that were removed to make room, and what was in them."""
        with _reading(self.path):
            return removed_in(self.path) if self.path.is_dir() else {}

    def ledger(self, store: str | None = None, *, refused_apart: bool = True) -> Ledger:
        """The count over all processes, from the tape alone; with a store's id, what that store has loaded is stored.

        Reads every line. See `tinkertape.tape.ledger` for what it means, and `ledgers` for `refused_apart`.
        """
        return total(self.ledgers(store, refused_apart=refused_apart).values())

    def ledgers(self, store: str | None = None, *, refused_apart: bool = True) -> dict[str, Ledger]:
        """The ledger of each process. `refused_apart=False`: what a collector refused counts as pending, since it is
        here all the same.
        """
        counts = {process: count_lines(found, store) for process, found in self._with_removed().items()}
        if not refused_apart:
            for count in counts.values():
                count.pending, count.refused = count.pending + count.refused, 0
        return {process: ledger_of(count, whole=True) for process, count in counts.items()}

    def verify(self) -> Verified:
        """Read every line, and say what is damaged. Raises `TapeError` for what may not be read."""
        ledgers = self.ledgers()
        checks = []
        for process, places in self._with_removed().items():
            checks.append(check := ProcessCheck(process))
            check.check(places)
            check.finish(ledgers[process])
        return Verified(
            ledger=total(ledgers.values()),
            damage=[damage for check in checks for damage in check.damage],
            notes=[note for check in checks for note in check.notes],
            more=sum(check.more for check in checks),
        )

    def _with_removed(self) -> dict[str, dict[Path, Removed | None]]:
        """The segments of each process; those that were removed with what was in them."""
        places: dict[str, dict[Path, Removed | None]] = {}
        for segment in self.segments:
            places.setdefault(process_of(segment), {})[segment] = None
        for segment, removed in self.removed.items():
            places.setdefault(process_of(segment), {})[segment] = removed
        return places


def _ordered(readers: list[Reader]) -> Iterator[tuple[int, Event]]:
    """The events of one process with a time that never goes back, so that merging keeps their order."""
    latest_ns = 0
    for reader in readers:
        for line, _ in reader:
            if isinstance(line, Event):
                latest_ns = max(latest_ns, line.time_ns)
                yield latest_ns, line


def _chained(streams: list[Iterator[tuple[int, Event]]]) -> Iterator[tuple[int, Event]]:
    for stream in streams:
        yield from stream


def count_lines(segments: Iterable[Path] | Mapping[Path, Removed | None], store: str | None = None) -> ProcessCount:
    """What is on the tape of one process, and, for a segment that was removed, what was."""
    count = ProcessCount()
    known = segments if isinstance(segments, Mapping) else {}
    for segment in sorted(segments):
        loaded = read_mark(mark_path(segment, f"loaded-{store}")).get("offset", 0) if store else 0
        count.said_before, count.said = count.said or count.said_before, None  # only the last one's is the end
        removed = known.get(segment)
        if removed is None:
            _count_segment(count, segment, loaded)
        else:
            _count_removed(count, removed, loaded)
    return count


def _count_segment(count: ProcessCount, segment: Path, loaded: int) -> None:
    reader, refused = Reader(segment), refused_in(segment)
    for line, next_offset in reader:
        if isinstance(line, End):
            count.said = (line.recorded, line.dropped)
        elif isinstance(line, Event):
            if 0 <= line.index <= count.top_index:  # a file's order is the order of the indices
                count.repeated += 1
            count.top_index = max(count.top_index, line.index)
            if next_offset <= loaded:
                count.stored += 1
            elif next_offset in refused:
                count.refused += 1
            else:
                count.pending += 1
    count.set_aside += reader.set_aside
    count.torn += reader.torn


def _count_removed(count: ProcessCount, removed: Removed, loaded: int) -> None:
    """What somebody else has is pending as far as a tape knows: on its way into a store."""
    if removed.elsewhere and loaded >= removed.had:
        count.stored += removed.elsewhere
    else:
        count.pending += removed.elsewhere
    count.refused += removed.refused
    count.space += removed.dropped
    count.set_aside += removed.set_aside
    count.torn += removed.torn
    count.top_index = max(count.top_index, removed.top_index)
    if removed.end is not None:
        count.said = (removed.end.recorded, removed.end.dropped)


def closing_of(last: Path) -> End | None:
    """The end line with which a process closed its tape, in the last of its segments. Raises `TapeError`."""
    end = last_end(last)
    return end if end is not None and end.status else None  # without one it went on in a segment that is not there


def last_end(segment: Path) -> End | None:
    """The end line of a segment, if it was closed: the last one, whatever torn or damaged lines stand behind it.

    Reads its last bytes only, and more of them only while there is no good line among them.
    """
    with _reading(segment), open_stored(segment) as file:
        for lines in _from_the_end(file):
            for raw in lines:
                line = _good_line(raw) if b'"tape_end"' in raw else None
                if isinstance(line, End):
                    return line
            if any(_good_line(raw) is not None for raw in lines):
                return None
    return None


def _from_the_end(file: BinaryIO) -> Iterator[list[bytes]]:
    """The whole lines of a file, some at a time, the last ones first; not what stands behind the last "\\n"."""
    at, rest = file.seek(0, os.SEEK_END), b""
    is_torn = True
    while at > 0 and len(rest) <= LINE_MAX:
        low = max(0, at - max(_TAIL, len(rest)))
        file.seek(low)
        lines = (file.read(at - low) + rest).split(b"\n")
        if is_torn and (len(lines) > 1 or not low):
            del lines[-1]
            is_torn = False
        rest = lines.pop(0) if low and lines else b""
        at = low
        yield lines[::-1]


def _good_line(raw: bytes) -> Line | None:
    try:
        return decode_line(raw) if 0 < len(raw) <= LINE_MAX else None
    except BadLine:
        return None


def header_of(segment: Path) -> Header | None:
    """A segment's header, if it has a good one. Raises `TapeError`."""
    with _reading(segment), open_stored(segment) as file:
        return first_header(file)


@contextlib.contextmanager
def _reading(place: Path) -> Iterator[None]:
    """What the system refuses becomes a `TapeError` in one line, with the path and what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise TapeNotFound(f"there is no tape at {place}") from error
    except OSError as error:
        raise TapeError(f"cannot read {place}: {error.strerror}{advice_on(error)}") from error


def open_tape(path: str | Path) -> Tape:
    """The tape of a run's folder, or of one segment. Raises `TapeNotFound`, `TapeError` for what may not be read."""
    place = plain_path(Path(path))
    with _reading(place):
        is_folder, is_file = place.is_dir(), stored_path(place).is_file()
        segments = segment_files(place) if is_folder else [place] if is_file else []
    if segments:
        return Tape(place, segments)
    if is_folder:
        raise TapeNotFound(f"there is no tape in {place}: the folder has no file that ends in {SUFFIX}")
    raise TapeNotFound(f"there is no tape at {place}")


def find_tapes(directory: str | Path) -> list[Tape]:
    """The tapes of all runs in a folder of run folders, newest first: those with a header that can be read.

    Raises `TapeNotFound` if there is none, and `TapeError` for a folder that it may not read.
    """
    tapes = [Tape(folder, segment_files(folder)) for folder in _run_folders(directory) if _why_no_tape(folder) is None]
    if not tapes:
        raise TapeNotFound(f"there is no tape in {directory}; record a run first, or choose another folder")
    return tapes


def unreadable_tapes(directory: str | Path) -> dict[Path, str]:
    """The folders that `find_tapes` passes over although a file of a tape is in them, or they may not be read; why."""
    folders = _run_folders(directory)
    return {folder: why for folder in folders if (why := _why_no_tape(folder))}


def _run_folders(directory: str | Path) -> list[Path]:
    place = Path(directory)
    with _reading(place):
        return sorted((folder for folder in place.iterdir() if folder.is_dir()), reverse=True) if place.is_dir() else []


def _why_no_tape(folder: Path) -> str | None:
    """Why no segment of the folder can be read as a tape's; "" where there is none. None: one can."""
    try:
        with _reading(folder):
            segments = segment_files(folder)
    except TapeError as error:
        return str(error)
    first_why = ""
    for segment in segments:
        why = _why_no_header(segment)
        if why is None:
            return None
        first_why = first_why or why
    return first_why


def _why_no_header(segment: Path) -> str | None:
    """None: it has a good header."""
    try:
        found = header_of(segment)
    except TapeError as error:
        return str(error)
    return None if found is not None else f"{segment.parent} cannot be read: no file in it begins as a tape does"
