"""Events that look like ones in which nothing was found, and need not be looked through again.

A program executes the same few kinds of events all day: alike but for their ids, times and counts. The *form* of a text
is what is left of it without digits and the letters that stand for digits: ids and numbers of any length have the same.
The form of an event is that of its JSON. It is known, with the event's keys, once an event of it was found to hold no
secret and no other event of it can: then one look-up stands for the search.

Why none can (tests/tape/test_snapshot.py has every secret of the corpus beside what has its form):
- quotes, brackets and commas are no part of a digit, so that two events of one form have a text where the other has
  one; no text of them has an escape, and no dict is inside another;
- their keys are the same, letter by letter, and say nothing about their values;
- a secret in a text needs one of the marks of `shapes` or of `texts`, and what is left of the mark would be there.

Nothing is known where a user has added rules. Bounded; any thread: the worst of a race is an event looked through once
more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tinkertape.redact.keys import KEEP, added_keys
from tinkertape.redact.shapes import SHAPES, START, added_shapes, any_of
from tinkertape.redact.texts import PAIR_WORDS, verdict_on

Scalar = str | int | float | bool | None
Flat = Scalar | list[Scalar]

HEX = b"0123456789abcdef"
FORM_MAX = 4_096  # bytes of an event's form that is remembered
FORMS_MAX = 1_024  # forms; a table that is full begins anew
MET_MAX = 8_192

known: dict[bytes, tuple[str, ...]] = {}  # by form: the keys of its events
_met: dict[int, bool] = {}  # hash of a form that was met: may it become known?


def form_of(encoded: bytes) -> bytes:
    """What is left of a text without digits and the letters that stand for digits."""
    return encoded.translate(None, HEX)


def _marks(*, anchored: bool) -> str:
    triggers = [
        word for shape in SHAPES if shape.pattern.pattern.startswith(START) is anchored for word in shape.triggers
    ]
    return any_of(form_of(trigger.encode()).decode() for trigger in triggers)


# a shape that begins at a word's beginning only: a letter before its mark is one before the secret, too
_MARKS = re.compile(f"(?<![A-Za-z0-9])(?:{_marks(anchored=True)})|{_marks(anchored=False)}".encode())
_MAY_HOLD_PAIR = re.compile(rb"[:=, <]")
_PAIR_MARKS = re.compile(any_of(form_of(word.encode()).decode() for word in PAIR_WORDS).encode())
_HIDING = re.compile(rb"[\\%]")  # escapes; what is encoded by "%"
_OPTION = re.compile(rb"-+[^-]")  # in a list, the next value may be its argument


def learn(form: bytes, keys: tuple[str, ...], values: Iterable[Flat]) -> None:
    """An event of this form was looked through, and held no secret: the next ones need not be, if none can.

    It is looked at closely when it comes for the second time: with each that comes once it would cost more than it
    spares.
    """
    key = hash(form)
    may = _met.get(key)
    if may and not _is_plain(form, keys, values):
        may = _met[key] = False
    if may:
        if len(known) >= FORMS_MAX:
            known.clear()
        known[form] = keys
        if added_keys or added_shapes:  # meanwhile
            known.pop(form, None)
    elif may is None:
        if len(_met) >= MET_MAX:
            _met.clear()
        _met[key] = True


def forget() -> None:
    """Nothing is known any more."""
    known.clear()
    _met.clear()


def _is_plain(form: bytes, keys: tuple[str, ...], values: Iterable[Flat]) -> bool:
    """Can no event of this form hold a secret?"""
    if added_keys or added_shapes or len(form) > FORM_MAX or not form.isascii() or _HIDING.search(form):
        return False
    return all(verdict_on(key) == KEEP for key in keys) and all(map(_holds_none, values))


def _holds_none(value: Flat) -> bool:
    if isinstance(value, list):
        return all(_holds_none(item) and not (isinstance(item, str) and _opens(item)) for item in value)
    return not isinstance(value, str) or _is_harmless(form_of(value.encode()))


def _opens(item: str) -> bool:
    return bool(_OPTION.match(form_of(item.encode())))


def _is_harmless(form: bytes) -> bool:
    """Is there no mark of a secret in what is left of a text?"""
    if _MARKS.search(form):
        return False
    return not (_MAY_HOLD_PAIR.search(form) and _PAIR_MARKS.search(form_of(form.lower())))
