"""Runs the detectors over a run's events, and keeps what they found.

The folder `detectors/` is the registry: every module in it is one, its file name its cause. A detector that raises is
counted by `guarded` and left out of the run from then on; the others go on.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

from tinkertape.context import Event
from tinkertape.diagnosis import detectors
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.findings import Finding
from tinkertape.diagnosis.records import OperationKey
from tinkertape.errors import ConfigError
from tinkertape.guard import guarded

NAMES_MAX = 10_000  # names whose listeners are kept: a program that makes names up must not fill the memory


def causes() -> dict[str, ModuleType]:
    """Every cause that is watched for, by its code, with the module of its detector."""
    names = sorted(module.name for module in pkgutil.iter_modules(detectors.__path__) if module.name[0] != "_")
    return {name.replace("_", "-"): import_module(f"{detectors.__name__}.{name}") for name in names}


class _Running:
    """One detector at work."""

    def __init__(self, cause: str, module: ModuleType, book: Book) -> None:
        self.cause = cause
        self.listens: tuple[str, ...] = tuple(module.LISTENS)
        detector = _made(module, book)
        self.detect: Callable[[Event], Iterator[Finding]] = detector.detect
        self.held: Callable[[], Iterable[OperationKey]] | None = getattr(detector, "held", None)
        self.guarded = guarded(f"diagnosis.{cause}")
        self.broken = False

    def hears(self, name: str) -> bool:
        return any(_stands_for(each.split("."), name.split(".")) for each in self.listens)


def _stands_for(listened: list[str], name: list[str]) -> bool:
    """An entry stands for itself and for every event below it; "" for all, and a segment "*" for any segment."""
    if listened == [""]:
        return True
    return len(listened) <= len(name) and all(one in ("*", other) for one, other in zip(listened, name, strict=False))


class Runner:
    """Feeds the detectors. `only` is one cause, or several; None is all of them. `most`: so many findings are kept, the
    newest; None: all.

    Raises `ConfigError` for a cause that nobody watches for.
    """

    def __init__(self, book: Book, only: str | Iterable[str] | None = None, *, most: int | None = None) -> None:
        known = causes()
        wanted = list(known) if only is None else [only] if isinstance(only, str) else list(only)
        for cause in wanted:
            if cause not in known:
                raise ConfigError(f"no detector for the cause {cause!r}; there are {', '.join(known)}")
        self._book = book
        self._running = [_Running(cause, known[cause], book) for cause in wanted]
        self._listeners: dict[str, list[_Running]] = {}  # of each name that came
        self._most = most
        self._found: dict[tuple[str, str], Finding] = {}

    @property
    def causes(self) -> list[str]:
        """What is watched for; not what a detector that failed would have seen."""
        return [running.cause for running in self._running if not running.broken]

    @property
    def listens(self) -> set[str]:
        """What the detectors listen to, as they say it."""
        return {listened for running in self._running for listened in running.listens} - {SETTLED}

    def held(self) -> set[OperationKey]:
        """The operations that a detector may still ask for, beside those that are open or not settled."""
        keys: set[OperationKey] = set()
        for running in self._running:
            if running.held is not None and not running.broken:
                with running.guarded:
                    keys.update(running.held())
        return keys

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in the order in which it was first seen, each in its last form."""
        return list(self._found.values())

    def feed(self, event: Event) -> Sequence[Finding]:
        """Show one event to every detector that listens to it; the book must have taken it before. What was found, or
        has grown, comes back.
        """
        found: list[Finding] = []
        listeners = self._listeners_of(event.name)
        if self._book.settled:
            settled = self._listeners_of(SETTLED)
            listeners = [each for each in self._running if each in listeners or each in settled]
        for running in listeners:
            if running.broken:
                continue
            done = False
            with running.guarded:
                for finding in running.detect(event):
                    found.append(msgspec.structs.replace(finding, cause=running.cause))
                done = True
            running.broken = not done
        for finding in found:
            self._found[finding.identity] = finding
        if self._most is not None:
            while len(self._found) > self._most:
                del self._found[next(iter(self._found))]
        return found

    def _listeners_of(self, name: str) -> list[_Running]:
        known = self._listeners.get(name)
        if known is None:
            known = [running for running in self._running if running.hears(name)]
            if len(self._listeners) < NAMES_MAX:
                self._listeners[name] = known
        return known


def _made(module: ModuleType, book: Book) -> Any:
    """The detector of a module: what has `detect`, and may have `held`."""
    made = getattr(module, "Detector", None)
    if made is None:
        return module
    return made(book) if "book" in inspect.signature(made).parameters else made()
