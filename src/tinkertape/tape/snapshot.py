"""An event as it was: encoded at once in the program's thread, made into a line later in the writer's.

Encoding is the cheapest copy that stays right when the program changes a dict afterwards, and bytes cost the cyclic
garbage collector nothing (facts/performance.md §2). Redaction and JSON come later, off the program's thread.

A snapshot is MessagePack of `Parts`. The wall time of its line is computed from the monotonic, by a pair of both clocks
that is read for each chunk of lines: one clock less to read in the program's thread. Pure, but for that pair.

A line is made in one of two ways, with the same bytes (tests/tape/test_snapshot.py). Nearly all events are flat, and of
a form that is known to hold no secret (`redact.known`): what they say is encoded and set between what all lines of
their name have. Whatever else there is, of any type and depth, is redacted and encoded whole.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET

from tinkertape.config import event_id
from tinkertape.context import SpanIds
from tinkertape.dispatch import Describe
from tinkertape.guard import count_failure
from tinkertape.redact import redact, redact_text
from tinkertape.redact.known import HEX, Flat, known, learn
from tinkertape.tape.format import KINDS, EventLine, encode_line, finite_words, timestamp
from tinkertape.tape.rendering import safe_json


class AsTold(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An event that is yet to be described: what is then said nobody changes any more, and it is flat and without
    floats. The collector of cycles does not see it, as thousands may wait: it refers to nothing that refers to it.
    """

    monotonic_ns: int
    name: str
    severity: str
    describe: Describe
    subject: Any
    scope: Mapping[str, Any]
    span: SpanIds | None


class Parts(msgspec.Struct, array_like=True):
    """What a snapshot says, in this order; the last two are left out of what was logged at INFO."""

    monotonic_ns: int
    name: str
    data: Any
    scope: Any
    span: list[str] | None  # the ids of its trace and of itself
    severity: str = "INFO"
    measurements: Any = None  # of what was logged


_FlatDict = dict[str, Flat] | None
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Flat(msgspec.Struct, array_like=True, gc=False):
    """The same of an event that is flat."""

    monotonic_ns: int
    name: _Text
    data: _FlatDict
    scope: _FlatDict
    span: list[str] | None
    severity: _Text = "INFO"
    measurements: _FlatDict = None


class _RawParts(msgspec.Struct, array_like=True):
    """The same where not all can be read."""

    monotonic_ns: int
    name: str
    data: msgspec.Raw
    scope: msgspec.Raw
    span: list[str] | None
    severity: str = "INFO"
    measurements: msgspec.Raw = msgspec.Raw(b"\xc0")  # None


Taken = bytes | AsTold
"""A snapshot, or what waits to become one."""
FRAMES_MAX = 1_024  # names whose frame is kept
SNAPSHOT_MAX = 1 << 20  # bytes; a larger one is made again, cut
UNENCODABLE = (Exception,)  # a value's own code runs while it is encoded (a time zone's), and may raise what it likes
_ODD_FLOAT = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")  # how NaN and the infinities begin in MessagePack
_EMPTY: dict[str, Any] = {}

encode_snapshot = msgspec.msgpack.Encoder(enc_hook=safe_json).encode
_decode_snapshot = msgspec.msgpack.Decoder().decode
_decode_flat = msgspec.msgpack.Decoder(_Flat).decode
_decode_parts = msgspec.msgpack.Decoder(Parts).decode
_decode_raw_parts = msgspec.msgpack.Decoder(_RawParts).decode
_decode_container = msgspec.msgpack.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode
_UNREADABLE = "… (a dict whose keys cannot be shown)"
_encode = msgspec.json.Encoder().encode
_FRAME = (
    b'{"event":"%b","event_id":"%b%%04x-%%012x","event_session_index":%%d,"severity":"%b","timestamp":"%%b.%%06dZ",'
    b'%%b,"run":"%b","process":"%b","monotonic_ns":%%d}\n'
)  # the keys and order of `EventLine`


class _Said(msgspec.Struct, omit_defaults=True, gc=False):
    """What an event says: these keys of `EventLine`, in its order."""

    event_name: str
    event_data: Any
    measurements: Any = UNSET
    metadata: Any = UNSET
    scope: Mapping[str, Any] | None = None
    trace_id: str | None = None
    span_id: str | None = None


