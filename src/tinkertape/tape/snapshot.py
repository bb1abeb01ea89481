"""An event as it was: encoded at once in the program's thread, made into a line later in the writer's.

Encoding is the cheapest copy that stays right when the program changes a dict afterwards, and bytes cost the cyclic
garbage collector nothing (facts/performance.md §2). Redaction and JSON come later, off the program's thread.

A snapshot is MessagePack of (monotonic ns, name, severity, measurements, data, scope, span, is log). The wall time of
its line is computed from the monotonic, by a pair of both clocks that is read anew every 50 ms: one clock less to read
in the program's thread. Pure, but for that pair.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from tinkertape.config import event_id
from tinkertape.redact import redact, redact_text
from tinkertape.tape.format import KINDS, EventLine, encode_line, finite_words, timestamp
from tinkertape.tape.rendering import safe_json

PAIR_EVERY_NS = 50_000_000
SNAPSHOT_MAX = 1 << 20  # bytes; a larger one is made again, cut
UNENCODABLE = (Exception,)  # a value's own code runs while it is encoded (a time zone's), and may raise what it likes
_ODD_FLOAT = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")  # how NaN and the infinities begin in MessagePack
_EMPTY: dict[str, Any] = {}

encode_snapshot = msgspec.msgpack.Encoder(enc_hook=safe_json).encode
_decode_snapshot = msgspec.msgpack.Decoder().decode


def encode_snapshot_slowly(parts: tuple[Any, ...]) -> bytes:
    """The snapshot of what msgspec refuses, or of what is too large: rendered, bounded."""
    return encode_snapshot(tuple(safe_json(part) for part in parts))


class LineMaker:
    """Makes the lines of one process from its snapshots."""

    def __init__(self, run: str, process: str) -> None:
        self.run = run
        self.process = process
        self._offset_ns = self._paired_ns = 0

    def line(self, snapshot: bytes, index: int) -> bytes:
        """The redacted line, "\\n" included. Raises one of `UNENCODABLE` for a snapshot that is none."""
        monotonic_ns, name, severity, measurements, data, scope, span, is_log = _decode_snapshot(snapshot)
        time_ns = self._wall_ns(monotonic_ns)
        values = (measurements, data, scope)
        if _ODD_FLOAT.search(snapshot):
            values = _plain(values)
        try:
            values = redact(values)
            return encode_line(self._event(index, time_ns, monotonic_ns, name, severity, values, span, is_log))
        except (RecursionError, TypeError, ValueError):  # too deep, or keys that JSON does not know
            values = redact(_plain(values))
            return encode_line(self._event(index, time_ns, monotonic_ns, name, severity, values, span, is_log))

    def _wall_ns(self, monotonic_ns: int) -> int:
        if monotonic_ns - self._paired_ns > PAIR_EVERY_NS:
            self._paired_ns = time.perf_counter_ns()
            self._offset_ns = time.time_ns() - self._paired_ns
        return monotonic_ns + self._offset_ns

    def _event(
        self,
        index: int,
        time_ns: int,
        monotonic_ns: int,
        name: str,
        severity: str,
        values: tuple[Any, Any, Any],
        span: list[str] | None,
        is_log: bool,
    ) -> EventLine:
        measurements, data, scope = values
        return EventLine(
            event=KINDS.get(name, "GENERIC_EVENT"),
            event_id=event_id(self.process, index),
            event_session_index=index,
            severity=severity,
            timestamp=timestamp(time_ns),
            event_name=redact_text(name),
            event_data=data if is_log else msgspec.UNSET,
            measurements=msgspec.UNSET if is_log else _mapping(measurements),
            metadata=msgspec.UNSET if is_log else _mapping(data),
            scope=_mapping(scope) if scope else None,
            trace_id=span[0] if span else None,
            span_id=span[1] if span else None,
            run=self.run,
            process=self.process,
            monotonic_ns=monotonic_ns,
        )


def _mapping(value: Any) -> dict[str, Any]:
    if value.__class__ is dict:
        return value
    return _EMPTY if value is None else {"value": value}


def _plain(values: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    measurements, data, scope = values
    if isinstance(measurements, Mapping):
        measurements = finite_words(dict(measurements))
    return safe_json(measurements), safe_json(data), safe_json(scope)
