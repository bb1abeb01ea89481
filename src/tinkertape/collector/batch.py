"""Lines on their way into the store: what each one is, and under which run it is filed; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from tinkertape.collector.identity import ID_MAX, identity, safe_run
from tinkertape.collector.intake import LEDGER_MARK, REJECTED_MARK, kept_text
from tinkertape.collector.tape_file import TapeFile
from tinkertape.context import Event
from tinkertape.errors import BadLine
from tinkertape.store import LedgerRow, ProcessRow, Rejected, in_range, unfit
from tinkertape.tape.format import End, Header
from tinkertape.tape.reader import Record

SESSION_CREATE = "tinker.session.create"
Sessions = Mapping[str, tuple[str, str]]  # the run that a session is by itself → (project, run)


class _RejectedEntry(msgspec.Struct):
    reason: str
    id: str
    text: str = ""


class _RejectedLine(msgspec.Struct):
    rejected: _RejectedEntry
    run: str
    process: str = ""
    project: str = "default"


class _LedgerEntry(msgspec.Struct):
    recorded: int = 0
    dropped: dict[str, int] = {}
    closed: str = ""
    status: str = ""


class _LedgerLine(msgspec.Struct):
    ledger: _LedgerEntry
    run: str
    process: str
    project: str = "default"


class _Whose(msgspec.Struct):
    run: str = "inbox"
    process: str = ""
    event_id: Any = ""
    project: str = "default"


_decode_whose = msgspec.json.Decoder(_Whose).decode
_decode_rejected = msgspec.json.Decoder(_RejectedLine).decode
_decode_ledger = msgspec.json.Decoder(_LedgerLine).decode


class Batch:
    """What one turn of the loader brings to the store."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.rejected: list[Rejected] = []
        self.processes: list[ProcessRow] = []
        self.ledgers: list[tuple[str, LedgerRow]] = []  # (project, row)
        self.sessions: dict[str, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self.events) + len(self.rejected) + len(self.processes) + len(self.ledgers)

    def take(self, tape: TapeFile, record: Record) -> None:
        """Sort one line in."""
        line = record.line
        try:
            if isinstance(line, Event):
                self._take_event(line)
            elif isinstance(line, Header):
                self._take_header(tape, line)
            elif isinstance(line, End):
                self._take_end(tape, line)
            elif tape.inbox and record.raw.startswith((REJECTED_MARK, LEDGER_MARK)):
                self._take_note(record.raw)
            else:
                raise line
        except (BadLine, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.rejected.append(_rejected_of(tape, record, str(error)))

    def _take_event(self, event: Event) -> None:
        if not event.event_id:  # recorded by us, under a clock that may be wrong; its monotonic one tells what matters
            event = in_range(event)
        reason = unfit(event) or _unfit_ids(event)
        if reason is not None:
            raise BadLine(reason)
        if event.name == SESSION_CREATE and not event.event_id and event.metadata.get("status") != "error":
            session_id = event.metadata.get("session_id")
            if isinstance(session_id, str) and session_id:
                self.sessions.setdefault(safe_run(session_id), (event.project, event.run))
        self.events.append(event)

    def _take_header(self, tape: TapeFile, header: Header) -> None:
        if tape.header is None and not tape.inbox:
            tape.header = header
        if header.run != "inbox":
            values: dict[str, Any] = msgspec.to_builtins(header)
            self.processes.append(
                ProcessRow(header.project, header.run, header.process, header.name, header.wall_ns, values)
            )

    def _take_end(self, tape: TapeFile, end: End) -> None:
        row = LedgerRow(tape.run, tape.process, end.recorded, dict(end.dropped), end.status)
        self.ledgers.append((tape.header.project if tape.header else "default", _checked(row)))
        tape.ended = True

    def _take_note(self, raw: bytes) -> None:
        if raw.startswith(LEDGER_MARK):
            note = _decode_ledger(raw)
            entry = note.ledger
            row = LedgerRow(note.run, note.process, entry.recorded, entry.dropped, entry.closed or entry.status)
            self.ledgers.append((note.project, _checked(row)))
        else:
            line = _decode_rejected(raw)
            entry_of = line.rejected
            self.rejected.append(
                Rejected(line.run, line.process, entry_of.id, entry_of.reason, "wire", entry_of.text, line.project)
            )

    def filed(self, sessions: Sessions) -> list[Event]:
        """The events, those of a plain SDK under the run that its session belongs to."""
        return [_filed(event, sessions) for event in self.events]


def _filed(event: Event, sessions: Sessions) -> Event:
    home = sessions.get(event.run) if event.event_id else None
    return event if home is None else msgspec.structs.replace(event, project=home[0], run=home[1])


def _checked(row: LedgerRow) -> LedgerRow:
    if not 0 <= row.recorded < 2**62 or any(number < 0 for number in row.dropped.values()):
        raise BadLine("a ledger that cannot be")
    return row


def _unfit_ids(event: Event) -> str | None:
    if not event.run:
        return "no run"
    for text in (event.run, event.process, event.event_id, event.session_id, event.project, event.name):
        if len(text) > ID_MAX:
            return f"an id or name of more than {ID_MAX} characters"
    return None


def _rejected_of(tape: TapeFile, record: Record, reason: str) -> Rejected:
    """A line that is none; its id is its event's, or made of the file, the place and the text, so that it is one row
    however often it is read.
    """
    source = f"{tape.path.name}:{record.offset}"
    whose = _whose(record.raw) if tape.inbox else _Whose(run=tape.run, process=tape.process)
    own_id = identity(whose.event_id) or hashlib.sha256(source.encode() + b"\0" + record.raw).hexdigest()[:32]
    text = kept_text(record.raw)
    return Rejected(whose.run, whose.process, own_id, _reason(reason), source, text, whose.project)


def _whose(raw: bytes) -> _Whose:
    """Whose a line of the inbox is: the collector wrote that itself, whatever else is wrong with the line."""
    try:
        return _decode_whose(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Whose()


def _reason(text: str) -> str:
    """A reason of few different words: what stands in a line never becomes one."""
    return text.partition(" - at `")[0].partition(": '")[0][:120]
