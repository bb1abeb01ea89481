"""The list's row of a run that is over, kept beside its tape.

A long tape is folded once, not for every `tinkertape runs`.
A kept row holds only while the segments are those that it was made of, by name and size, and while the code that makes
rows is the one that made it. It is never needed: what cannot be read or written is left out.
"""

from __future__ import annotations

import os

import msgspec

from tinkertape.cli.source import RunRow
from tinkertape.config import open_private
from tinkertape.diagnosis.rule import rule_now
from tinkertape.tape import Tape
from tinkertape.tape.forms import stored_bytes

FILE = "row.json"
ROOMS = ("diagnosis", "tape", "cli")  # what a row says is decided there


class KeptRow(msgspec.Struct, frozen=True):
    """A row, the rule by which it was made, and the sizes of the segments that it was made of."""

    rule: str
    sizes: dict[str, int]
    row: RunRow


def read_row(tape: Tape) -> RunRow | None:
    """The kept row of a tape, if it still holds."""
    try:
        kept = msgspec.json.decode((tape.path / FILE).read_bytes(), type=KeptRow)
        holds = kept.rule == rule_now(*ROOMS) and kept.sizes == _sizes(tape)
    except (OSError, msgspec.DecodeError):
        return None
    return kept.row if holds else None


def keep_row(tape: Tape, row: RunRow) -> None:
    """Keep a row; another reader may do the same at once, the last one stays."""
    try:
        body = msgspec.json.encode(KeptRow(rule_now(*ROOMS), _sizes(tape), row))
        made = tape.path / f"{FILE}.{os.getpid()}"
        descriptor = open_private(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        made.replace(tape.path / FILE)
    except OSError:
        return


def _sizes(tape: Tape) -> dict[str, int]:
    return {segment.name: stored_bytes(segment) for segment in tape.segments}
