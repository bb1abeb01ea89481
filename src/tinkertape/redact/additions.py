"""What else is a secret here: keys and shapes of your own, and e-mail addresses.

Threads  any; what is added holds for what is redacted afterwards. Nothing can be taken away again, but by `forget`.
Fork     a child has what its parent had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinkertape.errors import ConfigError
from tinkertape.redact import data, keys, known, shapes, texts

EMAIL = re.compile(r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{1,64}+@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}")


def add(*, secret_keys: Sequence[str] = (), secret_shapes: Sequence[str] = (), emails: bool = False) -> None:
    """Take out more than is taken out anyway, in this process and from now on; call it before `start`.

    `secret_keys` name keys whose value is a secret, whatever it is: in any spelling ("corp_pin" is `corpPin` and
    `CORP-PIN` too), with `*` for any words. `secret_shapes` are regular expressions: what matches is replaced, in texts
    of 8 characters or more; each runs over every text, so that one which backtracks slows down the writing of the tape.
    `emails` takes out e-mail addresses. Raises `ConfigError` for a key without a letter and for a pattern that is none.
    """
    new_keys = [_key_pattern(key) for key in secret_keys]
    new_shapes = [_shape(shape) for shape in secret_shapes]
    if emails and EMAIL not in shapes.added_shapes:
        new_shapes.append(EMAIL)
    shapes.added_shapes.extend(new_shapes)
    keys.added_keys.extend(pattern for _, pattern in new_keys)
    keys.added_words.extend(word for word, _ in new_keys)
    _forget_verdicts()


def forget() -> None:
    """Only what is always a secret is one again."""
    for added in (shapes.added_shapes, keys.added_keys, keys.added_words):
        added.clear()
    _forget_verdicts()


def _forget_verdicts() -> None:
    for cache in (texts.verdicts, texts.clean, texts.clean_long, data.plain_keys):
        cache.clear()
    known.forget()


def _key_pattern(key: str) -> tuple[str, re.Pattern[str]]:
    words = [keys.words_of(part) for part in key.split("*")]
    longest = max((word for part in words for word in part), key=len, default="")
    if not longest:
        raise ConfigError(
            f"cannot redact by the key {key!r}: it has no word; name the key, as in 'corp_pin' or '*_pin'"
        )
    pattern = ".*".join("-?".join(map(re.escape, part)) for part in words)
    return longest, re.compile(pattern)


def _shape(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"cannot redact by the shape {pattern!r}: no regular expression ({error})") from error
    if compiled.search(""):
        raise ConfigError(f"cannot redact by the shape {pattern!r}: it matches the empty text")
    return compiled
