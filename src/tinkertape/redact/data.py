"""Secrets in nested data: dicts, lists and tuples are walked, and what holds none stays the same object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinkertape.redact.forms import is_argument, is_secret_flag
from tinkertape.redact.keys import BY_VALUE, KEEP, NOT_COUNTS, PAIRED, RENAME, SECRET
from tinkertape.redact.shapes import MARK, looks_random
from tinkertape.redact.texts import CACHE_MAX, CACHED_CHARS, clean, redact_bytes, redact_text, verdict_on, verdicts

_NAMES = ("name", "key", "Name", "Key", "NAME", "KEY")
_KEYS_MAX = 64  # keys of a dict whose keys are remembered together
plain_keys: dict[tuple[Any, ...], None] = {}  # keys of dicts, no one of which says anything about its value
_USER_FLAGS = ("-u", "--user", "-U", "--proxy-user")


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
    keys = tuple(values)
    if keys in plain_keys or _are_plain(keys):  # events of one name have the same keys
        for value in values.values():
            kind = value.__class__
            if kind is int or kind is float or value is None or (kind is str and value in clean):
                continue
            if redact(value) is not value:
                break
        else:
            return values
    return _redact_pairs(values)


def _are_plain(keys: tuple[Any, ...]) -> bool:
    """Does no key say anything about its value? Remembered; no secret is, in a key, since such a one is renamed."""
    if len(keys) > _KEYS_MAX or any(verdict_on(key) != KEEP for key in keys):
        return False
    if all(len(key) <= CACHED_CHARS for key in keys if isinstance(key, str | bytes)):
        if len(plain_keys) >= CACHE_MAX:
            plain_keys.clear()
        plain_keys[keys] = None
    return True


def _redact_pairs(values: dict[Any, Any]) -> dict[Any, Any]:
    changed: dict[Any, Any] | None = None
    renamed = False
    for key, value in values.items():
        verdict = verdicts.get(key)
        if verdict is None:
            verdict = verdict_on(key)
        if verdict == KEEP:
            kind = value.__class__
            if kind is int or kind is float or value is None or (kind is str and value in clean):
                continue
            redacted = redact(value)
        else:
            redacted = _redact_value(verdict, value, values)
            renamed = renamed or verdict == RENAME
        if redacted is not value:
            if changed is None:
                changed = dict(values)
            changed[key] = redacted
    if renamed:
        return _renamed(changed or values)
    return values if changed is None else changed


def _redact_value(verdict: int, value: Any, siblings: dict[Any, Any]) -> Any:
    if verdict == SECRET:
        return MARK
    if verdict == NOT_COUNTS and not isinstance(value, int | float | None):
        return MARK
    if verdict == BY_VALUE and isinstance(value, str) and looks_random(value):
        return MARK
    if verdict == PAIRED and any(key in siblings and _names_secret(siblings[key]) for key in _NAMES):
        return MARK  # {"name": "x-api-key", "value": …}
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
    before = ""  # an option of a command, whose value comes next: ["--api-key", …]
    for place, value in enumerate(values):
        kind = value.__class__
        if kind is int or kind is float:
            before = ""
            continue
        if kind is dict and _redact_dict(value) is value:
            before = ""
            continue
        redacted = redact(value)
        if (kind is list or kind is tuple) and len(value) == 2 and _names_secret(value[0]):  # ("x-api-key", …)
            redacted = [redacted[0], MARK]
        if before:
            redacted = _redact_argument(before, value, redacted, values)
        before = value if kind is str and value[:1] == "-" else ""
        if redacted is not value:
            if changed is None:
                changed = list(values)
            changed[place] = redacted
    if changed is None:
        return values
    return changed if isinstance(values, list) else tuple(changed)


def _names_secret(name: Any) -> bool:
    return isinstance(name, str | bytes) and verdict_on(name) == SECRET


def _redact_argument(flag: str, value: Any, redacted: Any, values: list[Any] | tuple[Any, ...]) -> Any:
    if not isinstance(value, str) or not value:
        return redacted
    if is_secret_flag(flag) and is_argument(value):
        return MARK
    user, colon, password = value.partition(":")
    is_user = flag in _USER_FLAGS and colon and not password.isdigit()
    is_cookie = flag == "-b" and "=" in value
    if (is_user or is_cookie) and any(_is_curl(word) for word in values):
        return MARK if is_cookie else f"{user}:{MARK}"
    return redacted


def _is_curl(word: Any) -> bool:
    return isinstance(word, str) and word.endswith("curl")
