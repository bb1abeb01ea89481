"""`tinkertape serve`: the collector, its loader and the page, on loopback, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Literal

import click
from rich.text import Text

from tinkertape.cli.extras import SERVER, must_be_installed
from tinkertape.cli.terminal import talk
from tinkertape.config import load_settings, private_folder
from tinkertape.errors import CollectorError

STORE = "chdb:///"
ACK = "When a sender is answered: its events are on the disk, or in the store."
KEEP = "How long received telemetry is kept, compressed, once it is stored: 36h, 30d, 8w."
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
FOLDER = click.Path(file_okay=False, path_type=Path)


def _loopback(context: click.Context, parameter: click.Parameter, host: str) -> str:
    try:
        ours = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        ours = False
    if not ours:
        raise click.BadParameter(
            f"cannot listen on {host}: only this machine may read a run until there are keys; use 127.0.0.1"
        )
    return host


def _store(context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    if url is not None and not url.startswith(STORE):
        raise click.BadParameter(f"{url!r} is no store: use {STORE}absolute/folder")
    return url


def _seconds(context: click.Context, parameter: click.Parameter, text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS_S or not number.isascii() or not number.isdigit():
        raise click.BadParameter(f"{text!r} is no time: use a whole number and one of s, m, h, d, w, as 30d")
    return float(number) * UNITS_S[unit]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, callback=_loopback, help="Loopback only.")
@click.option("--port", default=8288, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--store", metavar="URL", callback=_store, help="Where runs are stored: chdb:///absolute/folder.")
@click.option("--inbox", type=FOLDER, help="Where received telemetry is kept until it is stored.")
@click.option("--tapes", type=FOLDER, help="The tapes of this machine, loaded too.")
@click.option("--ack", type=click.Choice(["durable", "stored"]), default="durable", show_default=True, help=ACK)
@click.option("--keep", metavar="TIME", default="30d", show_default=True, callback=_seconds, help=KEEP)
@click.option("--keep-bytes", metavar="N", type=click.IntRange(0), help="So many bytes of them at most.")
def command(
    host: str,
    port: int,
    store: str | None,
    inbox: Path | None,
    tapes: Path | None,
    ack: Literal["durable", "stored"],
    keep: float,
    keep_bytes: int | None,
) -> int:
    """Receive, store and show runs: the collector and its page. Says its address; ends with Ctrl-C.

    \b
    tinkertape serve
    tinkertape serve --port 0 --store chdb:///srv/tinkertape
    """
    must_be_installed("the collector", SERVER, "server")
    from tinkertape.collector import Keep, serve  # noqa: PLC0415  the extra [server]
    from tinkertape.dashboard import routes  # noqa: PLC0415  the extra [server]

    settings = load_settings()
    serve(
        store or f"chdb://{settings.store}",
        inbox or settings.inbox,
        _own_tapes(settings.tapes) if tapes is None else _given_tapes(tapes),
        host=host,
        port=port,
        pages=routes,
        ack=ack,
        keep=Keep(keep, keep_bytes),
        ready=_say_address,
    )
    return 0


def _own_tapes(folder: Path) -> Path:
    """The default folder, made where it is missing: a run may begin at any time."""
    try:
        return private_folder(folder)
    except OSError as error:
        raise CollectorError(
            f"cannot make {folder}: {error.strerror or error}; choose another folder with --tapes"
        ) from error


def _given_tapes(folder: Path) -> Path:
    """A folder that was named must be there: a slip of the pen would load nothing, for ever."""
    if not folder.is_dir():
        raise CollectorError(f"cannot load tapes from {folder}: there is no such folder; make it, or name another")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise CollectorError(f"cannot load tapes from {folder}: it may not be read; name another with --tapes")
    return folder


def _say_address(address: str) -> None:
    if sys.stdout is not None:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
    if sys.stderr is not None and sys.stderr.isatty():
        talk().print(
            Text("The page is there, and programs report to it with "), Text(f"TINKERTAPE_URL={address}"), sep=""
        )
