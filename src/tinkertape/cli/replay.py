"""`tinkertape replay`: a run's tape, executed again for a reporter."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from tinkertape.bus import Bus
from tinkertape.cli.choice import run_argument, tape_named
from tinkertape.cli.progress import Progress
from tinkertape.cli.terminal import PLAIN_WIDTH, talk
from tinkertape.cli.text import escaped
from tinkertape.context import Event
from tinkertape.log_handler import log_events
from tinkertape.tape import Tape, replay
from tinkertape.tape.forms import open_stored

LONG = 50_000  # lines; of a longer tape the progress is shown
CHUNK = 1 << 20  # bytes
STATSD = ("127.0.0.1", 8125)
SENDING_S = 10.0  # for the last packets to it


@contextlib.contextmanager
def to_console(bus: Bus) -> Iterator[None]:
    """The usual metrics as a table, at the end."""
    from tinkertape.metrics import ConsoleReporter, default  # noqa: PLC0415  only what is asked for is loaded

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PLAIN_WIDTH, force_terminal=False)
    with ConsoleReporter(default(), bus=bus, console=console):
        yield


@contextlib.contextmanager
def to_prometheus(bus: Bus) -> Iterator[None]:
    """The usual metrics in Prometheus's text format, at the end."""
    from tinkertape.metrics import PrometheusReporter, default  # noqa: PLC0415  needs an extra

    with PrometheusReporter(default(), bus=bus) as reporter:
        yield
        sys.stdout.write(reporter.text())


@contextlib.contextmanager
def to_statsd(bus: Bus, address: tuple[str, int] = STATSD) -> Iterator[None]:
    """The usual metrics to a StatsD daemon, as if they were of now: it knows no other time."""
    from tinkertape.metrics import StatsDReporter, default  # noqa: PLC0415  only what is asked for is loaded

    host, port = address
    with StatsDReporter(default(), bus=bus, host=host, port=port) as reporter:
        yield
        reporter.close(SENDING_S)
    ledger = reporter.ledger()
    lost = "".join(f", {number} lost: {reason}" for reason, number in ledger.dropped.items())
    talk().print(Text(f"{ledger.sent} values sent to {host}:{port}{lost}"))


@contextlib.contextmanager
def to_log(bus: Bus) -> Iterator[None]:
    """Each event as a line of a log, at the time of the tape."""
    logger = logging.Logger("tinkertape.replay", logging.DEBUG)
    handler = logging.StreamHandler(sys.stdout)
    formatter = _TapeTime("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    bus.attach_all("tinkertape.replay.time", formatter.note)  # before the log's own handler, so called before it
    with log_events(logger=logger, bus=bus):
        yield


class _TapeTime(logging.Formatter):
    """Writes the time of the event that is being replayed, in UTC, and nothing that could steer a terminal."""

    time_ns = 0

    def note(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], config: object) -> None:
        self.time_ns = Event.of(event, measurements, metadata).time_ns

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second, nanoseconds = divmod(self.time_ns, 1_000_000_000)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{nanoseconds // 1000:06d}Z"

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


TARGETS: dict[str, Callable[[Bus], AbstractContextManager[None]]] = {
    "console": to_console,
    "prometheus": to_prometheus,
    "statsd": to_statsd,
    "log": to_log,
}


def _number(context: click.Context, parameter: click.Parameter, speed: float | None) -> float | None:
    if speed is not None and math.isnan(speed):
        raise click.BadParameter("nan is no speed", ctx=context, param=parameter)
    return speed


def _host_and_port(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    if context.params["target"] != "statsd":
        raise click.BadParameter("only --to statsd sends to one", ctx=context, param=parameter)
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise click.BadParameter(f"{text!r} is no host:port", ctx=context, param=parameter)
    return host.strip("[]"), int(port)


@click.command()
@run_argument(required=True)
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Choice(list(TARGETS)),
    is_eager=True,
    help="Who shall see the events again.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    callback=_number,
    help="1 is as fast as it was; without it nothing waits.",
)
@click.option("--address", callback=_host_and_port, help="Of StatsD, as host:port; else 127.0.0.1:8125.")
def command(run: str, target: str, speed: float | None, address: tuple[str, int] | None) -> int:
    """Execute the events of a run again, for a reporter: a table, Prometheus's text, StatsD, or a log.

    \b
    tinkertape replay last --to console
    tinkertape replay last --to log --speed 10
    """
    tape, bus = tape_named(run), Bus()
    reporter = TARGETS[target](bus) if address is None else to_statsd(bus, address)
    try:
        with reporter, contextlib.suppress(KeyboardInterrupt), _progress(tape, bus, target):
            replay(tape, bus, speed=speed)
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
    if tape.torn + tape.damaged:
        talk().print(Text(f"{tape.torn + tape.damaged} lines of the tape are damaged and were set aside"))
    return 0


def _progress(tape: Tape, bus: Bus, target: str) -> AbstractContextManager[Any]:
    """How far it is, where that takes long; a log shows it by itself."""
    lines = 0 if target == "log" else count_lines(tape)
    return _Follow(bus, lines) if lines > LONG else contextlib.nullcontext()


def count_lines(tape: Tape) -> int:
    """How many lines a tape has; nothing is decoded."""
    lines = 0
    for segment in tape.segments:
        with contextlib.suppress(OSError), open_stored(segment) as file:
            while chunk := file.read(CHUNK):
                lines += chunk.count(b"\n")
    return lines


class _Follow(Progress):
    """Progress by the events that were executed."""

    def __init__(self, bus: Bus, lines: int) -> None:
        super().__init__("replaying")
        self._lines, self._executed, self._shown = lines, 0, 0
        bus.attach_all("tinkertape.replay", self._count)

    def _count(self, event: str, measurements: object, metadata: object, config: object) -> None:
        self._executed += 1
        percent = 100 * self._executed // self._lines
        if percent > self._shown:
            self._shown = percent
            self.reached(percent, 100)
