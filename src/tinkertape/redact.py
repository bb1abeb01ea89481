"""Secrets, taken out before anything is written.

A value is a secret by its key (`x-api-key`, `authorization`, `cf-access-*`, cookies, `*secret*`, `*password*`, …: then
it is replaced whatever its type) or by its shape (`tml-…`, `sk-…`, a JWT, a bearer, a password in a URL, a private key,
a cloud key). Both are looked for in nested data, in keys, and inside text: exception messages, tracebacks, `repr`s of
headers, query strings, JSON in a string. Counting words stay: `max_tokens`, `token_count`, `session_id`.

The mark never echoes what it replaced. Redacting twice changes nothing. Every scan is linear in the text: no pattern
here can be made to backtrack by hostile data. The caches hold only keys and texts in which nothing was found, and are
bounded; whatever thread calls, their worst race is a value worked out twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MARK = "[redacted]"
_CACHE_MAX = 8192  # entries; a cache that is full begins anew
_CACHED_CHARS = 120  # longer texts are rarely seen twice
_SHORTEST = 8  # characters: nothing shorter can hold a secret together with what marks it as one
_KEY_CHARS = 200
_ROUNDS = 8

_KEEP, _SECRET, _BY_VALUE, _NOT_COUNTS, _PAIRED, _RENAME = range(6)


def _set_of(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


# --- by key ---------------------------------------------------------------------------------------------------------

_SECRET_PARTS = (
    "secret", "password", "passwd", "passphrase", "passcode", "credential", "authorization", "authorisation", "apikey",
    "accesskey", "privatekey", "cfaccess", "csrftoken", "xsrftoken", "authtoken", "accesstoken", "refreshtoken",
    "xamzsignature", "xgoogsignature",
)  # fmt: skip
_SECRET_ENDS = ("cookie", "cookies")
_SECRET_WORDS = frozenset({"pwd", "passkey", "authkey", "otp", "totp"})
_KEYS_OF = _set_of(
    "account api auth consumer decryption deploy encryption hmac license master private secret service shared signing",
    "ssh storage subscription",
)
_TOKEN_OF = _set_of(
    "access admin api auth bearer bot client csrf deploy device github gh gitlab hf hub huggingface id jwt login npm",
    "oauth oauth2 personal private pypi refresh root sas secret security service session signing slack tinker user",
    "vault wandb webhook xsrf",
)
_TOKENS_OF = _set_of("access api auth bearer csrf oauth refresh")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[^a-z0-9]+")


def _words(key: str) -> list[str]:
    return [word for word in _NO_WORD.split(_CAMEL.sub("_", key[-_KEY_CHARS:]).lower()) if word]


def _verdict_of(key: str) -> int:
    """What a key says about its value; the words decide, so that `apiKey`, `API-KEY` and `my.api_key` are one."""
    words = _words(key)
    if not words or key in ("PWD", "OLDPWD"):  # the shell's working folder
        return _KEEP
    flat, last, before = "".join(words), words[-1], words[-2] if len(words) > 1 else ""
    if (
        any(part in flat for part in _SECRET_PARTS)
        or flat.endswith(_SECRET_ENDS)
        or not _SECRET_WORDS.isdisjoint(words)
    ):
        return _SECRET
    if (last == "key" and before in _KEYS_OF) or (last == "token" and before in _TOKEN_OF):
        return _SECRET
    if last == "tokens" and before in _TOKENS_OF:
        return _NOT_COUNTS
    if last in ("auth", "jwt", "bearer"):
        return _NOT_COUNTS
    if flat in ("token", "sig", "signature"):
        return _BY_VALUE
    return _PAIRED if flat == "value" else _KEEP


_verdicts: dict[Any, int] = {}


def _verdict(key: Any) -> int:
    """The verdict on a dict's key, remembered."""
    known = _verdicts.get(key)
    if known is not None:
        return known
    if isinstance(key, bytes):
        key = key.decode("utf-8", "replace")
    if not isinstance(key, str):
        return _KEEP
    verdict = _verdict_of(key)
    if redact_text(key) != key:
        return _RENAME  # not remembered: the cache must hold no secret
    if len(key) <= _CACHED_CHARS:
        if len(_verdicts) >= _CACHE_MAX:
            _verdicts.clear()
        _verdicts[key] = verdict
    return verdict


