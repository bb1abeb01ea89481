"""`tinkertape runs`: the runs of this machine or of a collector, newest first."""

from __future__ import annotations

import click
import msgspec
from rich.text import Text

from tinkertape.cli.choice import json_option, source_at, url_option
from tinkertape.cli.figures import count, moment
from tinkertape.cli.render import state_said, table_of
from tinkertape.cli.source import RunRow
from tinkertape.cli.terminal import answers, print_json, talk
from tinkertape.cli.text import shortened

NAME_WIDTH = 32


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
    if as_json:
        print_json(msgspec.json.encode(rows))
        return 0
    if not rows:
        talk().print(Text(f'no run in {source.place} yet; record one with "tinkertape run SCRIPT"'))
        return 0
    table = table_of("run", "name", "state", "began", "steps", "events", "findings", sides="  ||>>>")
    for row in rows:
        table.add_row(*_cells(row))
    answers().print(table)
    return 0


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
