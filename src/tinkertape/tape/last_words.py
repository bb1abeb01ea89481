"""What a process said last, and what was removed of its tape for lack of room since: for whoever was told before, and
would wait for events that are no more. No thread, no lock.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tinkertape.tape.format import End
from tinkertape.tape.forms import segment_files
from tinkertape.tape.removal import SPACE, Removed, process_of, removed_in
from tinkertape.tape.tape import last_end


def last_words(folder: Path) -> dict[str, End]:
    """Of each process of which something was removed: its last end line, everything removed counted in it.

    Without one it says what is known to have been recorded. Raises `OSError`, `TapeError`.
    """
    removed = removed_in(folder)
    segments = sorted({*segment_files(folder), *removed}) if removed else []
    return {
        process: _last_words({each: removed.get(each) for each in segments if process_of(each) == process})
        for process in sorted({process_of(segment) for segment in removed})
    }


def _last_words(segments: dict[Path, Removed | None]) -> End:
    """Of one process, from its segments in order: None for one that is there."""
    gone = [removed for removed in segments.values() if removed is not None]
    recorded = 1 + max(removed.top_index for removed in gone)
    space = sum(removed.dropped for removed in gone)
    said = (last_end(path) if removed is None else removed.end for path, removed in reversed(segments.items()))
    end = next((end for end in said if end is not None), End(recorded=recorded, written=recorded, dropped={}))
    dropped = {**end.dropped, SPACE: max(space, end.dropped.get(SPACE, 0))}
    return msgspec.structs.replace(end, recorded=max(end.recorded, recorded), dropped=dropped)
