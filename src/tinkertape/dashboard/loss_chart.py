"""Loss beside latency, on one axis of steps: is it still learning, and did it slow down? Places are per cent of each
plot."""

from __future__ import annotations

import msgspec

from tinkertape.dashboard.format import loss_figure, short, tick
from tinkertape.dashboard.report import Report
from tinkertape.dashboard.scale import label_every, quantile, ticks
from tinkertape.figures import seconds

MOST = 300  # points; more are thinned, first and last kept
APART = 18.0  # per cent of the plot that a word over a cut column takes


class Point(msgspec.Struct, frozen=True):
    x: float
    y: float


class Column(msgspec.Struct, frozen=True):
    wall_s: float
    x: float
    width: float
    y: float
    failed: bool
    cut: str


class LossChart(msgspec.Struct, frozen=True):
    points: list[Point]
    first: str
    last: str
    grid: list[tuple[float, str]]
    columns: list[Column]
    column_grid: list[tuple[float, str]]
    last_wall: str
    last_wall_y: float
    axis: list[tuple[float, str]]
    label: str


def loss_chart(report: Report) -> LossChart | None:
    """The chart, or None when there are no steps to lay it along."""
    steps = report.steps
    if not steps:
        return None
    place = {step.step: (at + 0.5) * 100 / len(steps) for at, step in enumerate(steps)}
    losses = [(place[step], loss) for step, loss in report.loss if step in place and loss is not None]
    if not losses:
        losses = [(place[step.step], step.loss) for step in steps if step.loss is not None]
    thin = losses[:: max(1, len(losses) // MOST)]
    if losses and thin[-1] != losses[-1]:
        thin.append(losses[-1])
    grid = ticks(min(loss for _, loss in losses), max(loss for _, loss in losses), 3) if losses else []
    span = grid[-1] - grid[0] if losses else 1.0
    points = [Point(round(x, 2), round(100 - 100 * (loss - grid[0]) / span, 2)) for x, loss in thin]
    columns, column_grid, top = _columns(report, place)
    done = [step for step in steps if not step.open]
    last_wall = done[-1].wall_s if done else None
    axis = [
        (round(place[step.step], 2), f"step {step.step}" if at == 0 else str(step.step))
        for at, step in enumerate(steps)
        if at == 0 or _labelled(step.step, len(steps))
    ]
    label = (
        f"Loss from {loss_figure(losses[0][1])} to {loss_figure(losses[-1][1])}"
        if losses
        else "The program reports no loss"
    )
    return LossChart(
        points,
        loss_figure(losses[0][1]) if losses else "",
        loss_figure(losses[-1][1]) if losses else "",
        [(round(100 - 100 * (at - grid[0]) / span, 2), tick(at)) for at in grid],
        columns,
        column_grid,
        seconds(last_wall),
        round(100 - 100 * min((last_wall or 0) / top, 1), 2),
        axis,
        label,
    )


def _columns(
    report: Report, place: dict[int | str | None, float]
) -> tuple[list[Column], list[tuple[float, str]], float]:
    """A column a step: its wall time, cut where one stands far above the others."""
    walls = [step.wall_s for step in report.steps]
    usual = report.usual_step_s or quantile(walls, 0.5) or 1e-3
    low = [wall for wall in walls if wall <= 2.8 * usual] or walls
    grid = ticks(0, max(*low, usual, 1e-3), 2)
    top, width = grid[-1], 60 / len(walls)
    stride = max(1, len(walls) // MOST)
    columns = [
        Column(
            step.wall_s,
            round(place[step.step] - width / 2, 3),
            round(max(width, 0.15), 3),
            round(100 - 100 * min(step.wall_s / top, 1), 2),
            step.failed,
            seconds(step.wall_s) if step.wall_s > top else "",
        )
        for at, step in enumerate(report.steps)
        if at % stride == 0 or step.failed or step.wall_s > top
    ]
    return _one_word_each(columns), [(0.0, short(top)), (100.0, "0")], top


def _one_word_each(columns: list[Column]) -> list[Column]:
    """Of cut columns that stand close together, the longest says how long it is."""
    said: list[float] = []
    for column in sorted((column for column in columns if column.cut), key=lambda column: -column.wall_s):
        if all(abs(column.x - other) > APART for other in said):
            said.append(column.x)
    return [column if column.x in said else msgspec.structs.replace(column, cut="") for column in columns]


def _labelled(step: int | str | None, count: int) -> bool:
    return isinstance(step, int) and step % label_every(count, 4) == 0 and step > label_every(count, 4) / 2
