"""`tinkertape events`: the catalogue, every event that our own sources execute."""

from __future__ import annotations

import click
import msgspec
from rich.text import Text

from tinkertape.cli.terminal import answers, print_json
from tinkertape.events import EventType, catalogue


@click.command()
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="A JSON list for scripts.")
def command(prefix: str, as_json: bool) -> int:
    """List the events that tinkertape records, or those whose names begin with PREFIX.

    \b
    tinkertape events
    tinkertape events tinker.http
    """
    found = [event for event in catalogue() if _begins(event.name, prefix)]
    if not found:
        raise click.UsageError(f'no event begins with {prefix!r}; "tinkertape events" lists all {len(catalogue())}')
    if as_json:
        print_json(msgspec.json.encode([_row(event) for event in found]))
        return 0
    console = answers()
    for event in found:
        console.print(
            Text(event.name, style="bold"), Text(f"  {event.severity}  {event.description}"), sep="", soft_wrap=True
        )
        for kind, keys in (("measurement", event.measurements), ("metadata", event.metadata)):
            for key, meaning in keys.items():
                console.print(Text(f"    {kind:<12} {key:<22} {meaning}"), soft_wrap=True)
    return 0


def _begins(name: str, prefix: str) -> bool:
    prefix = prefix.rstrip(".")
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def _row(event: EventType) -> dict[str, object]:
    return {
        "name": event.name,
        "severity": event.severity,
        "description": event.description,
        "measurements": dict(event.measurements),
        "metadata": dict(event.metadata),
    }
