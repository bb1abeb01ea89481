"""Text from a run, made safe to read: what a person cannot see is written out.

HTML is escaped by the templates; this is about the rest. A control character, a mark that turns the direction of
text, or half of a surrogate pair becomes `\\u202e`, so that it can neither reorder a line, nor break the page's
encoding, nor hide.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

LONGEST = 4_000  # characters of one text; a longer one is cut, and says so

_STEP_NUMBER = re.compile(r"(?<=\bstep) (?=\d)|(?<=\bsteps) (?=\d)")
_CODE = re.compile(r"“[^”]*”|`([^`]*)`")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The text with invisible characters written out, and cut at `LONGEST`; tab and line feed stay."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… ({len(text) - LONGEST} more characters)"
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def prose(text: str) -> Markup:
    """A sentence with its `code` between backticks as code elements; everything else is escaped.

    What stands “in quotation marks” is somebody else's, with its backticks; one without its partner is a backtick.
    """
    shown, cursor, out = visible(text), 0, Markup("")
    for found in _CODE.finditer(shown):
        if found[1] is not None:
            out += escape(shown[cursor : found.start()]) + Markup("<code>{}</code>").format(found[1])
            cursor = found.end()
    return out + escape(shown[cursor:])


def glued(text: str) -> str:
    """A sentence in which a line never ends between `step` and its number."""
    return _STEP_NUMBER.sub("\u00a0", text)


def breakable(name: str) -> Markup:
    """A name that may be broken after its underscores, so that none of it is cut."""
    return Markup("_<wbr>").join(escape(piece) for piece in visible(name).split("_"))


def visible_tree(value: Any) -> Any:
    """`visible` for every text in plain data, keys too."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(key)): visible_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [visible_tree(item) for item in value]
    return value
