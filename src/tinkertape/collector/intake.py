"""From a received body to the lines of the inbox; pure.

The lines, one a received event:
- an event, of a tape of ours or of a plain SDK, made complete: its line says itself what else stands in the body or
  the tape's header (run, process, session, project,
  SDK version). A plain SDK knows no run: its session is the run. The header of a process of ours comes before its
  first line;
- `{"rejected": …}`: an event that cannot be a line, with the reason; `{"ledger": …}`: what a process says of itself.
Everything is redacted on the way: real SDKs put their own API key into their telemetry (docs/facts/sdk.md D1). A bad
event never fails its body: old SDKs would send that body
again for ever.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import msgspec

from tinkertape.redact import redact

DEPTH_MAX = 64
ID_MAX = 200  # characters of a run, process or session id
CONTEXT_KEYS = ("run", "process", "session_id", "sdk_version", "project")
TEXT_MAX = 2_000  # characters kept of what is set aside
REJECTED_MARK = b'{"rejected":'
LEDGER_MARK = b'{"ledger":'

_encode = msgspec.json.Encoder().encode


class BadBody(Exception):
    """A body in which no events can be found; its text is one line for the sender."""


class Body(msgspec.Struct):
    """A body of Tinker's wire; `tape` and `ledger` only from a delivery of ours."""

    events: list[dict[str, Any]]
    platform: str = ""
    sdk_version: str = ""
    session_id: str = ""
    process_uuid: str | None = None
    project: str = ""
    tape: dict[str, Any] | None = None
    ledger: dict[str, Any] | None = None


class Intake(msgspec.Struct, frozen=True):
    """What goes into the inbox for one body: whole lines, the sending process's header if it is one of ours, and the
    counts."""

    lines: bytes
    events: int
    rejected: int
    process: str = ""
    header: bytes | None = None


class _RawBody(msgspec.Struct):
    events: list[msgspec.Raw]


class _Unfit(Exception):
    """Why an event cannot be a line."""


_body_decoder = msgspec.json.Decoder(Body)
_raw_decoder = msgspec.json.Decoder(_RawBody)
_any_decoder = msgspec.json.Decoder()


def take_in(body: bytes) -> Intake:
    """Turn a body into lines. Raises `BadBody` where there is no list of events."""
    try:
        found = _body_decoder.decode(body)
        events: list[Any] = found.events
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found, events = _decode_leniently(body)
    return _Taking(found).all(events)