def encode_snapshot_slowly(parts: tuple[Any, ...]) -> bytes:
    """The snapshot of what msgspec refuses, or of what is too large: rendered, bounded."""
    return encode_snapshot(tuple(safe_json(part) for part in parts))


def is_from_outside(error: BaseException, parts: tuple[Any, ...]) -> bool:
    """Was it raised while these parts were encoded, but not by them: by a signal's handler, which is the program's?

    Its traceback goes on in the handler, and the parts can be encoded.
    """
    if error.__traceback__ is None or error.__traceback__.tb_next is None:
        return False
    with contextlib.suppress(*UNENCODABLE):
        return bool(encode_snapshot(parts))
    return False


class LineMaker:
    """Makes the lines of one process from its snapshots. One thread at a time."""

    def __init__(self, run: str, process: str) -> None:
        self.run = run
        self.process = process
        self._frames: dict[tuple[str, str], bytes] = {}
        self._offset_ns = 0
        self._second_us, self._second_text = -1_000_000, b""  # the second that was said last

    def lines(self, taken: list[Taken], index: int) -> list[bytes]:
        """The redacted lines, "\\n" included, of events that are numbered from `index` on. One whose snapshot cannot be
        said is left out, and counted as a failure.
        """
        monotonic_ns = time.perf_counter_ns()
        self._offset_ns = time.time_ns() - monotonic_ns
        some_are_odd = _ODD_FLOAT.search(b"".join([each for each in taken if each.__class__ is bytes]))
        made = []
        for number, each in enumerate(taken, index):
            try:
                if isinstance(each, AsTold):
                    made.append(self._line_of_told(each, number))
                elif some_are_odd and _ODD_FLOAT.search(each):
                    made.append(self.line_of_any(each, number))
                else:
                    made.append(self._line_of_flat(each, number))
            except UNENCODABLE as error:
                count_failure("tape.line", error)
        return made

    def _line_of_told(self, told: AsTold, index: int) -> bytes:
        """The line of what a source of ours told: at once where its form is known, else by its snapshot."""
        measurements, metadata = told.describe(told.subject)
        said, keys = _Said(told.name, UNSET, measurements, metadata), (*measurements, *metadata)
        if told.scope:
            said.scope = told.scope
            keys += tuple(told.scope)
        if told.span is not None:
            said.trace_id, said.span_id = told.span.trace_id, told.span.span_id
        try:
            encoded = _encode(said)
            if known.get(encoded.translate(None, HEX)) == keys:
                return self._framed(encoded, told.name, told.severity, told.monotonic_ns, index)
            return self._line_of_flat(encode_snapshot(_parts_of(told, said)), index)
        except UNENCODABLE:  # it told what it must not
            return self.line_of_any(encode_snapshot_slowly(_parts_of(told, said)), index)

    def _line_of_flat(self, snapshot: bytes, index: int) -> bytes:
        """The line of an event that is flat, and without NaN; `line_of_any` for what is more."""
        try:
            flat = _decode_flat(snapshot)
        except msgspec.ValidationError:
            return self.line_of_any(snapshot, index)
        name, data, measurements = flat.name, flat.data, flat.measurements
        if measurements is None:
            said, keys = _Said(name, data), tuple(data or _EMPTY)
        else:
            data = data or _EMPTY
            said, keys = _Said(name, UNSET, measurements, data), (*measurements, *data)
        if flat.scope:
            said.scope = flat.scope
            keys += tuple(flat.scope)
        if flat.span:
            said.trace_id, said.span_id = flat.span
        encoded = _encode(said)
        form = encoded.translate(None, HEX)
        if known.get(form) != keys and not _is_clean(form, keys, name, (measurements, data, flat.scope)):
            return self.line_of_any(snapshot, index)
        return self._framed(encoded, name, flat.severity, flat.monotonic_ns, index)

    def _framed(self, encoded: bytes, name: str, severity: str, monotonic_ns: int, index: int) -> bytes:
        """The line of an event that says this, and no secret."""
        frame = self._frames.get((name, severity)) or self._frame(name, severity)
        microsecond = (monotonic_ns + self._offset_ns) // 1000 - self._second_us
        if not 0 <= microsecond < 1_000_000:
            second, microsecond = divmod(microsecond + self._second_us, 1_000_000)
            self._second_us, self._second_text = second * 1_000_000, timestamp(second * 1_000_000_000)[:19].encode()
        high, low = index >> 48, index & 0xFFFF_FFFF_FFFF
        return frame % (high, low, index, self._second_text, microsecond, encoded[1:-1], monotonic_ns)

    def line_of_any(self, snapshot: bytes, index: int) -> bytes:
        """The line of an event, whatever is in it. Raises one of `UNENCODABLE`."""
        parts = _decoded(snapshot)
        values = (parts.measurements, parts.data, parts.scope)
        if _ODD_FLOAT.search(snapshot):
            values = _plain(values)
        try:
            return encode_line(self._event(index, parts, redact(values)))
        except (RecursionError, TypeError, ValueError):  # too deep, or keys that JSON does not know
            return encode_line(self._event(index, parts, redact(_plain(values))))

    def _frame(self, name: str, severity: str) -> bytes:
        """What stands around that which an event says, to be filled by `%`."""
        texts = (KINDS.get(name, "GENERIC_EVENT"), event_id(self.process, 0)[:-17], severity, self.run, self.process)
        frame = _FRAME % tuple(_encode(text)[1:-1].replace(b"%", b"%%") for text in texts)
        if len(self._frames) >= FRAMES_MAX:
            self._frames.clear()  # a program that makes names up must not fill the memory
        self._frames[name, severity] = frame
        return frame

    def _event(self, index: int, parts: Parts, values: tuple[Any, Any, Any]) -> EventLine:
        measurements, data, scope = values
        is_log = measurements is None
        return EventLine(
            event=KINDS.get(parts.name, "GENERIC_EVENT"),
            event_id=event_id(self.process, index),
            event_session_index=index,
            severity=parts.severity,
            timestamp=timestamp(parts.monotonic_ns + self._offset_ns),
            event_name=redact_text(parts.name),
            event_data=data if is_log else msgspec.UNSET,
            measurements=msgspec.UNSET if is_log else _mapping(measurements),
            metadata=msgspec.UNSET if is_log else _mapping(data),
            scope=_mapping(scope) if scope else None,
            trace_id=parts.span[0] if parts.span else None,
            span_id=parts.span[1] if parts.span else None,
            run=self.run,
            process=self.process,
            monotonic_ns=parts.monotonic_ns,
        )


