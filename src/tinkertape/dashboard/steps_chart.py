"""Where each step went: a stacked bar a step, placed in per cent of the plot, so that it needs no script and fits
every width.

Over 120 steps a bar stands for several: their median, or the worst of them where one failed or stands out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from tinkertape.dashboard.format import short
from tinkertape.dashboard.parts import OVER, look_of, rank_of, with_over
from tinkertape.dashboard.report import Finding, Report, Step
from tinkertape.dashboard.scale import label_every, quantile, ticks
from tinkertape.dashboard.text import visible
from tinkertape.figures import marked, seconds

BARS = 120
CUT = 2.8  # times the usual step: a bar above it is cut, so that one pause does not flatten all others
WIDE = 0.82  # of a slot
LETTER = 1.8  # per cent of a narrow plot that a letter over a bar takes
HIGH = 16  # per cent from the top: a bracket above it runs into the words over cut bars


class Block(msgspec.Struct, frozen=True):
    y: float
    height: float
    fill: str
    idle: bool


class Bar(msgspec.Struct, frozen=True):
    step: Step
    label: str
    x: float
    width: float
    slot_x: float
    slot_width: float
    top: float
    blocks: list[Block]
    cut: str = ""  # the real length of a bar that is cut
    cut_said: bool = True  # its length stands over it: it does not touch another's
    cut_why: str = ""  # likewise, in a line below
    name: str = ""
    axis: str = ""


class Total(msgspec.Struct, frozen=True):
    part: str
    label: str
    fill: str
    figure: str
    strong: bool
    title: str


class Mark(msgspec.Struct, frozen=True):
    x: float
    y: float
    width: float
    text: str


class Chart(msgspec.Struct, frozen=True):
    bars: list[Bar]
    grid: list[tuple[float, str]]
    usual: float | None
    totals: list[Total]
    binned: int
    slow: Mark | None
    coming: list[tuple[float, str]]  # labels of the steps to come


def steps_chart(report: Report) -> Chart:
    size = max(1, math.ceil(len(report.steps) / BARS))
    usual = report.usual_step_s or (quantile([step.wall_s for step in report.steps], 0.5) if report.steps else 1.0)
    bins = [report.steps[at : at + size] for at in range(0, len(report.steps), size)]
    shown = [_standing_for(steps, usual) for steps in bins]
    slots = len(shown)
    if report.live and size == 1:
        slots = max(10, math.ceil((slots + 1) / 10) * 10)  # room for the steps to come
    grid = ticks(0, _cap(shown, usual), 3)
    every = label_every(slots * size)
    about = report.is_estimate("queue:")
    bars = [_bar(step, bins[at], at, slots, every, grid[-1], about) for at, step in enumerate(shown)]
    bars = _without_crowding(bars)
    slow = _slow(report.findings, bars)
    bars = _below(slow, bars)
    lines = [(round(100 - 100 * tick / grid[-1], 3), short(tick) if tick == grid[-1] else f"{tick:g}") for tick in grid]
    dotted = report.usual_step_s and round(100 - 100 * min(report.usual_step_s / grid[-1], 1), 3)
    return Chart(
        bars,
        lines,
        dotted or None,
        totals(report),
        size if size > 1 else 0,
        slow,
        _coming(shown, slots),
    )


def totals(report: Report) -> list[Total]:
    """The legend: the run's parts from the top of the stack to its foot, each with its seconds."""
    known = {part.part: part for part in report.parts}
    amounts = with_over({part.part: part.seconds for part in report.parts}, report.over_s)
    found = []
    for part in sorted(amounts, key=rank_of, reverse=True):
        look, source = look_of(part), known.get(part)
        quality = "inferred" if part == OVER else source.marked_as if source else "measured"
        title = "above the usual compute of this run: an estimate" if part == OVER else explained(part, report)
        found.append(
            Total(
                part,
                look.label,
                look.fill,
                marked(seconds(amounts[part]), quality),
                part in (OVER, "queue:capacity"),
                title,
            )
        )
    return found


def explained(part: str, report: Report) -> str:
    """How a part is known: measured, or between which bounds, or inferred and by which method."""
    found = next((item for item in report.parts if item.part == part), None)
    if found is None or found.quality == "measured":
        return "measured"
    limits = (
        f", {seconds(found.min_s)} to {seconds(found.max_s)}"
        if found.min_s is not None and found.max_s is not None
        else ""
    )
    return f"{found.quality}{limits}{f': {found.method}' if found.method else ''}"


