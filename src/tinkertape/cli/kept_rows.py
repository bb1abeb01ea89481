"""The list's row of a run that is over, kept beside its tape.

A long tape is folded once, not for every `tinkertape runs`.
A kept row holds only while the segments are those that it was made of, by name and size, and while this version of
tinkertape made it. It is never needed: what cannot be read or written is left out.
"""

from __future__ import annotations

import os

import msgspec

from tinkertape.cli.source import RunRow
from tinkertape.config import open_private
from tinkertape.tape import Tape
from tinkertape.tape.forms import stored_bytes
from tinkertape.version import VERSION

FILE = "row.json"


class KeptRow(msgspec.Struct, frozen=True):
    """A row, the version that made it, and the sizes of the segments that it was made of."""

    version: str
    sizes: dict[str, int]
    row: RunRow


def read_row(tape: Tape) -> RunRow | None:
    """The kept row of a tape, if it still holds."""
    try:
        kept = msgspec.json.decode((tape.path / FILE).read_bytes(), type=KeptRow)
        holds = kept.version == VERSION and kept.sizes == _sizes(tape)
    except (OSError, msgspec.DecodeError):
        return None
    return kept.row if holds else None


def keep_row(tape: Tape, row: RunRow) -> None:
    """Keep a row; another reader may do the same at once, the last one stays."""
    try:
        body = msgspec.json.encode(KeptRow(VERSION, _sizes(tape), row))
        made = tape.path / f"{FILE}.{os.getpid()}"
        descriptor = open_private(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        made.replace(tape.path / FILE)
    except OSError:
        return


def _sizes(tape: Tape) -> dict[str, int]:
    return {segment.name: stored_bytes(segment) for segment in tape.segments}
