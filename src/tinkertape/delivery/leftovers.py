"""Sends what is left on the tapes of this machine to a collector, in the caller's thread, up to where they were when it
began.

Other processes may record and deliver meanwhile: a segment that another one holds is asked for again, and what that one
delivered to the same collector counts as done. It ends when everything is acknowledged, when the collector refuses us,
or when for `patience_s` nothing went on; then what is left is said, with the reason. No thread, no lock but `hold`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from tinkertape.context import Event
from tinkertape.delivery.foreign import foreign_line
from tinkertape.delivery.post import Collector
from tinkertape.delivery.removals import Removals
from tinkertape.delivery.segments import Segment, acknowledgement_of
from tinkertape.delivery.sender import Sender
from tinkertape.errors import DeliveryError
from tinkertape.tape import Reader
from tinkertape.tape.forms import REMOVED, places_of, segment_files, stored_bytes
from tinkertape.tape.marks import mark_path
from tinkertape.tape.removal import process_of

PATIENCE_S = 30.0  # without any progress
LOOK_AGAIN_S = 0.1  # at a segment that another process holds


class Left(msgspec.Struct, frozen=True):
    """Events of one run that the collector does not have, and why. `events` is None where they cannot be counted."""

    run: str
    events: int | None
    why: str


class Pushed(msgspec.Struct, frozen=True):
    """What `push` did. `sent` were accepted; `skipped` are no events for a foreign server; `refused` were set aside."""

    sent: int
    skipped: int
    refused: int
    left: list[Left]


class _Open:
    """A segment that is to be sent up to `goal`. `had` is how far it came, `why` it came no further."""

    def __init__(self, path: Path, goal: int, had: int) -> None:
        self.path, self.goal, self.had, self.why = path, goal, had, ""

    @property
    def is_there(self) -> bool:
        return self.had >= self.goal


def push(
    folders: Iterable[Path],
    collector: Collector,
    *,
    patience_s: float = PATIENCE_S,
    told: Callable[[int, int], None] = lambda done, of: None,
    wait: Callable[[float], None] = time.sleep,
) -> Pushed:
    """Send what is left in these folders of runs; `told(done, of)` hears how many bytes of the tapes are done, `wait`
    is how to wait.

    A collector that does not answer is no error: everything is left then. Raises `OSError` for a folder that cannot be
    read.
    """
    sender, folders = Sender(collector), list(folders)
    unreadable: dict[Path, Left] = {}
    segments = [each for folder in folders for each in _segments(folder, collector.address, unreadable)]
    pushing = _Pushing(sender, segments, told)
    pushing.run(patience_s, wait)
    _tell_removals(sender, folders)
    collector.close()
    return Pushed(sender.sent, sender.skipped, sender.refused, [*pushing.left(), *unreadable.values()])


def _segments(folder: Path, collector: str, unreadable: dict[Path, Left]) -> Iterator[_Open]:
    """Of a folder in which some cannot be read, the first is remembered with the reason."""
    for path in segment_files(folder):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile, to make room
            try:
                yield _Open(path, stored_bytes(path), _acknowledged(path, collector))
            except OSError as error:
                unreadable.setdefault(folder, Left(folder.name, None, f"cannot read {path}: {error.strerror}"))


def _tell_removals(sender: Sender, folders: Iterable[Path]) -> None:
    """A collector of ours learns what was removed for lack of room, whatever it was told before."""
    with contextlib.suppress(DeliveryError):  # who does not answer now is told by the next push
        for folder in folders:
            for said in Removals(folder).untold():
                if sender.stopped or not sender.ours or sender.tell(said.header, said.end) is not None:
                    return


def _acknowledged(path: Path, collector: str) -> int:
    return acknowledgement_of(path).by(collector).offset


class _Pushing:
    """One push: its segments, in order, of which those are `open` that are not acknowledged whole."""

    def __init__(self, sender: Sender, segments: list[_Open], told: Callable[[int, int], None]) -> None:
        self._sender, self._told = sender, told
        self._address = sender.collector.address
        self._of = sum(each.goal for each in segments)
        self._open = [each for each in segments if not each.is_there]
        self._whole = self._of - sum(each.goal for each in self._open)  # bytes of those that are done

    def run(self, patience_s: float, wait: Callable[[float], None]) -> None:
        """Round after round, until nothing is open or nothing goes on."""
        moved_s, before = time.monotonic(), -1
        while self._open and not self._sender.stopped:
            delay_s = self._round()
            done = self._tell()
            if done > before:
                moved_s, before = time.monotonic(), done
            if all(each.is_there for each in self._open):
                self._round()  # once more: what was refused at first may be settled by what came later
                return
            if time.monotonic() + delay_s - moved_s > patience_s:
                return
            wait(delay_s)

    def _round(self) -> float:
        """Each open segment as far as it goes; the seconds until the next round come back."""
        held: set[tuple[Path, str]] = (
            set()
        )  # processes of runs: what follows a segment that somebody holds waits for it
        for each in self._open:
            process = (each.path.parent, process_of(each.path))
            if process in held:
                continue
            try:
                delay_s = self._advance(each)
            except DeliveryError as error:
                each.why = self._sender.why = str(error)  # of those behind it, too, if it stays so
                delay_s = (
                    self._sender.back_off(str(error)) if self._sender.reached else math.inf
                )  # nobody was ever there
            if delay_s > 0:
                return delay_s
            if not each.is_there:
                held.add(process)
        self._close()
        return LOOK_AGAIN_S

    def _close(self) -> None:
        """Let go of the segments that are acknowledged, whoever sent them, or gone."""
        closed = [
            each for each in self._open if _acknowledged(each.path, self._address) >= each.goal or _is_gone(each.path)
        ]
        self._whole += sum(each.goal for each in closed)
        self._open = [each for each in self._open if each not in closed]

    def _advance(self, each: _Open) -> float:
        segment = Segment(each.path, self._address)
        if not segment.acquire():
            each.had, each.why = _acknowledged(each.path, self._address), "another process is sending it"
            return 0.0
        try:
            return self._send(each, segment)
        finally:
            segment.release()

    def _send(self, each: _Open, segment: Segment) -> float:
        while True:
            each.had = place = self._sender.place(each.path, segment.acknowledged.offset)
            self._tell()
            batch = self._sender.read(segment) if place < each.goal else None
            if batch is None or batch.next_offset == place:
                each.goal = place  # reached; or the rest is a line that was cut short, or is being written
                self._sender.settle(segment, last=True)
                each.why = self._sender.why
                return 0.0
            delay_s = self._sender.send(segment, batch)
            if delay_s > 0:
                each.why = self._sender.why
                return delay_s

    def _tell(self) -> int:
        done = self._whole + sum(min(each.had, each.goal) for each in self._open)
        self._told(min(done, self._of), self._of)
        return done

    def left(self) -> list[Left]:
        """What is not acknowledged, by run."""
        events: Counter[str] = Counter()
        why: dict[str, str] = {}
        for each in self._open:
            run = each.path.parent.name
            events[run] += self._events_left(each)
            why.setdefault(run, each.why or self._sender.why)
        return [Left(run, number, why[run]) for run, number in events.items() if number]

    def _events_left(self, each: _Open) -> int:
        foreign = self._sender.is_foreign
        reader = Reader(each.path, _acknowledged(each.path, self._address))
        events = 0
        for record in reader.records():
            if record.next_offset > each.goal:
                break
            events += isinstance(record.line, Event) and not (foreign and foreign_line(record.raw) is None)
        return events


def _is_gone(path: Path) -> bool:
    """Was it removed, to make room?"""
    return mark_path(path, REMOVED).exists() or not any(place.exists() for place in places_of(path))