def is_secret_key(key: str) -> bool:
    """Does a key of this name hold a secret, whatever its value?"""
    return _verdict(key) == _SECRET


def _looks_random(text: str) -> bool:
    """Could a person not have meant this as a word? Letters and digits mixed, or long and without a break."""
    if len(text) < _SHORTEST or any(character.isspace() for character in text):
        return False
    digits = any(character.isdigit() for character in text)
    letters = any(character.isalpha() for character in text)
    mixed = not text.islower() and not text.isupper() and not text.istitle()
    if letters and (digits or mixed):
        return True
    return len(text) >= (16 if text.isalpha() else 32)


# --- by shape -------------------------------------------------------------------------------------------------------

# where a key may begin: not inside a word, unless the word's end is an escape ("\n", "%3D", "\u0022")
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtabfv0])|(?<=%[0-9A-Fa-f]{2})|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"


class Shape(NamedTuple):
    """A secret's shape: texts with one of `triggers` are searched for `pattern`."""

    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str] = MARK


def _scheme(match: re.Match[str]) -> str:
    return f"{match[1]}{MARK}" if _looks_random(match[2]) else match[0]


def _user(match: re.Match[str]) -> str:
    return f"://{MARK}@" if ":" in match[1] or _looks_random(match[1]) else match[0]


def _prefixed(*prefixes: str, least: int) -> Shape:
    names = "|".join(re.escape(prefix) for prefix in prefixes)
    return Shape(prefixes, re.compile(rf"{_START}(?:{names})[A-Za-z0-9_\-]{{{least},}}"))


SHAPES: tuple[Shape, ...] = (
    Shape(
        ("-----BEGIN",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----|\Z)", re.S
        ),
    ),
    _prefixed("tml-", least=4),
    Shape(
        ("sk-",),
        re.compile(_START + r"sk-(?:[A-Za-z0-9_\-]{20,}|(?=[A-Za-z_\-]{0,20}\d)[A-Za-z0-9_\-]{8,})"),
    ),
    Shape(("eyJ",), re.compile(_START + r"eyJ[A-Za-z0-9_\-]{8,}[A-Za-z0-9_.\-+/=]*")),
    _prefixed("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "npm_", "gsk_", "r8_", "dop_v1_", least=20),
    _prefixed(
        "sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_", "glpat-", "xai-", "nvapi-", "pypi-AgE", least=10
    ),
    _prefixed("xoxb-", "xoxa-", "xoxp-", "xoxr-", "xoxs-", "xoxe-", "xapp-", least=8),
    _prefixed("AIza", "ya29.", least=30),
    Shape(("SG.",), re.compile(_START + r"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}")),
    Shape(
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        re.compile(_START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])"),
    ),
    Shape(
        ("earer ", "EARER "),
        re.compile(r"(?i)((?<![a-z0-9])bearer\s{1,4}(?:token\s{1,4})?)([A-Za-z0-9._~+/=\-]{6,})"),
        _scheme,
    ),
    Shape(
        ("asic ", "ASIC "),
        re.compile(r"(?i)((?<![a-z0-9])basic\s{1,4})([A-Za-z0-9+/]{6,}={0,2})"),
        _scheme,
    ),
    Shape(("://",), re.compile(r"://([^\s/?#'\"<>\\]+)@"), _user),
    Shape(("ig=", "IG=", "ignature="), re.compile(r"(?i)([?&](?:sig|signature)=)([^\s&#'\"<>\\]{6,})"), _scheme),
)

# --- key and value inside a text ------------------------------------------------------------------------------------

