"""The report that `tinkertape run` prints when the program is over: on stderr, from the tape just closed.

Where the disk took no end line, what this process knows of its recording speaks for it. It takes `PATIENCE_S` at most;
Ctrl-C skips it.
"""

from __future__ import annotations

from rich.text import Text

from tinkertape.cli.remote import CollectorSource
from tinkertape.cli.render import print_report
from tinkertape.cli.tapes import Known, TapesSource, TapeTooLong
from tinkertape.cli.terminal import talk
from tinkertape.cli.text import escaped
from tinkertape.config import load_settings
from tinkertape.telemetry import Status, Telemetry

PATIENCE_S = 10.0  # the end of a program is not held up for longer; about 300 000 events


def print_ending(telemetry: Telemetry, status: Status, exit_status: int) -> None:
    """Print the report of a closed recording, where its tape is, and where its page."""
    console = talk()
    recorder = telemetry._recorder
    known = Known(recorder.header, status, exit_status, telemetry.ledger()) if recorder is not None else None
    source = TapesSource(telemetry.tape.parent, patience_s=PATIENCE_S, known=known)
    try:
        print_report(console, source.report(telemetry.run))
    except TapeTooLong as error:
        console.print(Text(f"tinkertape: {error}"), soft_wrap=True)
    console.print(Text(f"Tape     {escaped(str(telemetry.tape))}", style="dim"), soft_wrap=True)
    console.print(Text(f"Page     {_page(telemetry.run)}", style="dim"), soft_wrap=True)


def _page(run: str) -> str:
    """Where its page is: an address only where a collector answers."""
    url = load_settings().url
    if url is not None and CollectorSource(url).there():
        return f"{escaped(url)}/runs/{run}"
    away = f"no collector answers at {escaped(url)}" if url is not None else "it waits for a collector"
    return f'{away}: "tinkertape serve"'
