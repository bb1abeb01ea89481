"""What a collector refused of a segment: `<process>-<segment>.refused` beside it, a JSON line each, only appended to.

A line has `end`, the plain offset at which the event's line ends, by which the event is known; `collector`; the event's
index and name; `status` and `said`, the collector's reason. It is written before the acknowledgement that passes over
the event: a kill in between leaves a line twice, which is the same event still. What one collector refused counts as
rejected while the acknowledgement beside it is that collector's; another may have taken it. No thread, no lock: whoever
delivers a segment holds it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from tinkertape.config import open_private
from tinkertape.tape.marks import mark_path, read_mark
from tinkertape.wire import UNREADABLE


class Refused(msgspec.Struct, frozen=True):
    """One event that a collector did not take, and why."""

    end: int
    collector: str = ""
    index: int = -1
    event_name: str = ""
    status: int = 0
    said: str = ""

    @property
    def reason(self) -> str:
        return f"HTTP {self.status}{f': {self.said}' if self.said else ''}"


_decode = msgspec.json.Decoder(Refused).decode


def write_refused(segment: Path, refused: Iterable[Refused]) -> None:
    """Add to what a collector refused of a segment. Raises `OSError`."""
    lines = b"".join(b"\n" + msgspec.json.encode(each) for each in refused)  # a torn line of before ends here
    if not lines:
        return
    file = open_private(mark_path(segment, "refused"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, lines + b"\n")
    finally:
        os.close(file)


def refused_in(segment: Path) -> Mapping[int, Refused]:
    """What the collector that a segment is delivered to refused of it, by where its lines end."""
    try:
        lines = mark_path(segment, "refused").read_bytes().splitlines()
    except OSError:
        return {}
    collector = read_mark(mark_path(segment, "ack")).get("collector")
    found = {}
    for line in filter(None, lines):
        try:
            refused = _decode(line)
        except UNREADABLE:
            continue  # torn, or damaged
        if refused.collector == collector:
            found[refused.end] = refused
    return found
