"""A program to record, on its way from the command line to the interpreter that will run it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from tinkertape.cli.program import Program, interpreter_options

_LOWEST = str(Path(__file__).with_name("importlib_bootstrap.py"))
_QUIET = "quiet"


class Recorded(msgspec.Struct, frozen=True):
    """A program to run and record when click is done."""

    program: Program
    name: str | None
    quiet: bool

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Self:
        """From the arguments that `execute` made."""
        name, quiet, kind, target, *rest = arguments
        program = msgspec.convert({"kind": kind, "target": target, "arguments": rest}, Program)
        return cls(program, name or None, quiet == _QUIET)

    def execute(self) -> None:
        """Become the interpreter that runs the program: the same process, the same options."""
        program = self.program
        told = [self.name or "", _QUIET if self.quiet else "", program.kind, program.target, *program.arguments]
        os.execv(sys.executable, [sys.executable, *interpreter_options(), _LOWEST, *told])
