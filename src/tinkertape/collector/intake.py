"""From a received body to the lines of the inbox; pure.

The lines, one a received event:
- an event, of a tape of ours or of a plain SDK, made complete: its line says itself what else stands in the body or
  the tape's header (run, process, session, project, SDK version). A plain SDK knows no run: its session is the run.
  The header of a process of ours comes before its first line;
- `{"rejected": …}`: an event that cannot be a line, with the reason; `{"ledger": …}`: what a process says of itself.
Everything is redacted on the way: real SDKs put their own API key into their telemetry (docs/facts/sdk.md D1). A bad
event never fails its body: old SDKs would send that body again for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections import Counter
from itertools import islice
from typing import Any

import msgspec

from tinkertape.collector.alike import Alike, cut
from tinkertape.collector.elements import elements, members
from tinkertape.collector.identity import identity, name, process_identity, safe_run
from tinkertape.collector.known import Forms, Glance, form_of, glanced, is_plain
from tinkertape.redact import MARK, redact, redact_text

DEPTH_MAX = 64
EVENTS_MAX = 20_000  # in one body; an SDK sends 100 at most, we send 500
CONTEXT_KEYS = ("run", "process", "session_id", "sdk_version", "project")
TEXT_MAX = 2_000  # characters kept of what is set aside
REJECTED_MARK = b'{"rejected":'
LEDGER_MARK = b'{"ledger":'

_encode = msgspec.json.Encoder().encode


class BadBody(Exception):
    """A body in which no events can be found; its text is one line for the sender."""


class TooManyEvents(BadBody):
    """A body with more events than are taken at once."""


class Envelope(msgspec.Struct):
    """A body of Tinker's wire without its events; `tape` and `ledger` only from a delivery of ours."""

    platform: str = ""
    sdk_version: str = ""
    session_id: str = ""
    process_uuid: str | None = None
    project: str = ""
    tape: dict[str, Any] | None = None
    ledger: dict[str, Any] | None = None


class Body(Envelope, kw_only=True):
    """The whole body."""

    events: list[dict[str, Any]]


class Intake(msgspec.Struct, frozen=True):
    """What goes into the inbox for one body: whole lines, the sending process's header if it is one of ours, and the
    counts."""

    lines: bytes
    events: int
    rejected: int
    process: str = ""
    header: bytes | None = None


class _Unfit(Exception):
    """Why an event cannot be a line."""


_body_decoder = msgspec.json.Decoder(Body)
_envelope_decoder = msgspec.json.Decoder(Envelope)
_forms = Forms()
_alike = Alike()
_raws_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_any_decoder = msgspec.json.Decoder()


def take_in(body: bytes) -> Intake:
    """Turn a body into lines. Raises `BadBody` where there is no UTF-8 or no list of events, `TooManyEvents` where it
    is long."""
    if not body.isascii():
        _must_be_utf8(body)
    pieces = cut(body)
    if pieces is not None and len(pieces.inside) <= EVENTS_MAX and _alike.are_known(pieces):
        with contextlib.suppress(msgspec.MsgspecError):
            return _Taking(_envelope_decoder.decode(pieces.envelope)).all_alike(pieces.inside)
    if body.count(b"{") <= 5 * EVENTS_MAX:  # else it may hold a million small objects, which are counted first
        met = glanced(body)
        if met is not None and len(met) <= EVENTS_MAX:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                taking = _Taking(_envelope_decoder.decode(body))
                intake = taking.all_met(met)
                if pieces is not None and taking.are_all_known:
                    _alike.learn(pieces, [raw for raw, _glance in met])
                return intake
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            whole = _body_decoder.decode(body)
            return _Taking(whole).all(_few(whole.events))
    outline, events = _decode_leniently(body)
    return _Taking(outline).all(_few(events))


def _few(events: list[Any]) -> list[Any]:
    if len(events) > EVENTS_MAX:
        raise TooManyEvents(f"the body has more than {EVENTS_MAX:,} events; send fewer at once")
    return events


def _must_be_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadBody(f"the body is no UTF-8 at byte {error.start}, so no JSON") from error


