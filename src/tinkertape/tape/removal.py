"""Removes closed segments of a run where its folder may take no more space, and remembers what was in them.

Beside a segment that is removed stands `<process>-<segment>.removed` from then on: how many events somebody else has
(a collector acknowledged them, or a store loaded them), and how many are lost, for the reason `space`. It is written
first: a segment that has one beside it is no segment any more, whether or not its file is still there.

Which one goes: the oldest of those that somebody else has whole; where there is none, the oldest of the others. One
that somebody holds (`hold`) stays, since what is being sent is neither lost nor safe.

Of neighbours that were removed the last one's mark tells for all, so that marks take no space that grows: it says since
which segment, and what an earlier one says counts no more, whether or not it is still there. No thread, no lock but
that of `hold`: two processes that make one mark of the same ones write the same.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.context import Event
from tinkertape.structs import made_ready
from tinkertape.tape.format import End, Header
from tinkertape.tape.forms import REMOVED, places_of, segment_files, stored_bytes, stored_path
from tinkertape.tape.hold import holding
from tinkertape.tape.marks import mark_path, read_mark, write_mark
from tinkertape.tape.reader import Reader
from tinkertape.tape.refused import refused_in

SPACE = "space"
_KINDS = ("ack", "refused", REMOVED)  # of marks
DELETED = "deleted"  # by somebody else: the file is not there, and no mark says why


class Removed(msgspec.Struct, frozen=True):
    """What was in a segment: `elsewhere` events before the plain offset `had`, but for those that the collector
    `refused`, and `dropped` ones after it. `since` is the number of the first segment of which it tells, where they are
    several; `had` is then of the last.
    """

    reason: str = SPACE
    since: int = 0
    elsewhere: int = 0
    dropped: int = 0
    refused: int = 0
    had: int = 0
    set_aside: int = 0
    torn: int = 0
    top_index: int = -1
    end: End | None = None
    header: Header | None = None


made_ready(Removed)


class Candidate(msgspec.Struct, frozen=True):
    """A segment that may go."""

    segment: Path
    written_ns: int
    is_elsewhere: bool


def make_room(folder: Path, closed: Iterable[Path], most_bytes: int) -> int:
    """Remove segments from among the `closed` until the folder has at most so many bytes; how many events were dropped.

    Raises `OSError`.
    """
    dropped = 0
    candidates = map(candidate_of, closed) if _bytes_in(folder) > most_bytes else ()
    for candidate in in_order(filter(None, candidates)):
        if _bytes_in(folder) <= most_bytes:  # looked up each time: other processes of the run make room, too
            break
        removed = remove(candidate.segment)
        if removed is not None:
            dropped += removed.dropped
            join_marks(folder)
        elif candidate.is_elsewhere:
            break  # let go of in a moment: nothing is lost for its sake
    return dropped


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Which goes first. Pure."""
    return sorted(candidates, key=lambda each: (not each.is_elsewhere, each.written_ns, each.segment.name))


def _bytes_in(folder: Path) -> int:
    return sum(map(_bytes_of, folder.iterdir()))


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def candidate_of(segment: Path) -> Candidate | None:
    """None: another process of the run removed it meanwhile, or it cannot be read here, to count what is in it."""
    try:
        written_ns = stored_path(segment).stat().st_mtime_ns
        is_elsewhere = had_elsewhere(segment) >= stored_bytes(segment)
    except OSError:
        return None
    return Candidate(segment, written_ns, is_elsewhere)


def had_elsewhere(segment: Path) -> int:
    """Up to which plain offset a collector or a store has the segment."""
    marks = [mark_path(segment, "ack"), *segment.parent.glob(f"{segment.stem}.loaded-*")]
    said = [read_mark(mark) for mark in marks]
    offsets = [each.get("offset") for found in said for each in (found, *_others(found))]
    return max((offset for offset in offsets if isinstance(offset, int)), default=0)


