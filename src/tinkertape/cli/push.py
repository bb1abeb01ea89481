"""`tinkertape push`: what is left on this machine's tapes goes to a collector.

Status 0: it has everything; 1: something is left, and why.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.text import Text

from tinkertape.cli.choice import complete_run, json_option, tape_named
from tinkertape.cli.figures import count, plural
from tinkertape.cli.progress import Progress
from tinkertape.cli.remote import CollectorSource
from tinkertape.cli.terminal import answers, print_json, talk
from tinkertape.cli.text import escaped
from tinkertape.config import Settings, load_settings
from tinkertape.delivery import Left, Pushed, push
from tinkertape.delivery.post import Collector
from tinkertape.errors import DeliveryError, TapeError

RUNNING = "http://127.0.0.1:8288"  # where `tinkertape serve` listens if nothing else is said


@click.command()
@click.argument("run", metavar="[RUN]", required=False, shell_complete=complete_run)
@click.option("--url", metavar="URL", help="Send to this collector; without it TINKERTAPE_URL, else the running one.")
@json_option
def command(run: str | None, url: str | None, as_json: bool) -> int:
    """Send what is left on this machine's tapes, of one run or of all, to a collector.

    Runs that are recorded, or send for themselves, meanwhile are no trouble: nothing is sent twice. Exit status 0 when
    the collector has everything, 1 when something is left.

    \b
    tinkertape push
    tinkertape push last --url http://127.0.0.1:8288
    """
    settings = load_settings(url=url)
    folders = [tape_named(run).path] if run is not None else _folders(settings.tapes)
    collector = _collector(settings)
    with _progress(f"sending to {escaped(collector.address)}") as progress, contextlib.suppress(KeyboardInterrupt):
        pushed = push(folders, collector, told=lambda done, of: _show(progress, done, of))
        return _answer(collector.address, pushed, as_json=as_json)
    raise click.Abort  # by Ctrl-C: what was acknowledged is remembered


def _collector(settings: Settings) -> Collector:
    url = settings.url
    if url is None and CollectorSource(RUNNING).there():
        url = RUNNING
    if url is None:
        raise DeliveryError(
            f'no collector answers at {RUNNING}; name one with --url or TINKERTAPE_URL, or start "tinkertape serve"'
        )
    collector = Collector(url, key=settings.key)
    if collector.withheld_key:
        talk().print(Text(f"no key is sent to {escaped(collector.address)} over plain http; use https", style="dim"))
    return collector


def _folders(tapes: Path) -> list[Path]:
    """The folders of all runs, oldest first. Raises `TapeError`."""
    try:
        found = sorted(folder for folder in tapes.iterdir() if folder.is_dir()) if tapes.is_dir() else []
    except OSError as error:
        raise TapeError(f"cannot read {tapes}: {error.strerror}") from error
    for folder in found:
        if not os.access(folder, os.R_OK | os.X_OK):
            raise TapeError(f"cannot read {folder}: permission denied; whose run is it? Name another one")
    return found


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Progress | None]:
    """A bar on a terminal; elsewhere the answer is the one line."""
    if not talk().is_terminal:
        yield None
    else:
        with Progress(title) as progress:
            yield progress


def _show(progress: Progress | None, done: int, of: int) -> None:
    if progress is not None:
        progress.reached(done, of, f"{done / 1e6:.1f} of {of / 1e6:.1f} MB")


def _answer(address: str, pushed: Pushed, *, as_json: bool) -> int:
    if as_json:
        print_json(msgspec.json.encode({"url": address, **msgspec.to_builtins(pushed)}))
    else:
        console = answers()
        console.print(Text(escaped(sentence(address, pushed))), soft_wrap=True)
        for left in pushed.left:
            console.print(Text(escaped(left_sentence(left))), soft_wrap=True)
    return 1 if pushed.left else 0


def sentence(address: str, pushed: Pushed) -> str:
    """What was done, in one line."""
    said = f"sent {plural(pushed.sent, 'event')} to {address}" if pushed.sent else f"nothing was sent to {address}"
    if not pushed.sent and not pushed.left and not pushed.refused:
        said = f"nothing is left for {address}"
    refused = f", which refused {count(pushed.refused)} (`tinkertape tape verify` says why)" if pushed.refused else ""
    skipped = f"; {count(pushed.skipped)} are not for a server of others" if pushed.skipped else ""
    return f"{said}{refused}{skipped}"


def left_sentence(left: Left) -> str:
    """What is left of one run, and why."""
    what = "some" if left.events is None else plural(left.events, "event")
    return f"left: {what} of run {left.run}: {left.why or 'it did not get there in time'}"
