"""Headers: who records, told in the first line of every segment, and where the segment is."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.config import new_process_id, process_started
from tinkertape.redact import redact
from tinkertape.tape.format import Header, timestamp
from tinkertape.tape.rendering import safe_json
from tinkertape.version import VERSION


def segment_path(folder: Path, header: Header) -> Path:
    """Where a segment is in its run's folder: `<process>-<segment>.jsonl`."""
    return folder / f"{header.process}-{header.segment:05d}.jsonl"


def header_of_place(segment: Path) -> Header:
    """What a segment's place says of its events, where its own header is lost: the run, and the process."""
    return Header(run=segment.parent.name, process=segment.stem.rpartition("-")[0])


def new_header(run: str, about: Mapping[str, Any] | None = None) -> Header:
    """The header of this process: its id is new; pid, host, clocks and versions are read. `about` says the rest, by the
    names of `Header`; None in it says nothing.
    """
    known: dict[str, Any] = {
        "host": os.uname().nodename,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "tinkertape": VERSION,
        "exe": Path(sys.argv[0]).name if sys.argv else "",
    }
    known |= {name: value for name, value in (about or {}).items() if value is not None}
    return renewed(Header(run=run, process="", **known))


def renewed(header: Header) -> Header:
    """The same header for this process, now."""
    pid, wall_ns = os.getpid(), time.time_ns()
    return msgspec.structs.replace(
        header,
        process=new_process_id(),
        segment=1,
        pid=pid,
        pid_started=process_started(pid),
        began=timestamp(wall_ns),
        wall_ns=wall_ns,
        monotonic_ns=time.perf_counter_ns(),
    )


def next_header(header: Header) -> Header:
    """The header of the segment that follows: the same process, which began when it did."""
    return msgspec.structs.replace(header, segment=header.segment + 1)


def redacted_header(header: Header) -> Header:
    """The same header without the secrets that a name, tag or piece of metadata may hold."""
    names = ("name", "project", "session_id", "metadata", "tags", "exe")
    return msgspec.structs.replace(header, **{name: redact(safe_json(getattr(header, name))) for name in names})