_PAIR_WORDS = re.compile(
    "secret|passw|passph|passc|pwd|credential|auth|cookie|key|token|cf-access|cf_access|jwt|bearer|otp|signature"
)
_PAIR = re.compile(
    r"""(?<![\w.\-])(?P<key>(?:(?:api|access|private|secret|signing|auth)[ ])?[\w.\-]{1,200}+)  # a word is tried once
        (?P<quote>\\*["'])?\s{0,8}(?P<sign>:|=>|={1,2}|,)\s{0,8}""",
    re.VERBOSE | re.IGNORECASE,
)
_OPENS_PAIR = re.compile(r"[(\[]\s{0,8}[bB]?\\*[\"']\Z")  # what stands before the key in ('x-api-key', 'value')
_QUOTE = re.compile(r"[bBrRuUfF]{0,2}(\\*(?:\"\"\"|'''|[\"']))")
_BARE = re.compile(r"(?:[^\s,;&\"'<>)}\]\\]|\\(?![nrt\"'\\]))+")
_LINE = re.compile(r"(?:[^\r\n\"'\\]|=\\*\"[^\"\r\n]*\"|\\(?![nr\"'\\]))+")
_BRACKET = re.compile(r"[(\[{)\]}]")
_HARMLESS = frozenset({"None", "null", "True", "true", "False", "false", "..."})


def _redact_pairs(text: str) -> str:
    """Replace the value of every `key: value`, `key=value` or `('key', 'value')` whose key is a secret's."""
    parts: list[str] = []
    done = 0
    for match in _PAIR.finditer(text):
        if match.start() < done:
            continue
        verdict = _text_verdict(text, match)
        if verdict not in (_SECRET, _BY_VALUE, _NOT_COUNTS):
            continue
        begin, end = _value_span(text, match)
        value = text[begin:end]
        if not value or value in _HARMLESS:
            continue
        if verdict == _SECRET or value[0] in "([{" or _looks_random(value):
            parts += text[done:begin], MARK
            done = end
    return "".join(parts) + text[done:] if parts else text


def _text_verdict(text: str, match: re.Match[str]) -> int:
    start = match.start()
    if match["sign"] == "," and not (match["quote"] and _OPENS_PAIR.search(text, max(0, start - 20), start)):
        return _KEEP
    key = match["key"]
    verdict = _verdict(key)
    if verdict == _KEEP and key[0] in "nrt" and text[start - 1 : start] == "\\":
        return _verdict(key[1:])  # after the escape "\n"
    return verdict


