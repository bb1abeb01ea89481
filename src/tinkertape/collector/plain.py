"""Lines that the engine may read by itself: alike, but for their digits and texts, to lines that were looked at here.

The *outline* of a line is what is left of it without digits and the letters that stand for digits, so that ids, times
and counts of any length have one. An outline is known once a line of it was an event, with the keys of an event, each
once, and values of their kinds; what the next one holds in these places is for the engine to judge
(`store/queries/pass_lines.sql`), which says so where it is not sure. Both read the same event from such a line
(tests/collector/test_plain.py), so that it is one event whichever of them reads it.

Bounded. Threads: one learns, another may lead.
"""

from __future__ import annotations

import re
from typing import IO, Any

import msgspec

from tinkertape.collector.elements import elements
from tinkertape.collector.intake import LEDGER_MARK, REJECTED_MARK
from tinkertape.tape.format import EventLine

OUTLINE_MAX = 16_384  # bytes of an outline that is remembered: one of a long traceback
KNOWN_MAX = 8_000_000  # bytes of all of them; then they are learnt anew
GLIMPSED_MAX = 8_192
# bytes; a tenth of a millisecond for each pass over them: whoever receives wants the interpreter, too
AT_ONCE = 262_144
BESIDE = (LEDGER_MARK, REJECTED_MARK, b'{"tape":')  # lines that are no events, and have no place among them

_DELETED = b"0123456789abcdef"
_OBJECTS = ("event_data", "measurements", "metadata", "scope")
_NUMBERS = ("event_session_index", "monotonic_ns")
_KINDS: dict[str, type] = {
    name: dict if name in _OBJECTS else int if name in _NUMBERS else str for name in EventLine.__struct_fields__
}
_HIDDEN = re.compile(rb"\\[u0-9a-f]")  # an escape that would lose its letter
_LOSES_LETTER = re.compile(rb"\\[bf]")  # a tenth of what it takes to replace them where there are none
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def outlines_of(lines: bytes) -> list[bytes]:
    """The outline of each of several lines."""
    if _LOSES_LETTER.search(lines):
        lines = lines.replace(rb"\b", rb"\B").replace(rb"\f", rb"\F")
    return lines.translate(None, _DELETED).split(b"\n")


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


_CREATES_SESSION = outlines_of(b'"tinker.session.create"')[0]


class Leading:
    """The first lines of a file that are plain, or no events."""

    def __init__(self) -> None:
        self.size = 0  # in bytes
        self.events = 0
        self.beside: list[tuple[int, bytes]] = []  # where those stand that are no events, from the first on, and what


class Plain:
    """The outlines that are known."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._known_bytes = 0
        self._glimpsed: set[int] = set()

    def lead(self, source: IO[bytes], target: IO[bytes], most: int) -> Leading:
        """Copy the first lines that are plain from file to file, without those among them that are no events; `most`
        bytes."""
        found = Leading()
        rest = b""
        while (left := most - found.size - len(rest)) > 0 and (piece := source.read(min(AT_ONCE, left))):
            lines, newline, rest = (rest + piece).rpartition(b"\n")
            if newline and not self._lead(lines, target, found):
                break
        return found

    def _lead(self, lines: bytes, target: IO[bytes], found: Leading) -> bool:
        """The same with some lines; are all of them plain, or no events?"""
        outlines = outlines_of(lines) if _is_utf8(lines) else []
        if outlines and self._known.issuperset(outlines):  # the usual case; what is no event has no known outline
            target.writelines((lines, b"\n"))
            found.size += len(lines) + 1
            found.events += len(outlines)
            return True
        for raw, outline in zip(lines.split(b"\n"), outlines, strict=False):
            if raw.startswith(BESIDE):
                found.beside.append((found.size, raw))
            elif outline in self._known:
                target.writelines((raw, b"\n"))
                found.events += 1
            else:
                return False
            found.size += len(raw) + 1
        return bool(outlines)

    def learn(self, raw: bytes) -> None:
        """A line was an event: those like it may be known from now on. Only what comes again is looked at closely."""
        outline = outlines_of(raw)[0]
        if len(outline) > OUTLINE_MAX or outline in self._known:
            return
        key = hash(outline)
        if key not in self._glimpsed:
            if len(self._glimpsed) >= GLIMPSED_MAX:
                self._glimpsed.clear()
            self._glimpsed.add(key)
        elif is_plain(raw, outline):
            if self._known_bytes > KNOWN_MAX:
                self._known.clear()
                self._known_bytes = 0
            self._known.add(outline)
            self._known_bytes += len(outline)


def is_plain(raw: bytes, outline: bytes) -> bool:
    """Does a line that is an event have nothing but an event's keys, each once, with values of their kinds?"""
    if _CREATES_SESSION in outline or _HIDDEN.search(raw.replace(rb"\\", b"")):
        return False
    found = _decode(raw)
    if "event_data" in found and "metadata" in found:
        return False
    if not all(
        text.isascii() for text in (found["event"], found.get("process", ""))
    ):  # the engine counts bytes in them
        return False
    if len(list(elements(raw))) != len(found):
        return False
    return all(name in _KINDS and type(value) is _KINDS[name] for name, value in found.items())
