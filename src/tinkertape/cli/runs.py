"""`tinkertape runs`: the runs of this machine or of a collector, newest first."""

from __future__ import annotations

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tinkertape.cli.choice import json_option, source_at, url_option
from tinkertape.cli.figures import count, moment
from tinkertape.cli.render import state_said, table_of
from tinkertape.cli.source import RunRow
from tinkertape.cli.terminal import answers, print_json, talk
from tinkertape.cli.text import escaped, shortened

NAME_WIDTH = 32
SIDES = {"run": "|", "name": "~", "state": "|", "began": "|", "steps": ">", "events": ">", "findings": ">"}
FIRST_TO_GO = ("events", "steps", "began", "findings", "state")


@click.command()
@click.option(
    "-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first."
)
@url_option
@json_option
def command(limit: int, url: str | None, as_json: bool) -> int:
    """List runs, newest first.

    \b
    tinkertape runs
    tinkertape runs --json | jq -r '.[0].run'
    """
    source = source_at(url)
    rows = source.runs(limit)
    for why in source.unreadable().values():
        talk().print(Text(escaped(why)), soft_wrap=True)
    if as_json:
        print_json(msgspec.json.encode(rows))
        return 0
    if not rows:
        talk().print(Text(f'no run in {source.place} yet; record one with "tinkertape run SCRIPT"'))
        return 0
    console = answers()
    console.print(_table([_cells(row) for row in rows], console.width))
    return 0


def _table(rows: list[tuple[str | Text, ...]], width: int) -> Table:
    """Without the columns that a narrow terminal has no room for; a run's id and name are always there."""
    shown = dict(SIDES)
    longest = {column: max(len(column), *(len(row[place]) for row in rows)) + 2 for place, column in enumerate(SIDES)}
    for column in FIRST_TO_GO:
        if sum(longest[name] for name in shown) > width + 2:
            del shown[column]
    table = table_of(*shown, sides="".join(shown.values()))
    for row in rows:
        table.add_row(*(row[place] for place, column in enumerate(SIDES) if column in shown))
    return table


def _cells(row: RunRow) -> tuple[str | Text, ...]:
    findings = Text(count(row.findings), style="bold" if row.findings else "dim")
    return (
        shortened(row.run, 36),
        shortened(row.name, NAME_WIDTH),
        state_said(row.state),
        moment(row.began),
        count(row.steps),
        count(row.events),
        findings,
    )
