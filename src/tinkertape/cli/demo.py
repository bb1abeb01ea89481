"""`tinkertape demo`: the tour.

A simulated service, a collector, an ordinary training script under `tinkertape run`, and the answer.

Everything is real but the service: the `tinker` SDK, sockets, the tape, the store, the page. It lives in a folder of
its own, removed at the end. Every process that it starts is ended with it, on Ctrl-C, SIGTERM and errors too
(`children.py`).
"""

from __future__ import annotations

import re
import secrets
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import msgspec
from rich.text import Text

from tinkertape.cli.children import Child, ChildFailed, Children
from tinkertape.cli.extras import TOUR, must_be_installed
from tinkertape.cli.progress import Progress
from tinkertape.cli.remote import CollectorSource
from tinkertape.cli.render import print_report
from tinkertape.cli.terminal import answers, talk
from tinkertape.cli.truth_check import Checked, check, read_truth
from tinkertape.diagnosis.report import Report
from tinkertape.errors import ConfigError

READY_S = 30.0  # for a process of the tour to answer; a cold disk takes the engine 10 s
TRAINED_S = 180.0  # for the whole training, which takes 15 s
STORED_S = 20.0  # for the last event to be in the store
SCRIPT = "train.py"
STEP = re.compile(r"step\s+(\d+)/(\d+)")


class Tour(msgspec.Struct, frozen=True):
    """Where the tour's things are, once its services run."""

    folder: Path
    truth: Path
    service_url: str
    collector: CollectorSource

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TINKER_BASE_URL": self.service_url,
            "TINKER_API_KEY": f"tml-demo-{secrets.token_hex(8)}",
            "TINKERTAPE_URL": self.collector.place,
            "TINKERTAPE_DIRECTORY": str(self.folder / "training"),
        }


@click.command()
@click.option(
    "--exit",
    "leave",
    is_flag=True,
    help="End at once; status 0 only if the ledger balances and every injected fault is in the report.",
)
@click.option("--seed", default=0, show_default=True, help="Moves every fault.")
def command(leave: bool, seed: int) -> int:
    """The tour, with no key, no network and no GPU: a run, recorded, and the answer.

    A simulated Tinker service is slow now and then, pauses once for capacity and fails one request, while an ordinary
    script trains against it.

    \b
    tinkertape demo
    tinkertape demo --exit --seed 3
    """
    must_be_installed("the tour", TOUR, "tinker,server")
    script = example()
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="tinkertape-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with Children(folder) as children:
            tour = _start_services(children, folder, seed)
            _train(children, tour, script)
            report = _report_when_stored(tour.collector)
            print_report(answers(), report)
            status = _compare(tour, report)
            if not leave:
                _keep_page_up(tour, report)
                status = 0
        return status


def example() -> Path:
    """The example that ships with the package, or stands in the repository beside it."""
    package = Path(__file__).parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / SCRIPT).is_file():
            return folder / SCRIPT
    raise ConfigError(f"cannot find examples/{SCRIPT}, in the package or in the repository; install tinkertape anew")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _start_services(children: Children, folder: Path, seed: int) -> Tour:
    """Start the simulated service and the collector at once, and wait for both."""
    truth = folder / "truth.jsonl"
    python = [sys.executable, "-m"]
    with Progress("starting a simulated Tinker service and a collector") as progress:
        options = ["--port", "0", "--scenario", "demo", "--seed", str(seed), "--truth", str(truth)]
        service = children.start("simulated service", [*python, "tinkertape.sim", *options])
        (folder / "collector").mkdir()
        environment = {"TINKERTAPE_DIRECTORY": str(folder / "collector")}
        collector = children.start("collector", [*python, "tinkertape", "serve", "--port", "0"], environment)
        service_url = msgspec.json.decode(service.first_line(READY_S), type=dict[str, str])["listening"]
        progress.say(f"the service listens at {service_url}; the collector opens its store")
        url = collector.first_line(READY_S).strip()
    talk().print(Text(f"  live at {url}", style="dim"))
    return Tour(folder, truth, service_url, CollectorSource(url))


def _train(children: Children, tour: Tour, script: Path) -> None:
    """Run the example as a user would, and follow its steps."""
    command = [sys.executable, "-u", "-m", "tinkertape", "run", "--quiet", "--name", "demo", str(script)]
    with Progress(f"tinkertape run {SCRIPT}") as progress:
        child = children.start("training", command, tour.environment)
        limit = child.end_after(TRAINED_S)
        _follow(child, progress)
        status = child.process.wait()
        limit.cancel()
    if status != 0:
        raise ChildFailed(f"{SCRIPT} ended with status {status}{child.last_words()}")


def _follow(child: Child, progress: Progress) -> None:
    for line in child.lines:
        found = STEP.search(line)
        if found is not None:
            progress.reached(int(found[1]), int(found[2]), line.strip())


def _report_when_stored(collector: CollectorSource) -> Report:
    """The collector's report, once nothing is pending, or as far as it is after `STORED_S`."""
    deadline = time.monotonic() + STORED_S
    with Progress("waiting for the last event to be stored"):
        while True:
            runs = collector.names()
            report = collector.report(runs[0][0]) if runs else None
            settled = report is not None and report.state == "ended" and (report.ledger or {}).get("pending") == 0
            if settled or time.monotonic() > deadline:
                break
            threading.Event().wait(0.1)
    if report is None:
        raise ChildFailed(f"nothing of the run arrived at the collector within {STORED_S:.0f} s")
    return report


def _compare(tour: Tour, report: Report) -> int:
    """Say whether the report has what the service really did: 0 when all of it is there."""
    console = answers()
    console.print(Text("\nThe simulated service says what it did; is it in the report?", style="bold"))
    results = check(read_truth(tour.truth), report)
    for checked in results:
        console.print(_said(checked), soft_wrap=True)
    return 1 if any(checked.missing for checked in results) else 0


def _said(checked: Checked) -> Text:
    if checked.missing:
        return Text(f"  × {checked.injected}: {checked.missing}", style="red")
    return Text("  ✓ ", style="green").append(checked.injected, style="default")


def _keep_page_up(tour: Tour, report: Report) -> None:
    console = answers()
    console.print(
        Text("\nThe page    ", style="bold").append(
            f"{tour.collector.place}/runs/{report.run}", style="not bold underline"
        )
    )
    console.print(
        Text("The tape    ", style="bold").append(
            f"{tour.folder / 'training' / 'tapes' / report.run}", style="not bold"
        ),
        soft_wrap=True,
    )
    talk().print(Text("\nCtrl-C ends the tour and removes its folder.", style="dim"))
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        talk().print()