class _Taking:
    """One body on its way."""

    def __init__(self, body: Envelope) -> None:
        self._header = _header_of(body.tape)
        source = self._header or {}
        session_id = source.get("session_id") or identity(body.session_id)
        self.run = str(source.get("run") or safe_run(session_id) or "unknown")
        self.process = str(source.get("process") or process_identity(body.process_uuid))
        self.project = name(source.get("project")) or name(body.project) or "default"
        self._ledger = body.ledger if body.ledger and not _is_deeper(body.ledger, DEPTH_MAX) else None
        context = {
            "run": self.run,
            "process": self.process,
            "session_id": session_id,
            "sdk_version": name(source.get("sdk_version")) or name(body.sdk_version),
            "project": "" if self.project == "default" else self.project,
        }
        self._context = {key: value for key, value in context.items() if value}
        self._suffix = _suffix_of(self._context)
        self._rest = _suffix_of({key: text for key, text in self._context.items() if key not in ("run", "process")})
        self._rejected = 0
        self.are_all_known = True
        self._met: Counter[str] = Counter()  # ids that were made from the content: equal events are told apart

    def all(self, events: list[Any]) -> Intake:
        """Every event looked through."""
        return self._taken([self._line_of(event) for event in events])

    def all_alike(self, inside: list[bytes]) -> Intake:
        """Events that are known as they stand."""
        return self._taken([b"{%s%s" % ((self._suffix + b"\n{").join(inside), self._suffix)], len(inside))

    def all_met(self, met: list[tuple[bytes, Glance]]) -> Intake:
        """Events whose form is known as they stand, the others looked through: this loop is what most bodies cost."""
        known, suffix = _forms.known, self._suffix
        lines: list[bytes] = []
        for raw, glance in met:
            event_id = bytes(glance.event_id)
            form = form_of(raw, event_id)
            if known.get(form) and is_plain(event_id):
                lines.append(raw[:-1] + suffix)
            else:
                self.are_all_known = False
                lines.append(self._met_line(raw, glance, form))
        return self._taken(lines)

    def _taken(self, lines: list[bytes], count: int | None = None) -> Intake:
        count = len(lines) if count is None else count
        if self._ledger is not None and self._header is not None:
            lines.append(self._ledger_line(self._ledger))
        if lines:
            lines.append(b"")
        header = _encode(self._header) + b"\n" if self._header is not None else None
        return Intake(b"\n".join(lines), count, self._rejected, self.process, header)

    def _met_line(self, raw: bytes, glance: Glance, form: bytes) -> bytes:
        """The line of an event that is not known as one of a plain SDK; it may be afterwards."""
        suffix = self._suffix_for(glance)
        if suffix is None or not is_plain(bytes(glance.event_id)):
            return self._line_of(msgspec.Raw(raw))
        if form in _forms.known:
            return raw[:-1] + suffix
        line = self._line_of(msgspec.Raw(raw))
        is_whole = line.count(b'"') == raw.count(b'"') + suffix.count(b'"')  # no key stands in it twice
        if is_whole and MARK.encode() not in line and not line.startswith(REJECTED_MARK) and _forms.is_to_learn(form):
            _forms.learn(form, is_bare=suffix is self._suffix)
        return line

    def _suffix_for(self, glance: Glance) -> bytes | None:
        """What completes an event's text; None where it says of itself what does not hold."""
        if glance.session_id is None and glance.sdk_version is None and glance.project is None:
            if glance.run is None and glance.process is None:
                return self._suffix
            if glance.run == self.run and glance.process == self.process:
                return self._rest
        return None

    def _line_of(self, event: Any) -> bytes:
        try:
            return self._looked_through(event)
        except _Unfit as reason:
            self._rejected += 1
            return self._rejected_line(event, str(reason))

    def _looked_through(self, event: Any) -> bytes:
        if isinstance(event, msgspec.Raw):
            event = _decode_event(bytes(event))
        if not isinstance(event, dict):
            raise _Unfit("no JSON object")
        try:
            line = _encode(self._completed(redact(event), event.get("event_id")))
        except RecursionError as error:
            raise _Unfit(f"nested deeper than {DEPTH_MAX}") from error
        except (OverflowError, UnicodeEncodeError, TypeError) as error:
            raise _Unfit(f"cannot be encoded: {type(error).__name__}") from error
        if line.count(b"{") + line.count(b"[") > DEPTH_MAX and _is_deeper(event, DEPTH_MAX):
            raise _Unfit(f"nested deeper than {DEPTH_MAX}")
        return line

    def _completed(self, event: dict[str, Any], given_id: Any) -> dict[str, Any]:
        for key in CONTEXT_KEYS:
            event.pop(key, None)  # one body, one process: what its header says holds
        event_id = event.get("event_id")
        if not event_id:
            event["event_id"] = self._numbered(hashlib.sha256(_encode(event)).hexdigest()[:32])
        elif event_id != given_id and isinstance(given_id, str):
            event["event_id"] = identity(given_id)
        event.update(self._context)
        return event

    def _numbered(self, made_id: str) -> str:
        """The same id when the body is sent again, and another one for each of several equal events in it."""
        self._met[made_id] += 1
        met = self._met[made_id]
        return made_id if met == 1 else f"{made_id}-{met}"

    def _rejected_line(self, event: Any, reason: str) -> bytes:
        raw = bytes(event) if isinstance(event, msgspec.Raw) else _written_out(event)
        given_id = identity(event.get("event_id")) if isinstance(event, dict) else ""
        entry = {
            "reason": reason,
            "id": self._numbered(given_id or hashlib.sha256(raw).hexdigest()[:32]),
            "text": kept_text(raw),
        }
        return _encode({"rejected": entry, "run": self.run, "process": self.process, "project": self.project})

    def _ledger_line(self, ledger: dict[str, Any]) -> bytes:
        return _encode({"ledger": redact(ledger), "run": self.run, "process": self.process, "project": self.project})


