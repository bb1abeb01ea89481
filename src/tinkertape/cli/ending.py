"""The report that `tinkertape run` prints when the program is over: on stderr, from the tape just closed.

Where the disk took no end line, what this process knows of its recording speaks for it. It takes `PATIENCE_S` at most;
Ctrl-C skips it (`recording.py`).
"""

from __future__ import annotations

import time

import msgspec
from rich.text import Text

from tinkertape.cli.remote import CollectorSource
from tinkertape.cli.render import print_report
from tinkertape.cli.tapes import Known, TapesSource, TapeTooLong
from tinkertape.cli.terminal import talk
from tinkertape.cli.text import escaped
from tinkertape.config import load_settings
from tinkertape.diagnosis.report import Report
from tinkertape.errors import TinkertapeError
from tinkertape.telemetry import Status, Telemetry

STORED_WITHIN_S = 1.5  # a collector stores what it was sent in half a second
PATIENCE_S = 10.0  # the end of a program is not held up for longer; about 300 000 events


def print_ending(telemetry: Telemetry, status: Status, exit_status: int) -> None:
    """Print the report of a closed recording, where its tape is, and where its page."""
    console = talk()
    recorder = telemetry._recorder
    known = Known(recorder.header, status, exit_status, telemetry.ledger()) if recorder is not None else None
    source = TapesSource(telemetry.tape.parent, patience_s=PATIENCE_S, known=known)
    try:
        print_report(console, _with_stored(source.report(telemetry.run)))
    except TapeTooLong as error:
        console.print(Text(f"tinkertape: {error}"), soft_wrap=True)
    console.print(Text(f"Tape     {escaped(str(telemetry.tape))}", style="dim"), soft_wrap=True)
    console.print(Text(f"Page     {_page(telemetry.run)}", style="dim"), soft_wrap=True)


def _with_stored(report: Report) -> Report:
    """The report with the ledger of a collector that has the whole run, once it has stored it or `STORED_WITHIN_S` went
    by; the tape itself knows only what was recorded.
    """
    url = load_settings().url
    if url is None or report.ledger is None:
        return report
    collector, deadline_s = CollectorSource(url), time.monotonic() + STORED_WITHIN_S
    if not collector.there():
        return report
    while True:
        try:
            ledger = collector.ledger(report.run)
        except TinkertapeError:
            return report
        if ledger.recorded >= report.ledger["recorded"] and not ledger.pending:
            return msgspec.structs.replace(report, ledger=msgspec.to_builtins(ledger))
        if time.monotonic() > deadline_s:
            return report
        time.sleep(0.05)


def _page(run: str) -> str:
    """Where its page is: an address only where a collector answers."""
    url = load_settings().url
    if url is not None and CollectorSource(url).there():
        return f"{escaped(url)}/runs/{run}"
    away = f"no collector answers at {escaped(url)}" if url is not None else "it waits for a collector"
    return f'{away}: "tinkertape serve"'
