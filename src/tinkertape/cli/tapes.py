"""Runs read from this machine's tapes: no collector, no server extra; written is only a row beside the tape of a run
that is over (`kept_rows.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.cli.kept_rows import keep_row, read_row
from tinkertape.cli.source import RunRow
from tinkertape.diagnosis import Diagnoser
from tinkertape.diagnosis.report import Report
from tinkertape.diagnosis.run_state import LIVE, ProcessView, Signs, run_state, views_of
from tinkertape.errors import BadLine, TapeError, TapeNotFound
from tinkertape.tape import Header, Ledger, Reader, Tape, find_tapes, open_tape, unreadable_tapes
from tinkertape.tape.forms import stored_path
from tinkertape.tape.ledger import total

BATCH = 1_000  # lines


class TapeTooLong(TapeError):
    """Reading it takes longer than there is time for."""


class Known(msgspec.Struct, frozen=True):
    """What this process knows of its own recording, whether or not the disk took it."""

    header: Header
    status: str
    exit_status: int
    ledger: Ledger


class TapesSource:
    """The folders of runs below `place`."""

    every_s = 0.1

    def __init__(self, folder: Path, *, patience_s: float = math.inf, known: Known | None = None) -> None:
        """`patience_s` is how long one tape may be read for its report; it is `TapeTooLong` after that. `known` speaks
        for its process where the tape has no end line.
        """
        self.place = str(folder)
        self._folder = folder
        self._patience_s = patience_s
        self._known = known
        self._refused: dict[str, str] = {}  # runs, and why their tapes could not be read whole

    def names(self) -> Sequence[tuple[str, str]]:
        return [(tape.path.name, _name(tape)) for tape in self._tapes()]

    def runs(self, limit: int) -> list[RunRow]:
        rows = []
        for tape in self._tapes()[:limit]:
            try:
                rows.append(self._row(tape))
            except TapeTooLong:
                raise
            except TapeError as error:  # one that cannot be read whole hides no other
                self._refused[tape.path.name] = str(error)
        return rows

    def unreadable(self) -> Mapping[str, str]:
        return {folder.name: why for folder, why in unreadable_tapes(self._folder).items()} | self._refused

    def report(self, run: str) -> Report:
        return self._read(open_tape(self._folder / run))

    def lines(self, run: str) -> Iterator[Sequence[bytes]]:
        readers: dict[Path, Reader] = {}
        over = False
        while True:
            tape = open_tape(self._folder / run)
            grown = False
            for segment in tape.segments:
                for batch in _batches(readers.setdefault(segment, Reader(segment))):
                    grown = True
                    yield batch
            if grown:
                continue
            if over:
                return
            over = _state_now(tape) not in LIVE  # asked last: what came before it is still read
            if not over:
                yield ()

    def _tapes(self) -> list[Tape]:
        """Newest first: a run's id begins with its time."""
        try:
            return find_tapes(self._folder)
        except TapeNotFound:
            return []
        except OSError as error:
            raise TapeError(f"cannot read {self._folder}: {error.strerror}") from error

    def _row(self, tape: Tape) -> RunRow:
        known = read_row(tape)
        if known is not None:
            return known
        row = row_of(self._read(tape))
        if row.state not in LIVE:
            keep_row(tape, row)
        return row

    def _read(self, tape: Tape) -> Report:
        diagnoser = Diagnoser()
        signs = Signs()
        began_s = time.monotonic()
        for number, event in enumerate(tape):
            diagnoser.feed(event)
            signs.note(event, event.time_ns)
            if number % BATCH == 0 and time.monotonic() - began_s > self._patience_s:
                raise TapeTooLong(f'the tape is long; "tinkertape show {tape.path.name}" reads all of it')
        known = self._known if self._known is not None and self._known.header.process not in tape.ends else None
        for header in tape.headers or ([known.header] if known is not None else []):
            diagnoser.describe(header)
        ledger = msgspec.to_builtins(_ledger(tape, known))
        now_ns = time.time_ns()
        views = _views(tape, signs, known)
        state, status = run_state(views, {}, now_ns)
        if state in LIVE:
            so_far = msgspec.to_builtins(diagnoser.report(now_ns=now_ns, ledger=ledger))
            state, status = run_state(views, so_far, now_ns)
        until_ns = now_ns if state in LIVE else None
        report = diagnoser.report(now_ns=until_ns, ledger=ledger, state=state, set_aside=tape.damaged)
        asked = known.exit_status if known is not None and report.exit_status is None else report.exit_status
        return msgspec.structs.replace(
            report,
            run=tape.path.name,
            status=status or report.status,
            exit_status=asked,
        )


def row_of(report: Report) -> RunRow:
    """A run as the list shows it."""
    return RunRow(
        run=report.run,
        name=report.name,
        state=report.state,
        began=report.began,
        ended=report.ended,
        sessions=report.sessions,
        events=report.events,
        steps=report.steps_completed,
        findings=len(report.findings),
    )


def _name(tape: Tape) -> str:
    headers = Tape(tape.path, tape.segments[:1]).headers
    return headers[0].name if headers else ""


def _ledger(tape: Tape, known: Known | None) -> Ledger:
    """The tape's count of what can be read here, but of this process what it knows itself."""
    ledgers = tape.ledgers(refused_apart=False)
    if known is not None:
        ledgers[known.header.process] = known.ledger
    return total(ledgers.values())


def _views(tape: Tape, signs: Signs, known: Known | None = None) -> list[ProcessView]:
    """What is known of each process, the oldest first."""
    closed = {process: end.status for process, end in tape.ends.items()}
    headers: dict[str, dict[str, Any]] = {process: {"process": process} for process in tape.processes()}  # if torn
    headers |= {header.process: msgspec.to_builtins(header) for header in reversed(tape.headers)}
    if known is not None:
        headers[known.header.process] = msgspec.to_builtins(known.header)
        closed[known.header.process] = known.status
    return views_of(headers, closed, signs)


def _state_now(tape: Tape) -> str:
    """The run's state by its files: a segment that was just written to is a sign of life."""
    signs = Signs()
    for process, segments in tape.processes().items():
        signs.newest_ns[process] = stored_path(segments[-1]).stat().st_mtime_ns
    return run_state(_views(tape, signs), {}, time.time_ns())[0]


def _batches(reader: Reader) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for record in reader.records():
        if isinstance(record.line, BadLine):
            continue
        batch.append(record.raw)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
