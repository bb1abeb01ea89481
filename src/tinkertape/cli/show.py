"""`tinkertape show`: everything about one run; the report that `run` prints at the end."""

from __future__ import annotations

import click
import msgspec

from tinkertape.cli.choice import json_option, run_argument, source_at, url_option
from tinkertape.cli.render import print_report
from tinkertape.cli.source import damaged, resolve
from tinkertape.cli.terminal import answers, print_json, say_damage


@click.command()
@run_argument(required=True)
@url_option
@json_option
def command(run: str, url: str | None, as_json: bool) -> int:
    """Show one run: the answer, where the time went, pauses, errors, retries, and the ledger.

    RUN is an id, a unique beginning of one, a name (its newest run), or "last".

    \b
    tinkertape show last
    tinkertape show lora-31 --json
    """
    source = source_at(url)
    report = source.report(resolve(run, source))
    if as_json:
        print_json(msgspec.json.encode(report))
    else:
        print_report(answers(), report)
        say_damage(damaged(report))
    return 0
