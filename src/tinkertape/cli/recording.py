"""The recorder's side of `tinkertape run`: begin before the program, close and report after its last word.

The order at the end: the program's code, its non-daemon threads, its `atexit` functions, then ours (registered before
the program could register any, so it runs after them), then the interpreter's own finalization. Every step is
guarded: what fails is left out, and the program's end is as it was.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from tinkertape.bus import default_bus
from tinkertape.cli.following import follow_spawned
from tinkertape.cli.live_lines import LiveLines
from tinkertape.cli.program import Program, program_traceback
from tinkertape.cli.text import escaped
from tinkertape.config import load_settings
from tinkertape.errors import ConfigError, TinkertapeError
from tinkertape.exception_record import exit_status_of, status_of
from tinkertape.guard import guarded
from tinkertape.tape import Ledger
from tinkertape.telemetry import Status, Telemetry, start

DISK_REFUSES = {  # the recorder's reasons, for people
    "disk_full": "the disk is full",
    "disk_error": "the disk has an error",
    "read_only": "the disk can only be read",
    "no_permission": "the tape may not be written",
    "write_failed": "the tape cannot be written",
    "deleted": "the tape's file was deleted",
}


class Recording:
    """One program's recording. `telemetry` is None where nothing could be recorded; the program runs all the same."""

    def __init__(self, *, quiet: bool) -> None:
        self.telemetry: Telemetry | None = None
        self.status: Status = "success"
        self.exit_status = 0  # as a shell sees it
        self._is_by_sigint = False
        self._quiet = quiet
        self._path = sys.path[1:]  # without the folder that Python or the program put first
        self._pid = os.getpid()

    @classmethod
    def begin(cls, program: Program, *, name: str | None, quiet: bool) -> Recording:
        """Start recording with every source and the live detectors; say in one line why not, if not."""
        recording = cls(quiet=quiet)
        with guarded("cli.run.begin"):
            try:
                settings = load_settings(name=name, url="")
                if not settings.off:
                    if not quiet:
                        LiveLines().attach(default_bus)
                    run_name = settings.name or program.name
                    recording.telemetry = recording._started(run_name)
                    recording.telemetry.kept = True  # the report reads the tape
                    follow_spawned(recording.telemetry, run_name)
            except (TinkertapeError, OSError) as error:
                recording._say(f"not recorded: {error}", always=True)
        atexit.register(recording.finish)
        return recording

    def _started(self, run_name: str) -> Telemetry:
        """The recording; on the tape alone where the collector's address is none."""
        try:
            return start(run_name, watch=True)
        except ConfigError as error:
            telemetry = start(run_name, watch=True, url="")
            self._say(f"{error}; the tape waits for a collector", always=True)
            return telemetry

    def ended(self, ended_by: BaseException | None) -> None:
        """The program's code has ended: remember how, and record an uncaught exception."""
        self.status, self.exit_status = status_of(ended_by), exit_status_of(ended_by)
        self._is_by_sigint = type(ended_by) is KeyboardInterrupt  # Python dies by SIGINT of this alone, of no subclass
        if ended_by is None or isinstance(ended_by, SystemExit) or self.telemetry is None:
            return
        with guarded("cli.run.ended"):
            ended_by.__traceback__ = program_traceback(ended_by)
            self.telemetry.record_fatal(ended_by)

    def finish(self) -> None:
        """Close the tape and print the report; Ctrl-C skips the report, never the end of the tape.

        A forked child of the program that exits comes by here too: it is not the one that reports.
        """
        if self.telemetry is None or os.getpid() != self._pid:
            return
        try:
            with interrupt_held():
                self._close(self.telemetry)
            if not self._quiet:
                sys.path[:] = self._path  # what the report imports is ours, never a `rich.py` beside the script
                with guarded("cli.run.report"):
                    self._report(self.telemetry)
        except KeyboardInterrupt:
            self._say(f'no report, for Ctrl-C skipped it: "tinkertape show {self.telemetry.run}" prints it')
        if self._is_by_sigint:
            die_by_sigint()

    def _close(self, telemetry: Telemetry) -> None:
        with guarded("cli.run.close"):
            telemetry.end(self.status, self.exit_status)  # also where the program has it open still
        with guarded("cli.run.lost"):
            for line in lost_to_the_disk(telemetry.ledger()):
                self._say(line, always=True)

    def _report(self, telemetry: Telemetry) -> None:
        try:
            from tinkertape.cli.ending import print_ending  # noqa: PLC0415  rich is loaded when the program is over

            print_ending(telemetry, self.status, self.exit_status)
        except (TinkertapeError, OSError) as error:
            self._say(f"no report: {error}")

    def _say(self, line: str, *, always: bool = False) -> None:
        if (always or not self._quiet) and sys.stderr is not None:
            sys.stderr.write(f"tinkertape: {escaped(line)}\n")


@contextlib.contextmanager
def interrupt_held() -> Iterator[None]:
    """Let Ctrl-C come when this is over. A handler of the program's own, or none at all, stays as it is."""
    pressed: list[int] = []
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_pythons:
        signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        if is_pythons:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


def lost_to_the_disk(ledger: Ledger) -> Iterator[str]:
    """A line for each way in which the disk refused events."""
    for reason, said in DISK_REFUSES.items():
        number = ledger.dropped.get(reason, 0)
        if number:
            yield f"{said}: {number:,} event{'s were' if number > 1 else ' was'} not recorded".replace(",", " ")


def die_by_sigint() -> None:
    """Let the interpreter remember that nobody caught Ctrl-C, so that it ends by SIGINT, as a shell expects.

    It forgets when a text is evaluated, as the import of a named tuple does; one that ends by Ctrl-C reminds it.
    Source: CPython, Python/pythonrun.c, `run_eval_code_obj` and `unhandled_keyboard_interrupt`.
    """
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")
