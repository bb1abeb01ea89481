"""What was replaced in code that is not ours, and the way back to the very same objects.

Threads  `install` and `uninstall` hold a lock of their own around all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from tinkertape.guard import guarded


def passing_on(error: BaseException) -> None:
    """Take the calling frame out of the traceback of an error that it raises on, by a bare `raise`, which adds none:
    the program prints what it would without us.
    """
    if error.__traceback__ is not None:
        BaseException.with_traceback(error, error.__traceback__.tb_next)


class Patches:
    """A list of replacements that can be undone, newest first."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._undo)

    def replace(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        """Put `wrap(original)` in the place of `owner.name`, if `owner` itself defines it."""
        original = vars(owner).get(name)
        if original is None:
            return
        ours = wrap(original)
        setattr(owner, name, ours)

        def undo() -> None:
            if (
                vars(owner).get(name) is ours
            ):  # else somebody wrapped us in turn: ours stays below theirs, and passes on
                setattr(owner, name, original)

        self._undo.append(undo)

    def replace_in_cell(self, function: FunctionType, variable: str, wrap: Callable[[Any], Any]) -> None:
        """Put `wrap(original)` in the place of a variable that `function` closes over."""
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(variable)]
        original = cell.cell_contents
        ours = wrap(original)
        cell.cell_contents = ours

        def undo() -> None:
            if cell.cell_contents is ours:
                cell.cell_contents = original

        self._undo.append(undo)

    def on_undo(self, undo: Callable[[], None]) -> None:
        """Have `undo` called by `restore`."""
        self._undo.append(undo)

    def restore(self) -> None:
        """Undo all, newest first, whatever fails."""
        while self._undo:
            with guarded("instrument.restore"):
                self._undo.pop()()
