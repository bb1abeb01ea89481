"""Lines as packets: joined by newlines, in their order, each packet as full as it can be (facts/beam.md S27-S29)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tinkertape.metrics.statsd.lines import Line


class Packet(NamedTuple):
    """One datagram, and how many values it brings."""

    text: bytes
    values: int


def pack(lines: Iterable[Line], mtu: int, too_long: Callable[[Line], object]) -> Iterator[Packet]:
    """Packets of at most `mtu` bytes; a line that is longer is given to `too_long`, and the rest goes on (S30 BEAT)."""
    texts: list[bytes] = []
    size = values = 0
    for line in lines:
        length = len(line.text)
        if length > mtu:
            too_long(line)
            continue
        if texts and size + 1 + length > mtu:
            yield Packet(b"\n".join(texts), values)
            texts, size, values = [], 0, 0
        size += length + (1 if texts else 0)
        texts.append(line.text)
        values += line.values
    if texts:
        yield Packet(b"\n".join(texts), values)
