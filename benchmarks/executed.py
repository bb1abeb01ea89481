"""Counts the processor's instructions that a program executes, C and Rust included, by valgrind: the same at any load
but for 10 000 a request, as the SDK's loop turns once more or less. Needs valgrind (Debian: apt-get install valgrind).

Cache misses are those of a made-up processor with 1 MB; a cycle is guessed at one an instruction, 10 a miss of the
first cache, 100 a miss of the last. Left out: the collector of cycles and TLS, which run in one window and not in the
next.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

WARM = 20
_CALLGRIND = ("valgrind", "--tool=callgrind", "--cache-sim=yes", "--instr-atstart=no", "--separate-threads=yes")
_CACHES = ("--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,16,64")
_LEFT_OUT = re.compile(r"rustls|webpki|ring::|^gc_collect|^visit_|^subtract_refs|^update_refs")
_NAMED = re.compile(r"c?fn=\((\d+)\)(?: (.*))?")


class Executed(NamedTuple):
    """By one thread."""

    instructions: int
    cycles: int  # as guessed


def executed(command: Sequence[str], turns: int, folder: Path) -> tuple[Executed, Executed]:
    """What the main thread and the busiest other one execute in so many turns of `overhead_client`."""
    dump = folder / "executed"
    program = [*_CALLGRIND, *_CACHES, f"--callgrind-out-file={dump}", sys.executable, *command]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def turn(count: int) -> None:
            print(count, file=process.stdin, flush=True)
            json.loads(process.stdout.readline())

        def control(*options: str) -> None:
            subprocess.run(["callgrind_control", *options, str(process.pid)], check=True, stdout=quiet, stderr=quiet)

        turn(1)
        control("-i", "on")
        turn(WARM)
        control("-z")
        turn(turns)
        control("-d")
        process.kill()
    threads = [_of_thread(file) for file in sorted(folder.glob("executed.1-*"))]
    return threads[0], max(threads[1:])


def _of_thread(file: Path) -> Executed:
    spent: Counter[str] = Counter()
    names: dict[str, str] = {}
    counted, is_of_callee = True, False
    with file.open(errors="replace") as lines:
        for line in lines:
            if named := _NAMED.match(line):
                name = names.setdefault(named[1], named[2] or "")
                counted = counted if line.startswith("c") else not _LEFT_OUT.search(name)
            elif line.startswith("events:"):
                kinds = line.split()[1:]
            elif line.startswith("calls="):
                is_of_callee = True  # the next line is what the callee took
            elif line[0].isdigit() or line[0] in "+-*":
                if counted and not is_of_callee:
                    for kind, number in zip(kinds, line.split()[1:], strict=False):
                        spent[kind] += int(number)
                is_of_callee = False
    first, last = (sum(spent[kind] for kind in kinds) for kinds in (("I1mr", "D1mr", "D1mw"), ("ILmr", "DLmr", "DLmw")))
    return Executed(spent["Ir"], spent["Ir"] + 10 * first + 100 * last)
