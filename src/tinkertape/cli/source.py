"""Where commands read from: a collector if there is one, else the tapes of this machine.

Both answer with the same values, so no command asks which it is. A collector that was asked for by `--url` must
answer; one that only the environment names may be away: then the tapes are read, and a line on stderr says so.
Reading tapes needs the client's install and nothing else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from tinkertape.diagnosis.report import Report
from tinkertape.errors import TapeError, TapeNotFound

LISTED_MAX = 1_000  # runs among which a name or the beginning of an id is looked for


class RunRow(msgspec.Struct, frozen=True):
    """One run of the list, as `runs --json` gives it. `began` and `ended` are RFC 3339 in UTC."""

    run: str
    name: str = ""
    state: str = ""
    began: str | None = None
    ended: str | None = None
    sessions: list[str] = []
    events: int = 0
    steps: int = 0
    findings: int = 0


class Source(Protocol):
    """What the reading commands ask."""

    place: str  # for messages: the collector's address, or the folder of the tapes
    every_s: float  # how long to wait between two looks for more

    def names(self) -> Sequence[tuple[str, str]]:
        """(run, name), newest first."""

    def runs(self, limit: int) -> list[RunRow]:
        """The newest runs, newest first."""

    def unreadable(self) -> Mapping[str, str]:
        """The runs that are there and cannot be read, by their folders' names, and a line that says why."""

    def report(self, run: str) -> Report:
        """Everything that is known of one run. Raises `TapeNotFound`."""

    def lines(self, run: str) -> Iterator[Sequence[bytes]]:
        """The run's tape lines, batch after batch, until it has ended; an empty batch: nothing new is there yet."""


def damaged(report: Report) -> int:
    """How many lines of the run could not be read."""
    return report.set_aside or int((report.ledger or {}).get("rejected") or 0)


def resolve(word: str, source: Source) -> str:
    """The run that a person means: an id, a unique beginning of one, a name (its newest run), or `last`.

    Raises `TapeNotFound` with what could have been meant, `TapeError` for one that is there and cannot be read.
    """
    known = source.names()
    if not known:
        raise _not_found(word, source, f'no run in {source.place} yet; record one with "tinkertape run SCRIPT"')
    if word == "last":
        return known[0][0]
    runs = [run for run, _ in known]
    if word in runs:
        return word
    named = [run for run, name in known if name == word]
    if named:
        return named[0]
    begun = [run for run in runs if word and run.startswith(word.upper() if run.isupper() else word)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise TapeNotFound(
            f'{len(begun)} runs begin with "{word}" in {source.place}: {", ".join(begun[:3])}…; write more of the id'
        )
    raise _not_found(word, source, f'no run "{word}" in {source.place}; {_meant(word, known)}')


def _not_found(word: str, source: Source, said: str) -> TapeError:
    """What is there and cannot be read is looked for last: it takes a look into every folder."""
    why = source.unreadable().get(word)
    return TapeNotFound(said) if why is None else TapeError(why)


def _meant(word: str, known: Sequence[tuple[str, str]]) -> str:
    every = f'"tinkertape runs" lists all {len(known)}'
    candidates = dict.fromkeys(["last", *(name for _, name in known if name), *(run for run, _ in known)])
    near = [each for each in candidates if word and each.startswith(word)]
    near = near or difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"? ({every})' if near else every
