"""The text of StatsD's lines. Whatever a program puts into names and tags, it is one line, with the fields we gave it.

    standard   prefix.name.GET.200:1|c                          the values of the tags, as segments of the name
    datadog    prefix.name:1|c|@0.1|#method:GET,status:200

What has a meaning to the protocol becomes `_` (facts/beam.md S15 BEAT): in names, the names of tags and segments
whatever a daemon would leave out (npm's takes letters, digits, `_`, `-` and `.`); in values of tags what ends a tag, a
field or a line, even for a receiver that splits at Unicode's ends of lines. A colon may stand in a value: it ends at a
comma (`url:http://x`). Numbers never have an exponent: not every daemon reads one, nor a rate with one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from tinkertape.errors import MetricError
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.statsd.options import Formatter, sampling_rate_of, type_of
from tinkertape.metrics.values import OVERFLOW

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.\-]")
_NOT_IN_SEGMENT = re.compile(r"[^A-Za-z0-9_\-]")
_NOT_IN_KEY = re.compile(r"[^\w./\-]")
_NOT_IN_VALUE = re.compile("[|,#@\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # half a character is none
_NO_LETTERS = re.compile(r"^[^A-Za-z]+")


class Line(NamedTuple):
    """What is sent as one, in UTF-8, and how many values it brings."""

    text: bytes
    values: int = 1


class Stream:
    """One series of one metric: what stands before and after a value. Told apart by identity."""

    __slots__ = ("head", "is_relative", "is_reset", "number", "tail", "used_s")

    def __init__(self, number: int, head: str, tail: str, *, is_relative: bool = False, is_reset: bool = False) -> None:
        self.number = number  # the metric's
        self.head, self.tail = head, tail
        self.is_relative = is_relative  # a sum: the gauge is changed by as much
        self.is_reset = is_reset  # a last value: a sign would make it a change
        self.used_s = 0.0

    def line(self, value: int | float) -> Line:
        """One value. A negative gauge is set to 0 first: to the standard dialect `-18` is a decrement (S6 BEAT)."""
        number = number_text(value)
        if self.is_relative:
            number = f"{'-' if value < 0 else '+'}{number_text(abs(value))}"
        elif self.is_reset and value < 0:
            return Line(f"{self.head}0{self.tail}\n{self.head}{number}{self.tail}".encode())
        return Line(f"{self.head}{number}{self.tail}".encode())

    def packed(self, values: Sequence[int | float], mtu: int) -> list[Line]:
        """Values as few lines, `name:1:2:3|d`, none longer than `mtu` if it need not be (DogStatsD, protocol v1.1)."""
        head, tail = self.head.encode(), self.tail.encode()
        lines: list[Line] = []
        texts: list[bytes] = []
        size = room = mtu - len(head) - len(tail) + 1
        for value in values:
            text = number_text(value).encode()
            if texts and len(text) >= size:
                lines.append(Line(head + b":".join(texts) + tail, len(texts)))
                texts, size = [], room
            texts.append(text)
            size -= len(text) + 1
        return [*lines, Line(head + b":".join(texts) + tail, len(texts))]


def stream_of(number: int, metric: Metric, tags: Tags, formatter: Formatter, prefix: str) -> Stream:
    """The series of the metric with this number and these tags. Raises `MetricError`: its name has no letter."""
    letters, rate = type_of(metric, formatter), sampling_rate_of(metric, formatter)
    tail = f"|{letters}" if rate == 1 else f"|{letters}|@{number_text(rate)}"
    name = name_text(metric.name, formatter, prefix)
    if formatter == "standard":
        segments = [segment_text(key if tags == OVERFLOW else value) for key, value in tags]
        is_sum = letters == "g" and metric.kind == "sum"
        is_last = metric.kind == "last_value"
        return Stream(number, f"{'.'.join([name, *segments])}:", tail, is_relative=is_sum, is_reset=is_last)
    if tags:
        tail += f"|#{','.join(tag_text(key, value) for key, value in tags)}"
    return Stream(number, f"{name}:", tail)


def name_text(name: str, formatter: Formatter, prefix: str = "") -> str:
    """The name with its prefix. Raises `MetricError`: a name of Datadog's begins with a letter, and this has none.

    What comes before it is left out: a name that begins with `_sc` would be a service check.
    """
    text = _NOT_IN_NAME.sub("_", f"{prefix}.{name}" if prefix else name)
    if formatter == "standard":
        return text
    text = _NO_LETTERS.sub("", text)
    if not text:
        raise MetricError(f"metric {name!r} has no letter that Datadog takes; choose another name, or a prefix")
    return text


def segment_text(value: str) -> str:
    """A tag's value as one segment of a name, which is never empty."""
    return _NOT_IN_SEGMENT.sub("_", value) or "_"


def tag_text(key: str, value: str) -> str:
    """A tag of Datadog's."""
    return f"{_NOT_IN_KEY.sub('_', key) or '_'}:{_NOT_IN_VALUE.sub('_', value)}"


def number_text(value: int | float) -> str:
    """The shortest text that is read back as the same number, without an exponent; 0 has no sign."""
    text = repr(value + 0)
    return format(Decimal(text), "f") if "e" in text else text
