"""Secrets inside a text: by their shape, and as the value of a `key: value` whose key is a secret's."""

from __future__ import annotations

import re
from typing import Any

from tinkertape.redact.forms import FORMS, HARMLESS, QUOTE, block_end, replaced
from tinkertape.redact.keys import BY_VALUE, KEEP, NOT_COUNTS, RENAME, SECRET, added_words, verdict_of, words_of
from tinkertape.redact.shapes import MARK, SHAPES, SHORTEST, added_shapes, any_of, looks_random

CACHE_MAX = 8192  # entries; a cache that is full begins anew
CACHED_CHARS = 120  # longer texts are rarely seen twice, but for
LONG_MAX, LONG_CHARS = 64, 16_000  # tracebacks: the same call fails again and again
_ROUNDS = 8

verdicts: dict[Any, int] = {}  # by key
clean: dict[str, None] = {}  # texts without a secret
clean_long: dict[str, None] = {}
harmless_forms: dict[bytes, None] = {}  # forms (see `form_of`) of texts that hold nothing to look at


def verdict_on(key: Any) -> int:
    """The verdict on a dict's key, remembered."""
    known = verdicts.get(key)
    if known is not None:
        return known
    if isinstance(key, bytes):
        key = key.decode("utf-8", "replace")
    if not isinstance(key, str):
        return KEEP
    found = verdict_of(key)
    if redact_text(key) != key:
        return RENAME  # not remembered: the cache must hold no secret
    if len(key) <= CACHED_CHARS:
        if len(verdicts) >= CACHE_MAX:
            verdicts.clear()
        verdicts[key] = found
    return found


def is_secret_key(key: str) -> bool:
    """Does a key of this name hold a secret, whatever its value?"""
    return verdict_on(key) == SECRET


PAIR_WORDS = (
    *("secret", "csrf", "xsrf", "passw", "passph", "passc", "_pass", "pwd", "credential", "auth", "cookie", "key"),
    *("token", "cf-access", "cf_access", "jwt", "bearer", "otp", "signature", "sessionid", "phpsessid"),
)
MARK_WORDS = (*PAIR_WORDS, *(trigger for shape in SHAPES for trigger in shape.triggers))
"""A text with none of these in it, in lower case or upper, holds no secret that a text is searched for."""
_TYPE = r"(?:str|bytes|SecretStr|Any|Final|ClassVar|Optional|Annotated)(?![\w\-])"  # in `password: str = '…'`
_PAIR = re.compile(
    rf"""(?<![\w.\-])(?P<key>(?:(?:api|access|private|secret|signing|auth)[ ])?[\w.\-]{{1,200}}+)  # a word once
        (?:(?P<quote>{QUOTE})(?:\](?=\s{{0,8}}[:=]))?)?\s{{0,8}}(?P<sign>:=?|[=\-]>|={{1,2}}|,)\s{{0,8}}
        (?:{_TYPE}[\w.\[\],\ |]{{0,60}}+=(?!=)\s{{0,8}})?""",
    re.VERBOSE | re.IGNORECASE,
)
_OPENS_PAIR = re.compile(r"[(\[]\s{0,8}[bB]?\\*[\"']\Z")  # what stands before the key in ('x-api-key', 'value')
_QUOTE = re.compile(rf"[bBrRuUfF]{{0,2}}(\\*(?:\"\"\"|''')|{QUOTE})")
_BARE = re.compile(r"(?:[^\s,;&\"'<>)}\]\\]|\\(?![nrt\"'\\]))+")
_LINE = re.compile(r"(?:=\\*\"[^\"\r\n]*\"|[^\r\n\"'\\]|\\(?![nr\"'\\]))+")
# what a source line has in a secret's place, and is none: a call, something out of a dict, a type, a name filled in
_CALL = re.compile(r"[A-Za-z_.]{1,80}+\((?=[^\n()]{0,200}+\)(?![^\s,;)}\]\"']))(?:[a-z_]{1,40}+=(?!=))?")
_CODE = re.compile(
    rf"""[A-Za-z_.]{{1,80}}+\[(?:{QUOTE}[\w.\-]{{1,80}}+{QUOTE}\]|{_TYPE})
        |{_TYPE}(?=[ ][|=])|[A-Za-z_.]{{1,80}}+(?=[ ]\|[ ]None)""",
    re.VERBOSE,
)
_FILLED_IN = re.compile(r"(?:(?i:bearer|basic|token) )?(?:\$?\{[A-Za-z_][\w.]*\}|\$[A-Z_]{3,}|%s)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.]*")
_BRACKET = re.compile(r"[(\[{)\]}]")
_MAY_HOLD_PAIR = re.compile(r"[:=, %<]")


def _pair_span(match: re.Match[str]) -> tuple[int, int] | None:
    """Where the value of a `key: value`, `key=value` or `('key', 'value')` is, if its key is a secret's."""
    text = match.string
    verdict = _text_verdict(text, match)
    if verdict not in (SECRET, BY_VALUE, NOT_COUNTS):
        return None
    call = _CALL.match(text, match.end())
    begin, end = _value_span(text, match, call.end() if call else match.end())
    value = text[begin:end]
    if not value or value in HARMLESS or _FILLED_IN.fullmatch(value) or _is_code(match, call, begin, value):
        return None
    return (begin, end) if verdict == SECRET or value[0] in "([{" or looks_random(value) else None


def _is_code(match: re.Match[str], call: re.Match[str] | None, begin: int, value: str) -> bool:
    """Has a source line this in a secret's place, as in `getpass()`, `form['password']`, `self.api_key`?"""
    is_quoted = begin > (call or match).end()
    if is_quoted and not call:
        return False
    if (call and call[0] in HARMLESS) or _CODE.match(match.string, begin) or _names(value, match["key"]):
        return True
    if is_quoted or looks_random(value):
        return False
    return _NAME.fullmatch(value) is not None if call else match["sign"] == "," and value[0].isalpha()