class _Taking:
    """One body on its way."""

    def __init__(self, body: Body) -> None:
        header = redact(body.tape) if body.tape else None
        self._header = header if header is not None and _is_header(header) else None
        source = self._header or {}
        self.run = str(source.get("run") or body.session_id)[:ID_MAX]
        self.process = str(source.get("process") or body.process_uuid or "")[:ID_MAX]
        self.project = str(source.get("project") or body.project or "default")[:ID_MAX]
        self._ledger = body.ledger
        self.run = self.run or "unknown"
        context = {
            "run": self.run,
            "process": self.process,
            "session_id": str(source.get("session_id") or body.session_id)[:ID_MAX],
            "sdk_version": str(source.get("sdk_version") or body.sdk_version)[:ID_MAX],
            "project": "" if self.project == "default" else self.project,
        }
        self._context = {key: value for key, value in context.items() if value}

    def all(self, events: list[Any]) -> Intake:
        lines: list[bytes] = []
        rejected = 0
        for event in events:
            try:
                lines.append(self._line(event))
            except _Unfit as reason:
                rejected += 1
                lines.append(self._rejected_line(event, str(reason)))
        if self._ledger is not None and self._header is not None:
            lines.append(self._ledger_line(self._ledger))
        if lines:
            lines.append(b"")
        header = _encode(self._header) + b"\n" if self._header is not None else None
        return Intake(b"\n".join(lines), len(events), rejected, self.process, header)

    def _line(self, event: Any) -> bytes:
        if isinstance(event, msgspec.Raw):
            event = _decode_event(bytes(event))
        if not isinstance(event, dict):
            raise _Unfit("no JSON object")
        try:
            line = _encode(self._completed(redact(event)))
        except (RecursionError, OverflowError, UnicodeEncodeError, TypeError) as error:
            raise _Unfit(f"cannot be encoded: {type(error).__name__}") from error
        if line.count(b"{") + line.count(b"[") > DEPTH_MAX and _is_deeper(event, DEPTH_MAX):
            raise _Unfit(f"nested deeper than {DEPTH_MAX}")
        return line

    def _completed(self, event: dict[str, Any]) -> dict[str, Any]:
        for key in CONTEXT_KEYS:
            event.pop(key, None)  # one body, one process: what its header says holds
        if not event.get("event_id"):
            event["event_id"] = hashlib.sha256(_encode(event)).hexdigest()[:32]  # the same when it is sent again
        event.update(self._context)
        return event

    def _rejected_line(self, event: Any, reason: str) -> bytes:
        raw = bytes(event) if isinstance(event, msgspec.Raw) else repr(event).encode("utf-8", "replace")
        text = str(redact(raw[:TEXT_MAX].decode("utf-8", "replace")))
        event_id = event.get("event_id") if isinstance(event, dict) else None
        entry = {
            "reason": reason,
            "id": event_id[:ID_MAX] if isinstance(event_id, str) else hashlib.sha256(raw).hexdigest()[:32],
            "text": text,
        }
        return _encode({"rejected": entry, "run": self.run, "process": self.process, "project": self.project})

    def _ledger_line(self, ledger: dict[str, Any]) -> bytes:
        return _encode({"ledger": redact(ledger), "run": self.run, "process": self.process, "project": self.project})


def _is_header(header: dict[str, Any]) -> bool:
    return all(isinstance(header.get(key), str) and 0 < len(header[key]) <= ID_MAX for key in ("run", "process"))


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


def _decode_leniently(body: bytes) -> tuple[Body, list[Any]]:
    """The body of a sender that is not exact: an event that is no object, a number for a version, a lone surrogate, a
    NaN."""
    raws: list[msgspec.Raw] | None = None
    try:
        raws = _raw_decoder.decode(body).events
        rest: Any = _outline(body)
    except RecursionError as error:
        raise BadBody("the body is nested too deep") from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        rest = _tolerant_json(body)
    if not isinstance(rest, dict) or not isinstance(rest.get("events", raws), list):
        raise BadBody('the body has no list "events"')
    events = raws if raws is not None else rest.pop("events")
    return _coerced(rest), events


class _Outline(msgspec.Struct):
    platform: Any = ""
    sdk_version: Any = ""
    session_id: Any = ""
    process_uuid: Any = None
    project: Any = ""
    tape: Any = None
    ledger: Any = None


_outline_decoder = msgspec.json.Decoder(_Outline)


def _outline(body: bytes) -> dict[str, Any]:
    """All of a body but its events, which may hold what msgspec refuses."""
    found = _outline_decoder.decode(body)
    return {name: getattr(found, name) for name in found.__struct_fields__}


def _tolerant_json(body: bytes) -> Any:
    try:
        return _mended(json.loads(body.decode("utf-8", "replace")))
    except RecursionError as error:
        raise BadBody("the body is nested too deep") from error
    except ValueError as error:
        raise BadBody("the body is no JSON") from error


def _coerced(rest: dict[str, Any]) -> Body:
    def text(key: str) -> str:
        return "" if rest.get(key) is None else str(rest[key])

    tape, ledger = rest.get("tape"), rest.get("ledger")
    return Body(
        events=[],
        platform=text("platform"),
        sdk_version=text("sdk_version"),
        session_id=text("session_id"),
        process_uuid=text("process_uuid") or None,
        project=text("project"),
        tape=tape if isinstance(tape, dict) else None,
        ledger=ledger if isinstance(ledger, dict) else None,
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
