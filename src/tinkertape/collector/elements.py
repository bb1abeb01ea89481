"""JSON cut into its parts without decoding it: the elements of an array, the members of an object, as they stand.

For bodies that no decoder takes as a whole: one event nested without end, a NaN, a number beyond all
bounds. Linear in the text, without recursion; what stands in an element is not looked at. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)  # a string that never ends is one
_QUOTE, _COMMA = ord('"'), ord(",")
_CLOSING = {ord("["): ord("]"), ord("{"): ord("}")}


def elements(text: bytes) -> Iterator[bytes]:
    """The elements of an array, or the members of an object with their keys. Raises `ValueError` where it is neither,
    or its brackets do not match."""
    open_until = bytearray()  # the closing brackets that are awaited
    begin = commas = 0
    for token in _TOKEN.finditer(text):
        place = token.start()
        char = text[place]
        if char == _QUOTE:
            continue
        if char == _COMMA:
            if len(open_until) == 1:
                yield text[begin:place]
                begin, commas = place + 1, commas + 1
        elif char in _CLOSING:
            if not open_until:
                _nothing_else(text[:place])
                begin = place + 1
            open_until.append(_CLOSING[char])
        else:
            if not open_until or open_until.pop() != char:
                raise ValueError("brackets do not match")
            if not open_until:
                if commas or text[begin:place].strip():
                    yield text[begin:place]
                _nothing_else(text[place + 1 :])
                return
    raise ValueError("a bracket is never closed")


def _nothing_else(text: bytes) -> None:
    if text.strip():
        raise ValueError("something stands beside it")


_KEY = re.compile(rb'\s*"((?:[^"\\]|\\.)*)"\s*:', re.DOTALL)


def members(text: bytes) -> dict[bytes, bytes]:
    """The members of an object: key as written to value as it stands. Raises `ValueError` as `elements` does."""
    found: dict[bytes, bytes] = {}
    if not text.lstrip().startswith(b"{"):
        raise ValueError("no object")
    for member in elements(text):
        key = _KEY.match(member)
        if key is None:
            raise ValueError("a member without a key")
        found[key[1]] = member[key.end() :].strip()
    return found
