"""Progress on stderr: a line that moves on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from tinkertape.cli.figures import seconds
from tinkertape.cli.terminal import talk
from tinkertape.cli.text import shortened

PLAIN_EVERY = 10  # steps between two lines where there is no terminal
NOTE_WIDTH = 60


class Progress:
    """One long step of the work: a context manager. Without a terminal it says its title, and every tenth step."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = talk()
        self._began = time.monotonic()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
        )
        self._bars = Bars(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bars.add_task(title, total=None, note="")

    def __enter__(self) -> Progress:
        self._bars.start()
        if not self._console.is_terminal:
            self._console.print(Text(f"{self._title} …"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if error is None and self._console.is_terminal:
            took = seconds(time.monotonic() - self._began)
            self._console.print(
                Text("✓ ", style="green").append(f"{self._title}  ", style="default").append(took, style="dim")
            )

    def say(self, note: str) -> None:
        """A word on where it is."""
        self._bars.update(self._task, note=shortened(note, NOTE_WIDTH))

    def reached(self, step: int, of: int, note: str = "") -> None:
        """`step` of `of` is done."""
        self._bars.update(self._task, completed=step, total=of, note=shortened(note, NOTE_WIDTH))
        if not self._console.is_terminal and step % PLAIN_EVERY == 0:
            self._console.print(Text(f"  step {step}/{of}"))