def _standing_for(steps: Sequence[Step], usual: float) -> Step:
    worst = max(steps, key=lambda step: (step.failed, step.wall_s))
    if worst.failed or worst.wall_s > CUT * usual or steps[-1].open:
        return steps[-1] if steps[-1].open else worst
    return sorted(steps, key=lambda step: step.wall_s)[len(steps) // 2]


def _cap(steps: Sequence[Step], usual: float) -> float:
    walls = sorted(step.wall_s for step in steps) or [1.0]
    limit = CUT * usual
    while sum(wall > limit for wall in walls) > max(1, 0.15 * len(walls)):
        limit *= 1.5
    below = [wall for wall in walls if wall <= limit]
    return max(below[-1] if below else limit, usual * 1.2, 1e-3)


def _bar(step: Step, behind: Sequence[Step], at: int, slots: int, every: int, cap: float, about: bool) -> Bar:
    slot = 100 / slots
    blocks, foot = [], 0.0
    for part, amount in with_over(step.parts, step.over_s).items():
        y1, y2 = 100 * min(foot, cap) / cap, 100 * min(foot + amount, cap) / cap
        foot += amount
        if y2 - y1 >= 0.1:
            blocks.append(Block(round(100 - y2, 2), round(y2 - y1, 2), look_of(part).fill, part == "idle"))
    words = [f"step {step.step}: {seconds(step.wall_s)}"] + [
        word
        for word, holds in (("failed", step.failed), ("now", step.open), ("found by its rhythm", step.inferred))
        if holds
    ]
    is_cut = step.wall_s > cap
    paused = sum(amount for part, amount in step.parts.items() if part.startswith("queue"))
    length = marked(seconds(paused), "inferred" if about else "measured")
    why = f"paused {length}" if is_cut and paused > step.wall_s / 2 else ""
    top = round(100 - 100 * min(step.wall_s, cap) / cap, 2)
    return Bar(
        step,
        visible(str(step.step)),
        round(at * slot, 3),
        round(slot * WIDE, 3),
        round(at * slot - slot * (1 - WIDE) / 2, 3),
        round(slot, 3),
        top,
        blocks,
        (f"{seconds(step.wall_s)}{', now' if step.open else ''}") if is_cut else "",
        True,
        why,
        ", ".join(words),
        _axis_label(behind, at, slots, every),
    )


def _axis_label(behind: Sequence[Step], at: int, slots: int, every: int) -> str:
    """The first bar names its step; then every so many, by the number of a step that the bar stands for."""
    if at == 0:
        return f"step {behind[0].step}"
    numbers = [step.step for step in behind if isinstance(step.step, int) and step.step % every == 0]
    return str(numbers[0]) if numbers and at * 100 / slots > 7 else ""


def _coming(shown: Sequence[Step], slots: int) -> list[tuple[float, str]]:
    """Where the labels of steps that have not begun would stand, if they go on by one."""
    if not shown or not isinstance(last := shown[-1].step, int):
        return []
    every = label_every(slots)
    numbers = [(at, last + at - len(shown) + 1) for at in range(len(shown), slots)]
    return [(round((at + WIDE / 2) * 100 / slots, 3), str(number)) for at, number in numbers if number % every == 0]


def _without_crowding(bars: list[Bar]) -> list[Bar]:
    """The words over cut bars stay where they do not run into another's: those of the longest bars first, the length
    of one before its reason.
    """
    longest = sorted((bar for bar in bars if bar.cut), key=lambda bar: -bar.step.wall_s)
    lengths = _apart([(bar.x, bar.cut) for bar in longest])
    reasons = _apart([(bar.x, bar.cut_why) for bar in longest if bar.cut_why and bar.x in lengths])
    return [
        msgspec.structs.replace(bar, cut_said=bar.x in lengths, cut_why=bar.cut_why if bar.x in reasons else "")
        for bar in bars
    ]


def _apart(words: Sequence[tuple[float, str]]) -> set[float]:
    """The places of the words that do not touch one before them in the list."""
    kept: list[tuple[float, str]] = []
    for x, text in words:
        if all(abs(x - other) > (len(text) + len(said)) / 2 * LETTER for other, said in kept):
            kept.append((x, text))
    return {x for x, _ in kept}


def _slow(findings: Sequence[Finding], bars: list[Bar]) -> Mark | None:
    """A bracket over the steps in which the service computed slower than usual."""
    for finding in findings:
        evidence = [step for step in finding.evidence.steps if step is not None]
        steps = set(evidence)
        inside = [bar for bar in bars if bar.step.step in steps]
        if finding.cause == "slow-service" and len(inside) >= 2:
            factor = finding.evidence.figures.get("factor")
            text = f"compute {factor:.1f}× its usual" if isinstance(factor, int | float) else "slow-service"
            return Mark(
                inside[0].x,
                min((bar.top for bar in inside if not bar.cut), default=0.0),
                round(inside[-1].x + inside[-1].width - inside[0].x, 3),
                f"{text} since step {visible(str(evidence[0]))}" if inside[-1] is bars[-1] else text,
            )
    return None


def _below(bracket: Mark | None, bars: list[Bar]) -> list[Bar]:
    """A bar that is cut close to a bracket as high as the words over it says its length, and not why."""
    if bracket is None or bracket.y >= HIGH:
        return bars
    middle, half = bracket.x + bracket.width / 2, max(bracket.width, len(bracket.text) * LETTER / 2) / 2
    reach = {bar.x for bar in bars if abs(bar.x + bar.width / 2 - middle) < half + len(bar.cut_why) * LETTER / 2}
    return [msgspec.structs.replace(bar, cut_why="") if bar.cut_why and bar.x in reach else bar for bar in bars]
