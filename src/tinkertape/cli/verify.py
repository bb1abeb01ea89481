"""`tinkertape tape verify`: is a run's tape whole? Status 0: nothing in it is damaged; 1: something is."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec
from rich.text import Text

from tinkertape.cli.choice import json_option, run_argument, tape_named
from tinkertape.cli.terminal import answers, print_json
from tinkertape.cli.text import escaped
from tinkertape.tape import Verified

SHOWN_MAX = 100  # damages in the text; `--json` has more


@click.group()
def command() -> None:
    """Look after the tapes of this machine."""


@command.command()
@run_argument(required=True)
@json_option
def verify(run: str, as_json: bool) -> int:
    """Say whether a run's tape is whole: the ledger, and what is damaged.

    Exit status 0 when nothing is damaged, 1 when something is: bad or torn lines, missing segments or indices. Events
    that were dropped and counted (a full disk, full memory) are no damage: they are told with their number and reason.

    \b
    tinkertape tape verify last
    """
    tape = tape_named(run)
    verified = tape.verify()
    if as_json:
        found = msgspec.to_builtins(verified)
        print_json(msgspec.json.encode({"run": tape.path.name, "whole": verified.is_whole, **found}))
    else:
        console = answers()
        for line in text_of(tape.path.name, verified):
            console.print(Text(escaped(line)), soft_wrap=True)
    return 0 if verified.is_whole else 1


def text_of(run: str, verified: Verified) -> Iterator[str]:
    """The answer, line by line."""
    ledger = verified.ledger
    dropped = ", ".join(f"{reason} {number}" for reason, number in sorted(ledger.dropped.items()))
    yield f"run {run}"
    yield f"recorded {ledger.recorded} {'=' if ledger.balanced else '≠'} stored {ledger.stored} + " + (
        f"pending {ledger.pending} + rejected {ledger.rejected} + dropped {sum(ledger.dropped.values())}"
        + (f" ({dropped})" if dropped else "")
    )
    for damage in verified.damage[:SHOWN_MAX]:
        place = damage.segment if damage.line is None else f"{damage.segment} line {damage.line}"
        yield f"{place}: {damage.kind}: {damage.said}"
    more = verified.more + max(0, len(verified.damage) - SHOWN_MAX)
    if more:
        yield f"and {more} more"
    yield from verified.notes
    yield _answer(verified)


def _answer(verified: Verified) -> str:
    """The last line: is something damaged, was something lost and counted, or neither?"""
    if not verified.is_whole:
        return "the tape is damaged"
    lost = {reason: number for reason, number in sorted(verified.ledger.dropped.items()) if number}
    if not lost:
        return "the tape is whole"
    told = ", ".join(f"{number} {reason}" for reason, number in lost.items())
    were = "event was" if sum(lost.values()) == 1 else "events were"
    return f"nothing is damaged; {sum(lost.values())} {were} dropped, and counted: {told}"
