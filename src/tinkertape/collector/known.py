"""Events that look like ones that were taken in before, and need not be looked through again.

An SDK sends the same few kinds of events all day: alike but for their ids, times and counts. The *form* of an event is
its text without its id and with all digits alike. A form is known once an event of it was found to hold no secret,
and nothing in it that could mark one whatever the digits are: then the text of the next one stands for itself.

What keeps that sound (tests/collector/test_known.py has every secret of the corpus):
- what is found to be a secret by its key has the same key, letter by letter, in every event of the form;
- what is found by its text needs one of the marks of `redact.texts`, and a form with one, whatever digits stand in it,
  is never known; nor is one with an escape that could hide a letter, or a `%`;
- nothing is known where a user has added rules of his own.

Bounded; any thread: the worst of a race is an event looked through once more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from tinkertape.collector.identity import ID_MAX, identity
from tinkertape.redact.keys import added_keys
from tinkertape.redact.shapes import added_shapes, any_of
from tinkertape.redact.texts import MARK_WORDS

FORM_MAX = 4_096  # bytes of an event that is remembered
FORMS_MAX = 2_048  # forms; a table that is full begins anew
GLIMPSED_MAX = 8_192

DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_QUOTE = ord('"')
_ID_CHARS = b'"0123456789abcdef-'
_HIDDEN = re.compile(rb"\\[u/]|%|[\n\r]")
_ADDRESS = "://"  # marks what stands between it and an "@"
_MARKS = re.compile(
    any_of(word.lower().encode().translate(DIGITS).decode() for word in MARK_WORDS if word != _ADDRESS).encode()
)


class Glance(msgspec.Struct):
    """As much of an event as tells which one it is, and whose it says it is."""

    event: str
    event_id: msgspec.Raw
    run: str | None = None
    process: str | None = None
    session_id: str | None = None
    sdk_version: str | None = None
    project: str | None = None


class GlancedBody(msgspec.Struct):
    """The events of a body, at a glance."""

    events: list[Glance]


class RawBody(msgspec.Struct):
    """The events of a body, as they stand."""

    events: list[msgspec.Raw]


_decode_glances = msgspec.json.Decoder(GlancedBody).decode
_decode_raws = msgspec.json.Decoder(RawBody).decode


def glanced(body: bytes) -> list[tuple[bytes, Glance]] | None:
    """Each event of a body as it stands, and at a glance; None where one of them has no name or id."""
    try:
        glances = _decode_glances(body).events
        return [(bytes(raw), glance) for raw, glance in zip(_decode_raws(body).events, glances, strict=True)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def form_of(raw: bytes, event_id: bytes) -> bytes:
    """An event's text without its id, which is given as it stands, and its digits all alike."""
    return raw.replace(event_id, b'""', 1).translate(DIGITS)


def is_plain(event_id: bytes) -> bool:
    """Is an id, as it stands, a text that can be kept? One of hexadecimal digits, as an SDK's, holds no secret."""
    if event_id[0] != _QUOTE or len(event_id) < 3:
        return False
    if len(event_id) <= ID_MAX and not event_id.strip(_ID_CHARS):
        return True
    text = event_id[1:-1].decode()
    return "\\" not in text and identity(text) == text


def _may_mark(form: bytes) -> bool:
    """Does anything in the form mark a secret, in whatever digits?"""
    is_address = _ADDRESS.encode() in form and b"@" in form
    return is_address or bool(_HIDDEN.search(form) or _MARKS.search(form.lower()))


class Forms:
    """The forms that are known."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool] = {}  # does an event of it say nothing of its run?
        self._glimpsed: dict[int, bool] = {}  # hash of a form that was met: may it become known?

    @property
    def known(self) -> Mapping[bytes, bool]:
        """The forms that are known, and whether an event of it says nothing of its run; none where there are rules of a
        user's own."""
        return {} if added_keys or added_shapes else self._known

    def is_to_learn(self, form: bytes) -> bool:
        """Was it met before, and may it become known? Looking closely at each that comes once would cost more than it
        spares."""
        if len(form) > FORM_MAX:
            return False
        key = hash(form)
        may = self._glimpsed.get(key)
        if may is None:
            if len(self._glimpsed) >= GLIMPSED_MAX:
                self._glimpsed.clear()
            self._glimpsed[key] = True
            return False
        if may and _may_mark(form):
            may = self._glimpsed[key] = False
        return may

    def learn(self, form: bytes, *, is_bare: bool) -> None:
        """An event of this form was looked through, and held no secret."""
        if len(self._known) >= FORMS_MAX:
            self._known.clear()
        self._known[form] = is_bare
