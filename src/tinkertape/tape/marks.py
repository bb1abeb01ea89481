"""Marks beside a segment: how far a reader of it came, kept over restarts.

`<process>-<segment>.ack` is what a collector acknowledged, `<process>-<segment>.loaded-<store>` what a store holds. A
mark is a small JSON object, replaced whole: a reader sees the old one or the new one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.config import open_private
from tinkertape.tape.segment import DISK
from tinkertape.wire import UNREADABLE


def mark_path(segment: Path, kind: str) -> Path:
    """The place of a segment's mark; `kind` is "ack" or "loaded-<store>"."""
    return segment.with_suffix(f".{kind}")


def read_mark(path: Path) -> dict[str, Any]:
    """What a mark says; empty where there is none, or none that can be read: then one begins at the beginning."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, *UNREADABLE):
        return {}
    return found if isinstance(found, dict) else {}


def write_mark(path: Path, values: dict[str, Any], *, sync: bool = False) -> None:
    """Replace a mark. Raises `OSError`. One writer a mark: it is its reader's own.

    `sync`: on return it outlasts a loss of power; else that may leave the mark that was there before, or none.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    file = open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(file, msgspec.json.encode(values) + b"\n")
        if sync:
            os.fsync(file)
    finally:
        os.close(file)
    beside.replace(path)
    if sync:
        DISK.sync_folder(path.parent)