def _suffix_of(context: dict[str, str]) -> bytes:
    """The end of an event's text that says what its body says for all: `,"run":…}`."""
    return b"," + _encode(context)[1:] if context else b"}"


def _written_out(event: Any) -> bytes:
    try:
        return repr(event).encode("utf-8", "replace")
    except RecursionError:  # what can be told of it without going down
        return repr(list(event)).encode("utf-8", "replace")


def kept_text(raw: bytes) -> str:
    """What is kept of something that is set aside. Redacted before it is cut: half a secret looks like none."""
    return redact_text(raw[: 3 * TEXT_MAX].decode("utf-8", "replace"))[:TEXT_MAX]


def _header_of(tape: dict[str, Any] | None) -> dict[str, Any] | None:
    """The header of a process of ours, with ids that can be kept; None if it is none."""
    if not tape or not all(isinstance(tape.get(key), str) and tape[key] for key in ("run", "process")):
        return None
    if _is_deeper(tape, DEPTH_MAX):
        return None
    header: dict[str, Any] = {**redact(tape), **{key: identity(tape[key]) for key in ("run", "process")}}
    header["run"] = safe_run(header["run"])
    if "session_id" in header:
        header["session_id"] = identity(tape["session_id"])
    return header


def _decode_event(raw: bytes) -> Any:
    try:
        return _any_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    except RecursionError as error:
        raise _Unfit(f"nested deeper than {DEPTH_MAX}") from error
    try:
        return _mended(json.loads(raw.decode("utf-8", "replace")))
    except (ValueError, RecursionError) as error:
        raise _Unfit("no JSON") from error


class _Outline(msgspec.Struct):
    """All of a body but its events, which may hold what msgspec refuses."""

    events: msgspec.Raw = msgspec.Raw(b"")
    platform: Any = ""
    sdk_version: Any = ""
    session_id: Any = ""
    process_uuid: Any = None
    project: Any = ""
    tape: Any = None
    ledger: Any = None


_outline_decoder = msgspec.json.Decoder(_Outline)


def _decode_leniently(body: bytes) -> tuple[Envelope, list[msgspec.Raw]]:
    """The body of a sender that is not exact: an event that is no object or nested without end, a number for a version,
    a lone surrogate, a NaN."""
    try:
        outline = _outline_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadBody('the body has no list "events"') from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        outline = _cut_out(body)
    listed = bytes(outline.events)
    if not listed.startswith(b"["):
        raise BadBody('the body has no list "events"')
    return _coerced(outline), _raws_of(listed)


def _raws_of(listed: bytes) -> list[msgspec.Raw]:
    """The events of a list, one by one; of a list that is too long not many more than are taken."""
    if listed.count(b",") < EVENTS_MAX:
        try:
            return _raws_decoder.decode(listed)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return [msgspec.Raw(part) for part in islice(elements(listed), EVENTS_MAX + 1)]
    except ValueError as error:
        raise BadBody("the body is no JSON") from error


def _cut_out(body: bytes) -> _Outline:
    """The parts of a body that no decoder takes as a whole."""
    try:
        found = members(body)
    except ValueError as error:
        raise BadBody("the body is no JSON") from error
    outline = _Outline(events=msgspec.Raw(found.get(b"events", b"")))
    for field in outline.__struct_fields__[1:]:
        if field.encode() in found:
            with contextlib.suppress(_Unfit):
                setattr(outline, field, _decode_event(found[field.encode()]))
    return outline


def _coerced(outline: _Outline) -> Envelope:
    def text(given: Any) -> str:
        return given if isinstance(given, str) else ""

    return Envelope(
        platform=text(outline.platform),
        sdk_version=text(outline.sdk_version),
        session_id=text(outline.session_id),
        process_uuid=text(outline.process_uuid) or None,
        project=text(outline.project),
        tape=outline.tape if isinstance(outline.tape, dict) else None,
        ledger=outline.ledger if isinstance(outline.ledger, dict) else None,
    )


def _mended(value: Any) -> Any:
    """What Python's own JSON reads and no other does, made plain: lone surrogates, NaN and infinity."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


def _is_deeper(value: Any, limit: int) -> bool:
    """Is something nested deeper than `limit`? Level by level, without recursion."""
    level = [value]
    for _ in range(limit + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return True
