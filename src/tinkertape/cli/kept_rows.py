"""The list's row of a run that is over, kept beside its tape.

A long tape is folded once, not for every `tinkertape runs`.
A kept row holds only while the segments are those that it was made of, by name and size, and while the code that makes
rows is the one that made it. It is never needed: what cannot be read or written is left out.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tinkertape.cli.source import RunRow
from tinkertape.config import open_private
from tinkertape.tape import Tape
from tinkertape.tape.forms import stored_bytes
from tinkertape.version import VERSION

FILE = "row.json"
ROOMS = ("diagnosis", "tape", "cli")  # what a row says is decided there


class KeptRow(msgspec.Struct, frozen=True):
    """A row, the rule by which it was made, and the sizes of the segments that it was made of."""

    rule: str
    sizes: dict[str, int]
    row: RunRow


def rule_of(folders: Sequence[Path]) -> str:
    """A name for what the code in these folders does, which is another one as soon as a line of it is."""
    digest = hashlib.blake2b(VERSION.encode(), digest_size=16)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(b"%d\0" % path.stat().st_size + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def rule_now() -> str:
    """The rule by which this process makes rows: 3 ms, once. A number that people raise would be forgotten."""
    return rule_of([Path(__file__).parents[1] / room for room in ROOMS])


def read_row(tape: Tape) -> RunRow | None:
    """The kept row of a tape, if it still holds."""
    try:
        kept = msgspec.json.decode((tape.path / FILE).read_bytes(), type=KeptRow)
        holds = kept.rule == rule_now() and kept.sizes == _sizes(tape)
    except (OSError, msgspec.DecodeError):
        return None
    return kept.row if holds else None


def keep_row(tape: Tape, row: RunRow) -> None:
    """Keep a row; another reader may do the same at once, the last one stays."""
    try:
        body = msgspec.json.encode(KeptRow(rule_now(), _sizes(tape), row))
        made = tape.path / f"{FILE}.{os.getpid()}"
        descriptor = open_private(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        made.replace(tape.path / FILE)
    except OSError:
        return


def _sizes(tape: Tape) -> dict[str, int]:
    return {segment.name: stored_bytes(segment) for segment in tape.segments}
