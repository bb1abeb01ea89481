"""The BEAM's `telemetry` as a peer: a running `erl`, asked for one timing at a time, so that it takes its turns too."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

SOURCE = Path(__file__).parent / "beam" / "telemetry_bench.erl"


class BeamMissing(Exception):
    """There is nothing to measure, and why."""


class Beam:
    """Times `telemetry:execute/3` and `telemetry:span/3` in the default mode of library and `erl`.

    `checkout` holds the compiled library somewhere below it. Raises `BeamMissing`.
    """

    def __init__(self, checkout: Path) -> None:
        found = next(checkout.rglob("telemetry.beam"), None)
        if found is None:
            raise BeamMissing(f"no compiled telemetry.beam below {checkout}: compile the library as its README says")
        self._folder = tempfile.TemporaryDirectory()
        try:
            subprocess.run(["erlc", "-o", self._folder.name, str(SOURCE)], check=True)
            command = ["erl", "-noshell", "-pa", str(found.parent), self._folder.name, "-s", "telemetry_bench", "main"]
            self._erl = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except FileNotFoundError as error:
            raise BeamMissing(f"{error.filename} is not installed (Debian: apt-get install erlang-base)") from None

    def time(self, what: str, handlers: int, number: int) -> float:
        """Nanoseconds of one call; `what` is execute or span."""
        assert self._erl.stdin is not None
        assert self._erl.stdout is not None
        self._erl.stdin.write(f"{what} {handlers} {number}\n")
        self._erl.stdin.flush()
        return float(self._erl.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._erl.stdin is not None
        self._erl.stdin.close()
        self._erl.wait(10)
        self._folder.cleanup()