def _parts_of(told: AsTold, said: _Said) -> tuple[Any, ...]:
    """Of its snapshot."""
    ids = None if told.span is None else (said.trace_id, said.span_id)
    return told.monotonic_ns, told.name, said.metadata, told.scope, ids, told.severity, said.measurements


def _is_clean(form: bytes, keys: tuple[str, ...], name: str, parts: tuple[Mapping[str, Flat] | None, ...]) -> bool:
    """Is there no secret in an event whose form is not known?"""
    if redact(parts) is not parts or redact_text(name) is not name:
        return False
    learn(form, keys, [name, *(value for part in parts if part for value in part.values())])
    return True


def _decoded(snapshot: bytes) -> Parts:
    """What is in a snapshot. MessagePack has a form for a dict whose keys are dicts, as those of a frozen dataclass
    are; Python has none.
    """
    try:
        return _decode_parts(snapshot)
    except msgspec.DecodeError:
        raw = _decode_raw_parts(snapshot)
        data, scope, measurements = map(_readable, (raw.data, raw.scope, raw.measurements))
        return Parts(raw.monotonic_ns, raw.name, data, scope, raw.span, raw.severity, measurements)


def _readable(raw: msgspec.Raw) -> Any:
    """As much of a part as can be read: where one value cannot be, those beside it are."""
    with contextlib.suppress(msgspec.DecodeError):
        return _decode_snapshot(raw)
    with contextlib.suppress(msgspec.DecodeError):
        found = _decode_container(raw)
        return list(map(_readable, found)) if isinstance(found, list) else {k: _readable(v) for k, v in found.items()}
    return _UNREADABLE


def _mapping(value: Any) -> dict[str, Any]:
    if value.__class__ is dict:
        return value
    return _EMPTY if value is None else {"value": value}


def _plain(values: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    measurements, data, scope = values
    if isinstance(measurements, Mapping):
        measurements = finite_words(dict(measurements))
    return safe_json(measurements), safe_json(data), safe_json(scope)
