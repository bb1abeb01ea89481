"""Is a tape whole? What is damaged in it, with the places.

Damaged is what was on the tape, or should be, and cannot be read: bad lines, a torn last one, a compressed segment that
does not decompress, a segment or indices that are missing without a reason, lines that are there twice. What was
dropped for a reason that the process wrote down is no damage, nor is a segment that went for lack of space, nor an
event that a collector refused: the ledger counts them, and notes name the last two. So do they the line that a full
disk cut short, if its event is among those that the process counted as dropped. A process that was killed may leave
a torn line; that it never closed its tape is a note. No thread, no lock; a tape that is being written is read as far as
it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from tinkertape.context import Event
from tinkertape.errors import BadLine
from tinkertape.tape.format import End, Header
from tinkertape.tape.ledger import UNEXPLAINED, Ledger
from tinkertape.tape.reader import Reader, Record, is_cut_short
from tinkertape.tape.refused import refused_in
from tinkertape.tape.removal import Removed, number_of

Kind = Literal["bad line", "torn line", "no header", "compression", "missing segment", "missing indices", "repeated"]
SHOWN_MAX = 1_000  # damages that are kept of one process


class Damage(msgspec.Struct, frozen=True):
    """One damage: in which segment, what, at which line (from 1; None: no one line), and in words."""

    segment: str
    kind: Kind
    line: int | None
    said: str


class Verified(msgspec.Struct, frozen=True):
    """What `Tape.verify` found. `notes` are no damage: processes without an end, segments that went for space.

    `more` damages are not in the list, which is bounded.
    """

    ledger: Ledger
    damage: list[Damage]
    notes: list[str] = []
    more: int = 0

    @property
    def is_whole(self) -> bool:
        """Nothing is damaged, and the ledger adds up."""
        return not self.damage and self.ledger.balanced


class ProcessCheck:
    """Follows the tape of one process, segment by segment in order; then ask `finish`."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.damage: list[Damage] = []
        self.notes: list[str] = []
        self.more = 0
        self._next_segment = 1
        self._next_index = 0
        self._missing: list[range] = []
        self._end: End | None = None
        self._last = ""
        self._cut: list[Damage] = []  # lines without their end, which are damage unless the ledger has them

    def check(self, segments: Mapping[Path, Removed | None]) -> None:
        """Read these segments; of one that was removed only what is known of it."""
        for segment in sorted(segments):
            removed = segments[segment]
            self._number(segment, since=removed.since if removed is not None else 0)
            self._end = None
            if removed is None:
                self._read(segment)
            else:
                those = f"segments {removed.since} to this: " if removed.since else ""
                self.notes.append(f"{segment.name}: {those}removed to make room, {removed.dropped} events lost")
                self._next_index = max(self._next_index, removed.top_index + 1)
                self._end = removed.end

    def _number(self, segment: Path, *, since: int) -> None:
        """`since` is the first of those of which its mark tells."""
        number = number_of(segment)
        self._last = segment.name
        if number:
            gap = range(self._next_segment, since or number)  # after a name that is damaged: of billions
            for missing in gap[:SHOWN_MAX]:
                self._add("missing segment", None, f"segment {missing} of process {self.process} is not there")
            self.more += len(gap[SHOWN_MAX:])
            self._next_segment = number + 1

    def _read(self, segment: Path) -> None:
        reader = Reader(segment)
        line = offset = 0
        has_header = False
        for record in reader.records():
            line += 1 + record.offset - offset  # an empty line is one byte, and no record
            offset = record.next_offset
            has_header = has_header or isinstance(record.line, Header)
            if line == 1 and not has_header:
                self._add("no header", 1, "the first line is no header")
            self._take(record, line)
        if reader.torn:
            self._add("torn line", line + 1, f"cut short at byte {reader.offset}")
        if reader.damage:
            self._add("compression", line + 1, f"cannot be decompressed further: {reader.damage}")
        self.notes += refusals(segment)

    def _take(self, record: Record, line: int) -> None:
        said = record.line
        if isinstance(said, BadLine) and is_cut_short(said):
            self._cut.append(Damage(self._last, "bad line", line, str(said)))
        elif isinstance(said, BadLine):
            self._add("bad line", line, str(said))
        elif isinstance(said, End):
            self._end = said
        elif isinstance(said, Event) and said.index >= 0:
            if said.index < self._next_index:
                self._add("repeated", line, f"index {said.index} was there before")
                return
            self._skip_to(said.index)
            self._next_index = said.index + 1

    def _skip_to(self, index: int) -> None:
        if index > self._next_index:
            self._missing.append(range(self._next_index, index))

    def _add(self, kind: Kind, line: int | None, said: str) -> None:
        self._keep(Damage(self._last, kind, line, said))

    def _keep(self, damage: Damage) -> None:
        if len(self.damage) < SHOWN_MAX:
            self.damage.append(damage)
        else:
            self.more += 1

    def finish(self, ledger: Ledger) -> None:
        """The ledger of the process says whether the missing indices have a reason."""
        closed = self._end is not None and bool(self._end.status)
        if self._end is not None:
            self._skip_to(self._end.recorded)
        if not closed:
            self.notes.append(f"{self._last}: its process never closed its tape: it was killed, or still records")
        is_counted = has_cut_lines(ledger, self._end)
        for cut in self._cut:
            if is_counted:
                self.notes.append(f"{cut.segment} line {cut.line}: cut short; its event is counted as dropped")
            else:
                self._keep(cut)
        unexplained = sum(ledger.dropped.get(reason, 0) for reason in UNEXPLAINED)
        if unexplained:
            self._add("missing indices", None, f"{unexplained} events are missing, among {spans(self._missing)}")


def has_cut_lines(ledger: Ledger, end: End | None) -> bool:
    """Are the events of a process's lines that were cut short among those that it counted as dropped? Then such a line
    is no damage.
    """
    return ledger.balanced and not ledger.rejected and end is not None and bool(end.dropped)


def refusals(segment: Path, most: int = 20) -> list[str]:
    """What a collector refused of a segment, in words: each event with its reason."""
    found = list(refused_in(segment).values())
    said = [
        f"{segment.name}: {each.event_name}, index {each.index}, was refused by {each.collector}: {each.reason}"
        for each in found[:most]
    ]
    return [*said, f"{segment.name}: {len(found) - most} more were refused"] if len(found) > most else said


def spans(ranges: list[range], most: int = 20) -> str:
    """Ranges of indices in words: `3, 7–9`."""
    said = [  # no `len`: an index that was damaged may be any number
        str(each.start) if each.stop - each.start == 1 else f"{each.start}–{each.stop - 1}" for each in ranges[:most]
    ]
    return ", ".join([*said, f"{len(ranges) - most} more ranges"] if len(ranges) > most else said)
