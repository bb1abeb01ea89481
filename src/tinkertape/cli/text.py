"""Text that came from elsewhere, made fit for a terminal.

A run's name, an error's message or a service's reason may hold escape codes that retitle a window, hide a line or
write into the clipboard. What is not plain text is shown as its escape (`\\x1b`), never sent. Source: Unicode
categories Cc, Cf, Cs, Co, Cn, Zl, Zp.
"""

from __future__ import annotations

import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def escaped(text: str) -> str:
    """The text on one line, every control, format, surrogate or unassigned character as its Python escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category not in HIDDEN:
        return " " if category == "Zs" else character  # narrow and no-break spaces: a terminal has one width
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(text: str, width: int) -> str:
    """Escaped, and cut with an ellipsis where it is wider than `width` characters."""
    shown = escaped(text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def json_escaped(document: str) -> str:
    """A JSON text with the same meaning in which nothing hides: such characters stand in its strings as `\\uXXXX`."""
    if document.isascii():
        return document.replace("\x7f", "\\u007f")
    return "".join(_json_shown(character) for character in document)


def _json_shown(character: str) -> str:
    if character == "\n" or unicodedata.category(character) not in HIDDEN:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
