"""Runs the detectors over a run's events, and keeps what they found.

The folder `detectors/` is the registry: every module in it is one, its file name its cause. A detector that raises is
counted by `guarded` and left out of the run from then on; the others go on.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from tinkertape.context import Event
from tinkertape.diagnosis import detectors
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.findings import Finding
from tinkertape.errors import ConfigError
from tinkertape.guard import guarded


def causes() -> dict[str, ModuleType]:
    """Every cause that is watched for, by its code, with the module of its detector."""
    names = sorted(module.name for module in pkgutil.iter_modules(detectors.__path__) if module.name[0] != "_")
    return {name.replace("_", "-"): import_module(f"{detectors.__name__}.{name}") for name in names}


class _Running:
    """One detector at work."""

    def __init__(self, cause: str, module: ModuleType, book: Book) -> None:
        self.cause = cause
        self.listens: tuple[str, ...] = tuple(module.LISTENS)
        self.detect: Callable[[Event], Iterator[Finding]] = _detect_of(module, book)
        self.broken = False
        self._hears: dict[str, bool] = {}

    def hears(self, name: str) -> bool:
        known = self._hears.get(name)
        if known is None:
            known = any(not each or name == each or name.startswith(f"{each}.") for each in self.listens)
            self._hears[name] = known
        return known


class Runner:
    """Feeds the detectors. `only` is one cause, or several; None is all of them.

    Raises `ConfigError` for a cause that nobody watches for.
    """

    def __init__(self, book: Book, only: str | Iterable[str] | None = None) -> None:
        known = causes()
        wanted = list(known) if only is None else [only] if isinstance(only, str) else list(only)
        for cause in wanted:
            if cause not in known:
                raise ConfigError(f"no detector for the cause {cause!r}; there are {', '.join(known)}")
        self._running = [_Running(cause, known[cause], book) for cause in wanted]
        self._found: dict[tuple[str, str], Finding] = {}

    @property
    def causes(self) -> list[str]:
        """What is watched for."""
        return [running.cause for running in self._running]

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in the order in which it was first seen, each in its last form."""
        return list(self._found.values())

    def feed(self, event: Event) -> None:
        """Show one event to every detector that listens to it; the book must have taken it before."""
        for running in self._running:
            if running.broken or not running.hears(event.name):
                continue
            done = False
            with guarded(f"diagnosis.{running.cause}"):
                for finding in running.detect(event):
                    self._keep(running.cause, finding)
                done = True
            running.broken = not done

    def _keep(self, cause: str, finding: Finding) -> None:
        named = _with_cause(finding, cause)
        self._found[named.identity] = named


def _with_cause(finding: Finding, cause: str) -> Finding:
    fields: dict[str, Any] = {name: getattr(finding, name) for name in finding.__struct_fields__ if name != "owner"}
    return Finding(finding.owner, **{**fields, "cause": cause})


def _detect_of(module: ModuleType, book: Book) -> Callable[[Event], Iterator[Finding]]:
    made = getattr(module, "Detector", None)
    if made is None:
        detect: Callable[[Event], Iterator[Finding]] = module.detect
        return detect
    wants_book = "book" in inspect.signature(made).parameters
    detector = made(book) if wants_book else made()
    bound: Callable[[Event], Iterator[Finding]] = detector.detect
    return bound
