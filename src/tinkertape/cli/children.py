"""The processes that the tour starts, and that never outlive it.

Each child leads a process group of its own: Ctrl-C in the terminal reaches the tour alone, which then ends its
children in order, by SIGTERM, and after `PATIENCE_S` by SIGKILL. What a child says goes to a log of its own, of which
the last line is shown when it fails.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from tinkertape.errors import TinkertapeError

PATIENCE_S = 5.0


class ChildFailed(TinkertapeError):
    """A process of the tour ended, or said nothing, before it was ready."""


class Child(msgspec.Struct, frozen=True):
    """A running process: what it is for people, and where what it says is kept."""

    title: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def lines(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def first_line(self, within_s: float) -> str:
        """What it says first on stdout. Raises `ChildFailed` when it ends before that, or takes too long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.lines, selectors.EVENT_READ)
            line = self.lines.readline() if selector.select(within_s) else None
        if line is None:
            raise ChildFailed(f"{self.title} said nothing within {within_s:.0f} s{self.last_words()}")
        if not line:
            raise ChildFailed(f"{self.title} ended with status {self.process.wait(PATIENCE_S)}{self.last_words()}")
        return line

    def end_after(self, limit_s: float) -> threading.Timer:
        """End it when it still runs after so long. Cancel the timer when it is done."""
        timer = threading.Timer(limit_s, _signal_group, (self.process, signal.SIGTERM))
        timer.daemon = True
        timer.start()
        return timer

    def last_words(self) -> str:
        """The last line of its log, for a message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


class Children:
    """Starts processes, and ends every one of them when the block ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, title: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
        """Start a process; its stdout is read through `Child.lines`."""
        log = self._folder / f"{title.replace(' ', '-')}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
                cwd=self._folder,
                env={**_clean_environment(), **(environment or {})},
                start_new_session=True,
            )
        child = Child(title, process, log)
        self._children.append(child)
        return child

    def stop(self) -> None:
        """End all that still run, the last started first."""
        for child in reversed(self._children):
            _signal_group(child.process, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        for child in reversed(self._children):
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(child.process, signal.SIGKILL)
                child.process.wait()
            if child.process.stdout is not None:
                child.process.stdout.close()
        self._children.clear()


def _clean_environment() -> dict[str, str]:
    """This process's environment, without settings of ours or the SDK's, and with loopback reached directly.

    The children run in the tour's folder, where no `pyproject.toml` sets anything; so PYTHONPATH is made absolute.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TINKERTAPE_", "TINKER_"))}
    for key in ("NO_PROXY", "no_proxy"):
        environment[key] = ",".join(filter(None, (environment.get(key), "127.0.0.1,localhost")))
    if paths := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths.split(os.pathsep))
    return environment


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
