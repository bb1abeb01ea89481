"""Where a collector has its store, its inbox and the tapes that it loads: the options of `serve` and `store`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tinkertape.config import Settings, private_folder
from tinkertape.errors import CollectorError

STORE = "chdb:///"
FOLDER = click.Path(file_okay=False, path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])


def _store(context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    if url is not None and not url.startswith(STORE):
        raise click.BadParameter(f"{url!r} is no store: use {STORE}absolute/folder")
    return url


def place_options(command: Command) -> Command:
    """`--store`, `--inbox` and `--tapes`."""
    store = click.option(
        "--store", metavar="URL", callback=_store, help="Where runs are stored: chdb:///absolute/folder."
    )
    inbox = click.option("--inbox", type=FOLDER, help="Where received telemetry is kept until it is stored.")
    tapes = click.option("--tapes", type=FOLDER, help="The tapes of this machine, loaded too.")
    return store(inbox(tapes(command)))


def places(settings: Settings, store: str | None, inbox: Path | None, tapes: Path | None) -> tuple[str, Path, Path]:
    """The store's address, the inbox and the tapes' folder: those that were named, else those of the settings."""
    return (
        store or f"chdb://{settings.store}",
        inbox or settings.inbox,
        _own_tapes(settings.tapes) if tapes is None else _given_tapes(tapes),
    )


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