def _value_span(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Where the value after a key begins and ends, quotes left outside; an unfinished one ends with the text."""
    start = match.end()
    quote = _QUOTE.match(text, start)
    if quote:
        return quote.end(), _closing_quote(text, quote.end(), quote[1])
    if text[start : start + 1] in ("(", "[", "{"):
        return start, _closing_bracket(text, start)
    is_header = any(word.endswith(("authorization", "cookie")) for word in _words(match["key"]))
    value = (_LINE if is_header else _BARE).match(text, start)
    return (start, value.end()) if value else (start, start)


def _closing_quote(text: str, begin: int, quote: str) -> int:
    """The place of the closing quote: of the same escaping, so that an escaped quote inside does not end the value."""
    place = text.find(quote, begin)
    while place > begin and text[place - 1] == "\\":
        place = text.find(quote, place + 1)
    return len(text) if place < 0 else place


def _closing_bracket(text: str, start: int) -> int:
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


# --- text -----------------------------------------------------------------------------------------------------------

_ANY_SHAPE = re.compile("|".join(re.escape(trigger) for shape in SHAPES for trigger in shape.triggers))
_clean: dict[str, None] = {}


def redact_text(text: str) -> str:
    """The text with every secret in it replaced by the mark; the same object if there is none."""
    if len(text) < _SHORTEST or text in _clean:
        return text
    redacted = _redact_once(text)
    if redacted != text:
        for _ in range(_ROUNDS):  # a mark may lay bare what stood glued to a secret
            before, redacted = redacted, _redact_once(redacted)
            if redacted == before:
                break
        return redacted
    if len(text) <= _CACHED_CHARS:
        if len(_clean) >= _CACHE_MAX:
            _clean.clear()
        _clean[text] = None
    return text


def _redact_once(text: str) -> str:
    redacted = text
    if _ANY_SHAPE.search(text):
        for shape in SHAPES:
            if any(trigger in redacted for trigger in shape.triggers):
                redacted = shape.pattern.sub(shape.replacement, redacted)
    if (":" in text or "=" in text or "', " in text or '", ' in text) and _PAIR_WORDS.search(text.lower()):
        redacted = _redact_pairs(redacted)
    return redacted


def redact_bytes(raw: bytes) -> str:
    """Bytes as a redacted text: JSON has no bytes, and base64 would only hide a secret from the eye."""
    return redact_text(raw.decode("utf-8", "backslashreplace"))


# --- nested data ----------------------------------------------------------------------------------------------------


def redact(value: Any) -> Any:
    """JSON-like data with every secret replaced; what holds none comes back as the same object.

    Dicts, lists and tuples are walked, nothing is changed in place; bytes become text. Raises `RecursionError` for data
    nested hundreds deep, which `tape.format.safe_json` flattens first. Pure, but for bounded caches; any thread.
    """
    kind = value.__class__
    if kind is str:
        return redact_text(value)
    if kind is dict:
        return _redact_dict(value)
    if kind is list or kind is tuple:
        return _redact_list(value)
    if kind is bytes or kind is bytearray:
        return redact_bytes(bytes(value))
    if isinstance(value, Mapping):
        return _redact_dict(dict(value))
    return value


def _redact_dict(values: dict[Any, Any]) -> dict[Any, Any]:
    changed: dict[Any, Any] | None = None
    renamed = False
    for key, value in values.items():
        verdict = _verdicts.get(key)
        if verdict is None:
            verdict = _verdict(key)
        if verdict == _KEEP:
            kind = value.__class__
            if kind is int or kind is float or value is None or (kind is str and value in _clean):
                continue
            redacted = redact(value)
        else:
            redacted = _redact_value(verdict, value, values)
            renamed = renamed or verdict == _RENAME
        if redacted is not value:
            if changed is None:
                changed = dict(values)
            changed[key] = redacted
    if renamed:
        return _renamed(changed or values)
    return values if changed is None else changed


def _redact_value(verdict: int, value: Any, siblings: dict[Any, Any]) -> Any:
    if verdict == _SECRET:
        return MARK
    if verdict == _NOT_COUNTS and not isinstance(value, int | float | None):
        return MARK
    if verdict == _BY_VALUE and isinstance(value, str) and _looks_random(value):
        return MARK
    if verdict == _PAIRED:  # {"name": "x-api-key", "value": …}
        name = siblings.get("name", siblings.get("key"))
        if isinstance(name, str) and _verdict(name) == _SECRET:
            return MARK
    return redact(value)


def _renamed(values: dict[Any, Any]) -> dict[Any, Any]:
    """The same with its keys redacted; two that become alike keep both values."""
    renamed: dict[Any, Any] = {}
    for key, value in values.items():
        new = name = redact_text(key) if isinstance(key, str) else redact_bytes(key) if isinstance(key, bytes) else key
        number = 2
        while new in renamed:
            new, number = f"{name} ({number})", number + 1
        renamed[new] = value
    return renamed


def _redact_list(values: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    changed: list[Any] | None = None
    for place, value in enumerate(values):
        kind = value.__class__
        if kind is int or kind is float:
            continue
        redacted = redact(value)
        if (kind is list or kind is tuple) and len(value) == 2 and _names_secret(value[0]):  # ("x-api-key", …)
            redacted = [redacted[0], MARK]
        if redacted is not value:
            if changed is None:
                changed = list(values)
            changed[place] = redacted
    if changed is None:
        return values
    return changed if isinstance(values, list) else tuple(changed)


def _names_secret(name: Any) -> bool:
    return isinstance(name, str | bytes) and _verdict(name) == _SECRET
