"""`tinkertape tail`: a run's events as they are recorded, readable; with `--json` the tape's lines as they are."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import click
from rich.console import Console

from tinkertape.cli.choice import json_option, run_argument, source_at, url_option
from tinkertape.cli.event_text import event_text
from tinkertape.cli.source import resolve
from tinkertape.cli.terminal import answers, print_json
from tinkertape.context import Event
from tinkertape.errors import BadLine
from tinkertape.tape.format import decode_line

_PROCESS = ("memory", "cpu", "counts", "gc", "run_queue", "loop")
_REGULAR = tuple(
    f'"event_name":"{name}"'.encode() for name in ("clock.tick", *(f"process.{name}" for name in _PROCESS))
)
"""Measured again and again, whatever happens: they fill a screen, so they are shown with --json only."""


@click.command()
@run_argument(required=False)
@click.option("--no-follow", is_flag=True, help="End with the last event there is, instead of waiting for more.")
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(0), help="How many earlier events.")
@url_option
@json_option
def command(run: str, no_follow: bool, lines: int, url: str | None, as_json: bool) -> int:
    """Follow a run's events (the newest run's, if none is named) until it ends, or Ctrl-C.

    \b
    tinkertape tail
    tinkertape tail last --no-follow --lines 100000 --json | jq -r .event_name
    """
    source = source_at(url)
    batches = source.lines(resolve(run, source))
    show = print_json if as_json else _readable(answers())
    wanted = is_event if as_json else _is_news
    with contextlib.suppress(KeyboardInterrupt):
        for line in _earlier(batches, lines, wanted):
            show(line)
        if not no_follow:
            _follow(batches, show, wanted, source.every_s)
    return 0


def _earlier(batches: Iterator[Sequence[bytes]], lines: int, wanted: Callable[[bytes], bool]) -> Iterator[bytes]:
    """The last `lines` of what is there by now, by time: a run's processes write a file each."""
    there = itertools.takewhile(bool, batches)
    timed = ((time_of(line), at, line) for at, line in enumerate(itertools.chain.from_iterable(there)) if wanted(line))
    return (line for _, _, line in sorted(heapq.nlargest(lines, timed)))


def time_of(line: bytes) -> bytes:
    """The text of a line's timestamp, which sorts by time; empty where there is none."""
    _, _, rest = line.partition(b'"timestamp":"')
    return rest.partition(b'"')[0][:32]


def _follow(
    batches: Iterator[Sequence[bytes]],
    show: Callable[[bytes], None],
    wanted: Callable[[bytes], bool],
    every_s: float,
) -> None:
    for batch in batches:
        for line in batch:
            if wanted(line):
                show(line)
        if sys.stdout is not None:
            sys.stdout.flush()
        if not batch:
            time.sleep(every_s)


def is_event(line: bytes) -> bool:
    """Neither a header nor the end of a segment."""
    return not line.startswith((b'{"tape"', b'{"tape_end"'))


def _is_news(line: bytes) -> bool:
    return is_event(line) and not any(name in line for name in _REGULAR)


def _readable(console: Console) -> Callable[[bytes], None]:
    def show(line: bytes) -> None:
        try:
            event = decode_line(line)
        except BadLine:
            return  # counted by whoever reads the tape for figures
        if isinstance(event, Event):
            console.print(event_text(event), soft_wrap=True)

    return show
