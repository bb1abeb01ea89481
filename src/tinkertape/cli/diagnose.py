"""`tinkertape diagnose`: was it your code, the network, or Tinker? Status 0: healthy; 1: it was not."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from tinkertape.cli.choice import json_option, run_argument, source_at, url_option
from tinkertape.cli.render import print_diagnosis
from tinkertape.cli.source import damaged, resolve
from tinkertape.cli.terminal import answers, print_json, say_damage
from tinkertape.diagnosis.report import Report


@click.command()
@run_argument(required=False)
@url_option
@json_option
def command(run: str, url: str | None, as_json: bool) -> int:
    """Say what was wrong with a run (the newest, if none is named), whose it was, and what it cost.

    Exit status 0 when the run was healthy; 1 when something was found, it failed, was killed, made no call to Tinker,
    cannot be read whole, or the answer is that it cannot say.

    \b
    tinkertape diagnose
    tinkertape diagnose 01JD --json
    """
    source = source_at(url)
    report = source.report(resolve(run, source))
    if as_json:
        print_json(msgspec.json.encode(diagnosis_of(report)))
    else:
        print_diagnosis(answers(), report)
        say_damage(damaged(report))
    return 0 if report.healthy else 1


def diagnosis_of(report: Report) -> dict[str, Any]:
    """A report in the shape of `diagnose --json`."""
    return {
        "run": report.run,
        "healthy": report.healthy,
        "findings": report.findings,
        "partition": {part.part: part.seconds for part in report.parts},
        "ledger": report.ledger,
    }
