"""Latency by operation: every call a tick on one logarithmic axis, and every call at its time, with pauses and errors
marked.

Places are per cent of the plot. Over 500 calls of one operation, ticks and dots are those of a sample that keeps the
slowest.
"""

from __future__ import annotations

import math

import msgspec

from tinkertape.dashboard.format import short
from tinkertape.dashboard.report import Operation, Report
from tinkertape.dashboard.scale import log_ticks, quantile, ticks, time_ticks
from tinkertape.figures import THIN, seconds

MOST = 500
STRIPS = 3
APART = 22.0  # per cent of a strip that a value at its edge takes


class Tick(msgspec.Struct, frozen=True):
    at: float
    text: str
    room: str = ""  # where it is labelled: everywhere, or only where the plot is "some" or "wide" enough


class Row(msgspec.Struct, frozen=True):
    operation: Operation
    ticks: list[float]
    p50: float | None
    p95: float | None
    crowd: str  # how strongly a tick is drawn: "", faint or dense


class Latency(msgspec.Struct, frozen=True):
    rows: list[Row]
    axis: list[Tick]


class Dot(msgspec.Struct, frozen=True):
    x: float
    y: float
    failed: bool
    step: str
    figure: str
    cut: bool = False  # above the top: drawn as a mark at the edge
    said: str = ""  # its real value, where that does not touch another


class Strip(msgspec.Struct, frozen=True):
    name: str
    dots: list[Dot]
    p50: float
    figure: str
    most: str
    top: str  # the axis goes from 0 to it


class OverTime(msgspec.Struct, frozen=True):
    strips: list[Strip]
    pauses: list[tuple[float, float]]
    axis: list[Tick]


def latency(report: Report) -> Latency:
    operations = sorted((item for item in report.operations if item.count), key=lambda item: -item.count)
    lengths = [call[1] for item in operations for call in item.calls if call[1] > 0]
    lengths += [value for item in operations for value in (item.p50_s, item.p95_s) if value]
    if not lengths:
        return Latency([Row(item, [], None, None, "") for item in operations], [])
    low, high = math.log10(min(lengths) * 0.85), math.log10(max(lengths) * 1.15)

    def place(length: float | None) -> float | None:
        return None if not length or length <= 0 else round(100 * (math.log10(length) - low) / (high - low), 2)

    rows = []
    for item in operations:
        marks = [
            at
            for at in (place(length) for length in _sample([call[1] for call in item.calls if call[2]]))
            if at is not None
        ]
        rows.append(
            Row(
                item,
                marks,
                place(item.p50_s),
                place(item.p95_s),
                "dense" if len(marks) > 80 else "faint" if len(marks) > 8 else "",
            )
        )
    axis = log_ticks(10**low, 10**high)
    return Latency(
        rows, [Tick(place(tick) or 0.0, _decade(tick), room) for tick, room in zip(axis, _rooms(axis), strict=True)]
    )


def _decade(tick: float) -> str:
    """`100 s`, for `1 min 40 s` is no round time."""
    return f"{tick:g}{THIN}s" if tick >= 60 else short(tick)


def _rooms(axis: list[float]) -> list[str]:
    """In a narrow plot only powers of ten are labelled, in a very narrow one every other of more than two."""
    tens = [tick for tick in axis if abs(math.log10(tick) - round(math.log10(tick))) < 1e-9]
    if not tens:
        return ["" if at == 0 else "wide" for at in range(len(axis))]
    return ["wide" if tick not in tens else "some" if len(tens) > 2 and tens.index(tick) % 2 else "" for tick in axis]


def over_time(report: Report) -> OverTime:
    """A strip an operation, for those called often; its axis ends at a round value above four times the usual at most,
    so that a pause does not flatten the rest. What is above stands at the edge, with its real value."""
    often = sorted((item for item in report.operations if len(item.calls) > 1), key=lambda item: -item.count)[:STRIPS]
    wall = max([report.wall_s, 1e-3] + [call[0] for item in often for call in item.calls])
    strips = [_strip(item, wall) for item in often]
    pauses = [
        (
            round(100 * max(pause.began_s, 0) / wall, 3),
            round(100 * max((pause.ended_s if pause.ended_s is not None else wall) - pause.began_s, 0) / wall, 3),
        )
        for pause in report.pauses
    ]
    pauses = [(x, max(min(width, 100 - x), 0.2)) for x, width in pauses if x < 100]
    axis = [Tick(round(100 * tick / wall, 2), short(tick)) for tick in time_ticks(wall, 4)]
    return OverTime(strips, pauses, axis)


def _strip(item: Operation, wall: float) -> Strip:
    lengths = [call[1] for call in item.calls]
    usual = item.p50_s or quantile(lengths, 0.5)
    most = max(lengths)
    top = most if most <= 4 * usual else max([length for length in lengths if length <= 4 * usual] + [usual * 2])
    top = ticks(0, max(top, 1e-6), 4)[-1]
    kept = (
        sorted(sorted(item.calls, key=lambda call: -call[1])[:40] + item.calls[:: max(1, len(item.calls) // MOST)])
        if len(item.calls) > MOST
        else item.calls
    )
    dots = [
        Dot(
            round(100 * began / wall, 2),
            round(100 - 100 * min(length / top, 1), 2),
            not good,
            "" if step is None else str(step),
            seconds(length),
            length > top,
        )
        for began, length, good, step in kept
    ]
    said = _apart([(call[1], place) for place, call in enumerate(kept) if call[1] > top], dots)
    dots = [msgspec.structs.replace(dot, said=dot.figure) if at in said else dot for at, dot in enumerate(dots)]
    p50 = round(100 - 100 * min(usual / top, 1), 2)
    return Strip(item.operation, dots, p50, seconds(usual), seconds(most), short(top))


def _apart(cut: list[tuple[float, int]], dots: list[Dot]) -> set[int]:
    """Which of the cut dots say their value: the longest first, as far as the words do not touch."""
    chosen: list[int] = []
    for _, place in sorted(cut, reverse=True):
        if all(abs(dots[place].x - dots[other].x) > APART for other in chosen):
            chosen.append(place)
    return set(chosen)


def _sample(lengths: list[float]) -> list[float]:
    if len(lengths) <= MOST:
        return lengths
    ordered = sorted(lengths)
    return ordered[:: max(1, len(ordered) // MOST)] + ordered[-5:]