def _names(value: str, key: str) -> bool:
    """Is the value a name that says the same as the key: `api_key=self.api_key`, `password: Password`?"""
    if not _NAME.fullmatch(value):
        return False
    said, name = words_of(value), words_of(key)
    last = min(len(said), len(name), 2)
    return last > 0 and said[-last:] == name[-last:]


def _text_verdict(text: str, match: re.Match[str]) -> int:
    start = match.start()
    if match["sign"] == "," and not (match["quote"] and _OPENS_PAIR.search(text, max(0, start - 20), start)):
        return KEEP
    key = match["key"]
    verdict = verdict_on(key)
    if verdict == KEEP and key[0] in "nrt" and text[start - 1 : start] == "\\":
        return verdict_on(key[1:])  # after the escape "\n"
    return verdict


def _value_span(text: str, match: re.Match[str], start: int) -> tuple[int, int]:
    """Where the value after a key begins and ends, quotes left outside; an unfinished one ends with the text."""
    quote = _QUOTE.match(text, start)
    if quote:
        return quote.end(), _closing_quote(text, quote.end(), quote[1])
    if text[start : start + 1] in ("(", "[", "{"):
        return start, _closing_bracket(text, start)
    block = block_end(text, start, match.start()) if text[start : start + 1] in ("|", ">") else None
    if block is not None:
        return start, block
    is_header = start == match.end() and any(
        word.endswith(("authorization", "cookie")) for word in words_of(match["key"])
    )
    value = (_LINE if is_header else _BARE).match(text, start)
    return (start, value.end()) if value else (start, start)


def _closing_quote(text: str, begin: int, quote: str) -> int:
    """The place of the closing quote, of the same escaping, or else the line's end: in a traceback's source line
    (`"api_key=" + word`) what looks like an opening quote was a closing one, and the next line is another matter.
    """
    end = text.find("\n", begin)
    end = len(text) if end < 0 else end
    place = text.find(quote, begin, end)
    while place > begin and text[place - 1] == "\\":
        place = text.find(quote, place + 1, end)
    return end if place < 0 else place


def _closing_bracket(text: str, start: int) -> int:
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


_TO_FORM = bytes.maketrans(b"123456789abcdef", b"0" * 15)


def form_of(text: str) -> bytes:
    """The text with its digits, and the letters that stand for digits, all alike: ids of one kind have one form.

    What marks a secret, in the form too, is looked for there: a form without any such mark is that of texts without.
    """
    return text.encode().translate(_TO_FORM)


_MARKS = re.compile(any_of(form_of(trigger).decode() for shape in SHAPES for trigger in shape.triggers).encode())
_PAIR_MARKS = re.compile(any_of(form_of(word).decode() for word in PAIR_WORDS).encode())
_MAY_HOLD_PAIR_FORM = re.compile(form_of(_MAY_HOLD_PAIR.pattern))


def _is_harmless(form: bytes) -> bool:
    """Is there no mark of a secret in the form? Remembered."""
    if _MARKS.search(form):
        return False
    if _MAY_HOLD_PAIR_FORM.search(form) and _PAIR_MARKS.search(form.lower().translate(_TO_FORM)):
        return False
    if len(harmless_forms) >= CACHE_MAX:
        harmless_forms.clear()
    harmless_forms[form] = None
    return True


TRIGGER = re.compile(any_of(trigger for shape in SHAPES for trigger in shape.triggers))


def redact_text(text: str) -> str:
    """The text with every secret in it replaced by the mark; the same object if there is none."""
    if len(text) < SHORTEST or text in clean:
        return text
    if len(text) > CACHED_CHARS:
        return text if text in clean_long else _redact_and_keep(text, clean_long, LONG_MAX)
    if text.isascii() and not added_shapes and not added_words:
        form = text.encode().translate(_TO_FORM)
        if form in harmless_forms or _is_harmless(form):
            return text
    return _redact_and_keep(text, clean, CACHE_MAX)


def _redact_and_keep(text: str, known: dict[str, None], most: int) -> str:
    added = len(added_shapes), len(added_words)
    redacted = _redact_fully(text)
    if redacted is text and len(text) <= LONG_CHARS:
        if len(known) >= most:
            known.clear()
        known[text] = None
        if added != (len(added_shapes), len(added_words)):  # meanwhile: it was searched for less
            known.pop(text, None)
    return redacted


def _redact_fully(text: str) -> str:
    redacted = _redact_once(text)
    if redacted == text:
        return text
    for _ in range(_ROUNDS):  # a mark may lay bare what stood glued to a secret
        before, redacted = redacted, _redact_once(redacted)
        if redacted == before:
            break
    return redacted


def _redact_once(text: str) -> str:
    redacted = text
    triggers = set(TRIGGER.findall(text))
    if triggers:
        for shape in SHAPES:
            if not triggers.isdisjoint(shape.triggers):
                redacted = shape.pattern.sub(shape.replacement, redacted)
    for pattern in added_shapes:
        redacted = pattern.sub(MARK, redacted)
    if _MAY_HOLD_PAIR.search(text):
        lower = text.lower()
        if any(word in lower for word in PAIR_WORDS) or any(word in lower for word in added_words):
            redacted = replaced(redacted, _PAIR, _pair_span)
            for form in FORMS:
                if form.trigger in lower:
                    redacted = replaced(redacted, form.pattern, form.span)
    return redacted


def redact_bytes(raw: bytes) -> str:
    """Bytes as a redacted text: JSON has no bytes, and base64 would only hide a secret from the eye."""
    return redact_text(raw.decode("utf-8", "backslashreplace"))
