"""`tinkertape store`: upkeep of the store."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from tinkertape.cli.extras import SERVER, must_be_installed
from tinkertape.cli.places import place_options, places
from tinkertape.cli.progress import Progress
from tinkertape.cli.terminal import answers
from tinkertape.config import load_settings


@click.group()
def command() -> None:
    """Look after the store in which a collector has its runs."""


@command.command()
@place_options
@click.option("--without-removed", is_flag=True, help="Also when events are lost whose tapes are kept no longer.")
def rebuild(store: str | None, inbox: Path | None, tapes: Path | None, without_removed: bool) -> int:
    """Make the store again from the tapes: the inbox, and those of this machine.

    With the collector stopped. The old store stays as it is until the new one is whole.

    \b
    tinkertape store rebuild
    """
    must_be_installed("the store", SERVER, "server")
    from tinkertape.collector import rebuild as make_again  # noqa: PLC0415  the extra [server]
    from tinkertape.collector.loader import collect_less  # noqa: PLC0415  the extra [server]

    url, received, recorded = places(load_settings(), store, inbox, tapes)
    collect_less()
    with Progress("rebuilding the store from the tapes") as bar:
        shown = ("", -1)

        def moved(what: str, done: int, whole: int) -> None:
            nonlocal shown
            percent = 100 * done // max(whole, 1)
            if (what, percent) != shown:
                shown = (what, percent)
                bar.reached(percent, 100, f"{what} {percent} %")

        rebuilt = make_again(url, received, recorded, progress=moved, without_removed=without_removed)
    answers().print(
        Text(f"{rebuilt.events:,} events of {rebuilt.runs:,} runs are stored, {rebuilt.set_aside:,} lines set aside")
    )
    return 0
