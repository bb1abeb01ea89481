"""The report that `tinkertape run` prints when the program is over: on stderr, from the tape just closed."""

from __future__ import annotations

from rich.text import Text

from tinkertape.cli.render import print_report
from tinkertape.cli.tapes import TapesSource
from tinkertape.cli.terminal import talk
from tinkertape.telemetry import Telemetry


def print_ending(telemetry: Telemetry) -> None:
    """Print the report of a closed recording, and where its tape is."""
    report = TapesSource(telemetry.tape.parent).report(telemetry.run)
    console = talk()
    print_report(console, report)
    console.print(Text(f"tape     {telemetry.tape}", style="dim"), soft_wrap=True)
