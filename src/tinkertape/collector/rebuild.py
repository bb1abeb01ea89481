"""Makes a store again from the tapes: into a folder beside it, which then takes its place.

Invariants
- The store is held while that goes on, so that no collector serves from it; it is as it was until the new one is whole.
- What tapes and inbox no longer hold is in the store alone (`keeping`, `tape/removal`): then nothing is done, unless
  that loss is accepted.

A kill leaves the store as it was, and a folder beside it that the next rebuild removes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tinkertape.collector.books import Books
from tinkertape.collector.keeping import gone_from, gone_path
from tinkertape.collector.loader import Loader
from tinkertape.collector.reports import Reports
from tinkertape.collector.tape_file import STORE_ID_CHARS
from tinkertape.errors import StoreError
from tinkertape.store import Store, folder_of, held, id_of
from tinkertape.tape.removal import number_of, removed_in

NEW, FORMER = ".rebuilding", ".former"
Progress = Callable[[str, int, int], None]  # what, done, of all


class Rebuilt(msgspec.Struct, frozen=True):
    """What is in the new store."""

    events: int
    set_aside: int
    runs: int


def rebuild(url: str, inbox: Path, tapes: Path | None, *, progress: Progress, without_removed: bool = False) -> Rebuilt:
    """Make the store at `url` again from `inbox` and `tapes`, and put it in the old one's place.

    `without_removed`: also when tapes that are kept no longer are lost by it. Raises `StoreLocked` while a collector
    serves from the store, `StoreError` for the rest. Blocks for as long as loading takes.
    """
    folder = folder_of(url).resolve()
    _must_be_a_store(folder)
    beside, former = (folder.with_name(folder.name + suffix) for suffix in (NEW, FORMER))
    with held(folder):
        identity = id_of(folder)
        if identity and not without_removed:
            _must_be_on_tape(folder, inbox, tapes, identity)
        _clear(beside, inbox, tapes)
        shutil.rmtree(former, ignore_errors=True)
        try:
            rebuilt = _load(beside, inbox, tapes, progress)
            _put_in_place(folder, beside, former)
        except BaseException:
            _clear(beside, inbox, tapes)
            raise
        shutil.rmtree(former, ignore_errors=True)
        if identity:
            _forget(identity, inbox, tapes)
    return rebuilt


def _must_be_a_store(folder: Path) -> None:
    """What is put aside and removed must be ours."""
    if folder.is_dir() and id_of(folder) is None and any(folder.iterdir()):
        raise StoreError(
            f"cannot rebuild {folder}: there is something in it, and no store; name the store's own folder"
        )
    if folder.is_mount():
        raise StoreError(f"cannot rebuild {folder}: a file system is mounted there; use a folder in it as the store")


def _must_be_on_tape(folder: Path, inbox: Path, tapes: Path | None, identity: str) -> None:
    gone = gone_from(inbox, identity)
    events, segments = gone.events, gone.segments
    for run in _folders(tapes):
        for segment, removed in removed_in(run).items():
            events += removed.elsewhere
            segments += 1 + (number_of(segment) - removed.since if removed.since else 0)
    if events:
        raise StoreError(
            f"cannot rebuild {folder}: {events:,} events of {segments:,} tape files that are kept no longer are in the "
            "store alone; --without-removed rebuilds without them"
        )


def _load(folder: Path, inbox: Path, tapes: Path | None, progress: Progress) -> Rebuilt:
    with Store.open(f"chdb://{folder}") as store:
        loader = Loader(store, inbox, tapes)
        loader.load_all(lambda done, whole: progress("loading", done, whole))
        reports = Reports(store, Books(store, loader).ledger, lambda run, events, state: None)
        behind = store.runs_behind()
        for place, run in enumerate(behind, 1):
            reports.sum_up(run)
            progress("summing up", place, len(behind))
        return Rebuilt(loader.rows, loader.set_aside, len(behind))


def _put_in_place(folder: Path, beside: Path, former: Path) -> None:
    try:
        folder.rename(former)
        beside.rename(folder)
    except OSError as error:
        if former.exists() and not folder.exists():
            former.rename(folder)
        raise StoreError(f"cannot put the new store in the place of {folder}: {error.strerror}; try again") from error


def _clear(beside: Path, inbox: Path, tapes: Path | None) -> None:
    """Remove a new store that came to nothing, and what it remembered."""
    identity = id_of(beside)
    if identity:
        _forget(identity, inbox, tapes)
    shutil.rmtree(beside, ignore_errors=True)


def _forget(identity: str, inbox: Path, tapes: Path | None) -> None:
    """Remove the marks of a store that is no more."""
    with contextlib.suppress(OSError):
        for folder in (inbox, *_folders(tapes)):
            for mark in folder.glob(f"*.loaded-{identity[:STORE_ID_CHARS]}"):
                mark.unlink(missing_ok=True)
        gone_path(inbox, identity).unlink(missing_ok=True)


def _folders(tapes: Path | None) -> Iterator[Path]:
    if tapes is not None and tapes.is_dir():
        yield from sorted(path for path in tapes.iterdir() if path.is_dir())
