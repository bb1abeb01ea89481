"""Whole bodies whose events are all of a known form (`known`): turned into lines by a few passes over their bytes.

A body is cut at what stands between two events. A piece that is, but for its id and its digits, the inside of an event
that was known before is an event itself: its quotes and brackets are the same ones. So a body of nothing but such
pieces is a list of events whose texts stand for themselves, and what stood between them becomes what completes a line.
Any other body is decoded.

Bounded; any thread, as in `known`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from tinkertape.collector.known import DIGITS, FORM_MAX, FORMS_MAX
from tinkertape.redact.keys import added_keys
from tinkertape.redact.shapes import added_shapes

# an SDK's id; longer or other ones are looked at by themselves
_ID = re.compile(rb'"event_id": ?"[0-9a-f-]{1,200}"')
_BETWEEN = {b'{"events": [{': b"}, {", b'{"events":[{': b"},{"}  # by how a body begins
_TAIL = 4_096


class Cut(NamedTuple):
    """A body in its pieces. `inside` is what stands in the brackets of each event, `forms` are their forms, `envelope`
    is the body without its list."""

    inside: list[bytes]
    forms: list[bytes]
    envelope: bytes


def cut(body: bytes) -> Cut | None:
    """Cut a body at what stands between two events, or looks like it; None where it does not begin as one does."""
    head = next((head for head in _BETWEEN if body.startswith(head)), None)
    if head is None or b'"tape":' in body[-_TAIL:]:  # events of ours say themselves whose they are
        return None
    inside = body[len(head) :].split(_BETWEEN[head])
    inside[-1], bracket, rest = inside[-1].partition(b"}]")
    if not bracket or b'"events"' in rest:
        return None
    return Cut(inside, forms_of(inside), b"{" + rest.lstrip(b" ,"))


def forms_of(inside: Sequence[bytes]) -> list[bytes]:
    """The forms; they are more than what is given where a line ends inside, and say nothing then."""
    return _ID.sub(b"", b"\n".join(inside)).translate(DIGITS).split(b"\n")


class Alike:
    """The insides that are known."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def are_known(self, cut: Cut) -> bool:
        """Is each piece an event that stands for itself? Not where there are rules of a user's own."""
        is_known = len(cut.forms) == len(cut.inside) and self._known.issuperset(cut.forms)
        return is_known and not added_keys and not added_shapes

    def learn(self, cut: Cut, events: Sequence[bytes]) -> None:
        """The events of a body were all known, and said nothing of their run."""
        if not len(events) == len(cut.inside) == len(cut.forms):
            return
        for event, inside, form in zip(events, cut.inside, cut.forms, strict=True):
            if form in self._known or len(form) > FORM_MAX or b'"event_id"' in form or event[1:-1] != inside:
                continue
            if len(self._known) >= FORMS_MAX:
                self._known.clear()
            self._known.add(form)
