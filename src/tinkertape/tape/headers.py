"""Headers: who records, told in the first line of every segment, and where the segment is."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.config import new_process_id, process_started
from tinkertape.redact import redact
from tinkertape.tape.format import Header, timestamp
from tinkertape.tape.rendering import safe_json


def segment_path(tapes: Path, header: Header) -> Path:
    """Where a segment is: `<tapes>/<run>/<process>-<segment>.jsonl`."""
    return tapes / header.run / f"{header.process}-{header.segment:05d}.jsonl"


def new_header(run: str, **about: Any) -> Header:
    """The header of this process: its id is new, pid, host, clocks and versions are read. `about` says the rest."""
    return renewed(
        Header(
            run=run,
            process="",
            host=os.uname().nodename,
            platform=platform.platform(),
            python=platform.python_version(),
            exe=Path(sys.argv[0]).name if sys.argv else "",
            **about,
        )
    )


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


def redacted_header(header: Header) -> Header:
    """The same header without the secrets that a name, tag or piece of metadata may hold."""
    names = ("name", "project", "session_id", "metadata", "tags", "exe")
    return msgspec.structs.replace(header, **{name: redact(safe_json(getattr(header, name))) for name in names})
