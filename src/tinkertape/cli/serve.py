"""`tinkertape serve`: the collector, its loader and the page, on loopback, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Literal

import click
from rich.text import Text

from tinkertape.cli.extras import SERVER, must_be_installed
from tinkertape.cli.places import place_options, places
from tinkertape.cli.terminal import talk
from tinkertape.config import load_settings

ACK = "When a sender is answered: its events are on the disk, or in the store."
KEEP = "How long received telemetry is kept, compressed, once it is stored: 36h, 30d, 8w."
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


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


def _seconds(context: click.Context, parameter: click.Parameter, text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS_S or not number.isascii() or not number.isdigit():
        raise click.BadParameter(f"{text!r} is no time: use a whole number and one of s, m, h, d, w, as 30d")
    return float(number) * UNITS_S[unit]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, callback=_loopback, help="Loopback only.")
@click.option("--port", default=8288, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@place_options
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
        *places(settings, store, inbox, tapes),
        host=host,
        port=port,
        pages=routes,
        ack=ack,
        keep=Keep(keep, keep_bytes),
        ready=_say_address,
    )
    return 0


def _say_address(address: str) -> None:
    if sys.stdout is not None:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
    if sys.stderr is not None and sys.stderr.isatty():
        talk().print(
            Text("The page is there, and programs report to it with "), Text(f"TINKERTAPE_URL={address}"), sep=""
        )
