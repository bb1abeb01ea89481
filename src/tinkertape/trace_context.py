"""W3C Trace Context, version 00: the one header that carries a trace from one process into another.

`traceparent` is `00-<trace id>-<span id>-<flags>`, in lower-case hexadecimal. What is not of that form is ignored, as
the recommendation says: the trace then begins anew. Of the flags only "sampled" is known: a trace that came with it
off, goes on with it off. `tracestate` is neither read nor written: hand it on as it came.

Source: https://www.w3.org/TR/trace-context-1/ §3.2.
"""

from __future__ import annotations

import re
from contextvars import Token
from types import TracebackType
from typing import Self

from tinkertape.context import Astray, SpanIds, before, current_span, go_astray, living

_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?\Z",
    re.ASCII | re.DOTALL,
)
_SAMPLED = 0x01


def traceparent() -> str | None:
    """The value of the header that makes what the other side does a child of the current span.

    None outside of any span that is listened to, unless a `traceparent` came in: that goes on as it came.
    """
    span = living(current_span.get())
    if span is None:
        return None
    trace_id, sampled = span.trace
    return f"00-{trace_id}-{span.span_id}-{_SAMPLED if sampled else 0:02x}"


def parse_traceparent(header: str | bytes | None) -> SpanIds | None:
    """The span that the header names; None for one that is not of the form, or of a version that cannot be.

    Of a later version the four fields that this one has are read.
    """
    if isinstance(header, bytes | bytearray):
        header = header.decode("latin-1")
    found = _FORM.match(header.strip(" \t")) if isinstance(header, str) else None
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"] is not None):
        return None
    if not found["trace"].strip("0") or not found["span"].strip("0"):
        return None
    return SpanIds.known(found["trace"], bool(int(found["flags"], 16) & _SAMPLED), found["span"])


class scope_from:
    """While inside, spans are children of the span that a `traceparent` header names, and share its trace id.

    `with tinkertape.scope_from(request.headers.get("traceparent")): …`. Where there is none, or it is not of the form,
    nothing is changed.
    """

    __slots__ = ("_remote", "_tokens")

    def __init__(self, traceparent: str | bytes | None) -> None:
        self._remote = parse_traceparent(traceparent)
        self._tokens: dict[SpanIds, Token[SpanIds | None]] = {}  # by who stands for the remote span in this block

    def __enter__(self) -> Self:
        if self._remote is not None:
            here = SpanIds.known(*self._remote.trace, self._remote.span_id)  # others may be inside meanwhile
            self._tokens[here] = current_span.set(here)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Out of turn, by a generator left in its midst, or in another context than it began in it goes astray."""
        here = current_span.get()
        if here in self._tokens:
            token = self._tokens.pop(here)
            try:
                current_span.reset(token)
            except ValueError:
                go_astray(here, Astray, before(token))
            current_span.set(living(before(token)))
        elif self._tokens:
            here, token = self._tokens.popitem()
            go_astray(here, Astray, before(token))