def _others(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What other collectors said of the segment before."""
    others = found.get("others")
    return [each for each in others.values() if isinstance(each, dict)] if isinstance(others, dict) else []


def remove(segment: Path) -> Removed | None:
    """Remove a closed segment; None while somebody holds it. What was in it is on the disk before it goes."""
    with holding(segment) as file:
        if file is None:
            return None
        removed = _content_of(segment)
        write_mark(mark_path(segment, REMOVED), msgspec.to_builtins(removed), sync=True)
        _unlink(segment)
        return removed


def _content_of(segment: Path) -> Removed:
    had, reader, refused = had_elsewhere(segment), Reader(segment), refused_in(segment)
    places: list[bool] = []
    refusals = 0
    top_index, end = -1, None
    for line, next_offset in reader:
        if isinstance(line, Event):
            refusals += next_offset in refused
            if next_offset not in refused:
                places.append(next_offset <= had)
            top_index = max(top_index, line.index)
        elif isinstance(line, End):
            end = line
    return Removed(
        elsewhere=sum(places),
        dropped=len(places) - sum(places),
        refused=refusals,
        had=had,
        set_aside=reader.set_aside,
        torn=reader.torn,
        top_index=top_index,
        end=end,
        header=reader.header,
    )


def _unlink(segment: Path) -> None:
    for place in places_of(segment):
        place.unlink(missing_ok=True)


def finish_removals(folder: Path) -> None:
    """Remove the files of segments whose removal was cut off by a kill. Raises `OSError`."""
    for path in folder.glob(f"*.{REMOVED}"):
        _unlink(path.with_suffix(".jsonl"))


def removed_in(folder: Path, process: str = "*") -> dict[Path, Removed]:
    """The segments that were removed from a folder, and what was in them. Raises `OSError`."""
    marks = _marks_in(folder, process)
    told = _Told(marks)
    return {segment: removed for segment, removed in marks.items() if segment not in told}


def _marks_in(folder: Path, process: str = "*") -> dict[Path, Removed]:
    found = {}
    for path in sorted(folder.glob(f"{process}-*.{REMOVED}")):
        try:
            found[path.with_suffix(".jsonl")] = msgspec.convert(read_mark(path), Removed)
        except msgspec.ValidationError:
            continue  # damaged: the indices that are missing say that something is gone
    return found


class _Told:
    """The segments of which another's mark tells."""

    def __init__(self, marks: Mapping[Path, Removed]) -> None:
        self._spans: dict[str, list[range]] = {}
        for segment, removed in marks.items():
            if removed.since:
                told = range(removed.since, number_of(segment))  # of a damaged mark, billions: never counted through
                self._spans.setdefault(process_of(segment), []).append(told)

    def __contains__(self, segment: Path) -> bool:
        number = number_of(segment)
        return any(number in told for told in self._spans.get(process_of(segment), ()))


def join_marks(folder: Path) -> None:
    """Let the mark of the last of neighbours that were removed tell for all of them. Raises `OSError`."""
    marks = _marks_in(folder)
    told = _Told(marks)
    before: tuple[Path, Removed] | None = None
    for segment, removed in marks.items():
        if segment in told:
            _forget(segment)
            continue
        joined = removed
        if before is not None and _is_next(*before, segment, removed):
            joined = _both(number_of(before[0]), before[1], removed)
            write_mark(mark_path(segment, REMOVED), msgspec.to_builtins(joined), sync=True)
            _forget(before[0])
        before = segment, joined


def _is_next(before: Path, removed_before: Removed, segment: Path, removed: Removed) -> bool:
    """Do they follow each other, and has nobody anything of them, or the same stores all that was elsewhere? Then one
    mark can tell of both.
    """
    if process_of(before) != process_of(segment) or number_of(before) + 1 != (removed.since or number_of(segment)):
        return False
    if not removed_before.had and not removed.had:
        return True
    return bool(removed_before.had and removed.had) and _stores_of(before, removed_before.had) == _stores_of(
        segment, removed.had
    )


def _stores_of(segment: Path, had: int) -> set[str]:
    marks = segment.parent.glob(f"{segment.stem}.loaded-*")
    return {mark.suffix for mark in marks if read_mark(mark).get("offset", 0) >= had}


def _both(number: int, first: Removed, second: Removed) -> Removed:
    return msgspec.structs.replace(
        second,
        since=first.since or number,
        elsewhere=first.elsewhere + second.elsewhere,
        dropped=first.dropped + second.dropped,
        refused=first.refused + second.refused,
        set_aside=first.set_aside + second.set_aside,
        torn=first.torn + second.torn,
        top_index=max(first.top_index, second.top_index),
        end=second.end or first.end,
        header=second.header or first.header,
    )


def _forget(segment: Path) -> None:
    """Remove the marks of a segment of which another's tells; its own last, so that it is none meanwhile."""
    _unlink(segment)
    for mark in [*segment.parent.glob(f"{segment.stem}.loaded-*"), *map(partial(mark_path, segment), _KINDS)]:
        mark.unlink(missing_ok=True)


def gone_from(folder: Path, process: str, written_to: Mapping[str, int]) -> Counter[str]:
    """How many events of a process were on the tape and are lost since, by reason; `written_to` says how many it wrote
    to which segment.
    """
    gone: Counter[str] = Counter()
    there: set[str] = set()
    with contextlib.suppress(OSError):
        there.update(path.name for path in folder.iterdir())
    with contextlib.suppress(OSError):  # looked at after the files: the mark is there before the file goes
        marks = _marks_in(folder, process)
        told = _Told(marks)
        gone[SPACE] = sum(removed.dropped for segment, removed in marks.items() if segment not in told)
        known = there | {segment.name for segment in marks}
        missing = [
            segment
            for segment in list(written_to)
            if Path(segment) not in told and known.isdisjoint(place.name for place in places_of(Path(segment)))
        ]
        gone[DELETED] = sum(written_to[segment] for segment in missing if not stored_path(folder / segment).exists())
    return +gone


def closed_segments(folder: Path, current: Path, is_over: Iterable[str]) -> list[Path]:
    """The segments to which nobody writes: those of this process before `current`, and of each other process all but
    the last, or all if it `is_over`. Raises `OSError`."""
    over = set(is_over)
    segments = segment_files(folder)
    last = {process_of(segment): segment for segment in segments}  # they are in order
    return [
        segment
        for segment in segments
        if segment.name < last[process_of(segment)].name
        or (process_of(segment) in over and process_of(segment) != process_of(current))
    ]


def number_of(segment: Path) -> int:
    """The number in a segment's name; 0 where it has none."""
    number = segment.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def process_of(segment: Path) -> str:
    """The process in a segment's name."""
    return segment.stem.rpartition("-")[0]
