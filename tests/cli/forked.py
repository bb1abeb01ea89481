"""Commands that read, begun as copies of one process that has imported them.

Each is a process of its own, with its own files, environment and exit status; only the 0.2 s that Python takes to
start and import are spent once.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

READING = ("runs", "show", "tail", "diagnose", "events", "tape")
_forks: ForkServerContext = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tinkertape.cli.verify", *(f"tinkertape.cli.{name}" for name in READING[:5])])


def reads(arguments: Sequence[str]) -> bool:
    return bool(arguments) and arguments[0] in READING


def call(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, stdin: str
) -> subprocess.CompletedProcess[str]:
    """Run `tinkertape` with these arguments to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "0").write_text(stdin)
        process = _forks.Process(target=_become, args=(list(arguments), name, dict(environment), str(cwd)), daemon=True)
        process.start()
        process.join(60)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(arguments), 60)
        out, err = ((folder / number).read_text() for number in "12")
    return subprocess.CompletedProcess(list(arguments), process.exitcode, out, err)


def _become(arguments: Sequence[str], folder: str, environment: Mapping[str, str], cwd: str) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        file = os.open(f"{folder}/{number}", os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
        setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["tinkertape", *arguments]
    runpy.run_module("tinkertape", run_name="__main__", alter_sys=True)
