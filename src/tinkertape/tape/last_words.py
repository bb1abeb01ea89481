"""What a process said last, and what was removed of its tape for lack of room since: for whoever was told before, and
would wait for events that are no more. No thread, no lock.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tinkertape.tape.format import End, Header
from tinkertape.tape.forms import segment_files
from tinkertape.tape.headers import header_of_place
from tinkertape.tape.removal import SPACE, Removed, process_of, removed_in
from tinkertape.tape.tape import header_of, last_end


class LastWords(msgspec.Struct, frozen=True):
    """Who records, and its last end line, with everything counted in it that was removed, which is `space`."""

    header: Header
    end: End

    @property
    def space(self) -> int:
        return self.end.dropped[SPACE]


def last_words(folder: Path) -> dict[str, LastWords]:
    """Of each process of which something was removed. Without an end line it says what is known to have been recorded.

    Raises `OSError`, `TapeError`.
    """
    removed = removed_in(folder)
    segments = sorted({*segment_files(folder), *removed}) if removed else []
    return {
        process: _last_words({each: removed.get(each) for each in segments if process_of(each) == process})
        for process in sorted({process_of(segment) for segment in removed})
    }


def _last_words(segments: dict[Path, Removed | None]) -> LastWords:
    """Of one process, from its segments in order: None for one that is there."""
    gone = [removed for removed in segments.values() if removed is not None]
    latest_first = list(reversed(segments.items()))
    headers = (header_of(path) if removed is None else removed.header for path, removed in latest_first)
    header = next((header for header in headers if header is not None), header_of_place(latest_first[0][0]))
    said = (last_end(path) if removed is None else removed.end for path, removed in latest_first)
    recorded = 1 + max(removed.top_index for removed in gone)
    end = next((end for end in said if end is not None), End(recorded=recorded, written=recorded))
    space = max(sum(removed.dropped for removed in gone), end.dropped.get(SPACE, 0))
    counted = {"recorded": max(end.recorded, recorded), "dropped": {**end.dropped, SPACE: space}}
    return LastWords(header, msgspec.structs.replace(end, **counted))
