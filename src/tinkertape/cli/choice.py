"""Which run, and from where: the argument RUN and the option `--url` of the reading commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem
from rich.text import Text

from tinkertape.cli.source import Source, resolve
from tinkertape.cli.tapes import TapesSource
from tinkertape.cli.terminal import talk
from tinkertape.cli.text import escaped
from tinkertape.config import load_settings
from tinkertape.errors import DeliveryError, TapeError, TinkertapeError
from tinkertape.tape import Tape, open_tape, unreadable_tapes

Command = TypeVar("Command", bound=Callable[..., Any])
COMPLETED_MAX = 50  # runs offered to a shell

url_option = click.option("--url", metavar="URL", help="Ask this collector; without it TINKERTAPE_URL, else the tapes.")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON for scripts; its shape is stable.")


def run_argument(*, required: bool) -> Callable[[Command], Command]:
    """The argument RUN; where it is optional the newest run is meant."""
    if required:
        return click.argument("run", metavar="RUN", shell_complete=complete_run)
    return click.argument("run", metavar="RUN", default="last", shell_complete=complete_run)


def source_at(url: str | None) -> Source:
    """The collector at `url`, else the one that the settings name if it answers, else this machine's tapes.

    Raises `DeliveryError` when a collector was asked for and does not answer, `ConfigError` for settings that cannot
    be used.
    """
    settings = load_settings(url=url)
    if settings.url is not None:
        from tinkertape.cli.remote import CollectorSource  # noqa: PLC0415  HTTP costs 60 ms, and tapes need none

        collector = CollectorSource(settings.url)
        if collector.there():
            return collector
        if url is not None:
            raise DeliveryError(
                f'no collector answers at {settings.url}; start one with "tinkertape serve", or leave --url out'
            )
        talk().print(Text(f"no collector answers at {escaped(settings.url)}: reading the tapes", style="dim"))
    return TapesSource(settings.tapes)


def tape_named(word: str) -> Tape:
    """The tape on this machine that RUN means, also one of which no header can be read. Raises `TapeError`."""
    folder = load_settings().tapes
    try:
        return open_tape(folder / resolve(word, TapesSource(folder)))
    except TapeError:
        if word in (path.name for path in unreadable_tapes(folder)):
            return open_tape(folder / word)
        raise


def complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        known = TapesSource(load_settings().tapes).names()[:COMPLETED_MAX]
    except (TinkertapeError, OSError):
        return []
    words = {"last": "the newest run"}
    for run, name in known:
        words.setdefault(run, escaped(name))
        if name and name == escaped(name) and " " not in name:
            words.setdefault(name, "its newest run")
    return [CompletionItem(word, help=said) for word, said in words.items() if word.startswith(incomplete)]
