"""The list of runs, as values for the template: live ones first, then by day, the newest on top. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from tinkertape.dashboard.format import moment, rate
from tinkertape.dashboard.parts import owner_class, owner_name
from tinkertape.dashboard.report import RunRow, TopFinding
from tinkertape.dashboard.run_page import STATES
from tinkertape.dashboard.scale import quantile
from tinkertape.dashboard.share import Bar, share_bar
from tinkertape.figures import count, marked, seconds

WAITS = {
    "tinker": "for Tinker",
    "network": "for the network",
    "you": "for its own code",
    "none": "without a cause yet",
    "silent": "without a Tinker call yet",
    "early": "too early to say",
}
QUIET = ("silent", "early")  # nobody waits, as far as is known
SPARK_BARS, SPARK_WIDTH, SPARK_HEIGHT = 30, 132, 22


class Spark(msgspec.Struct, frozen=True):
    bars: list[tuple[float, float, float, bool]]  # x, height, width; stands out
    label: str


class Line(msgspec.Struct, frozen=True):
    row: RunRow
    state: str
    owner: str
    owner_name: str
    steps: str
    rate: str
    cost: str
    found: str
    answer: str
    last: datetime | None
    ago: str
    share: Bar
    spark: Spark | None


class Group(msgspec.Struct, frozen=True):
    title: str
    lines: list[Line]


class Said(msgspec.Struct, frozen=True):
    """A stretch of the headline, with its owner's class where it has one."""

    text: str
    owner: str = ""


class RunsPage(msgspec.Struct, frozen=True):
    groups: list[Group]
    headline: list[Said]
    total: int
    live: int
    found: int
    failed: int
    columns: frozenset[str]


def runs_page(rows: Sequence[RunRow], now: datetime) -> RunsPage:
    """Everything that the list says, at a moment: "3 s ago" and "Yesterday" are counted from `now`."""
    lines = [_line(row, now) for row in rows]
    ordered = sorted(lines, key=lambda line: line.last or datetime.min.replace(tzinfo=UTC), reverse=True)
    groups = [Group("Live", [line for line in sorted(lines, key=_begun, reverse=True) if line.row.live])]
    for line in (line for line in ordered if not line.row.live):
        title = _day(line.last, now)
        if groups[-1].title != title:
            groups.append(Group(title, []))
        groups[-1].lines.append(line)
    has = {
        name
        for name, holds in (("spark", _spark), ("model", lambda row: row.model), ("share", lambda row: row.parts))
        if any(holds(row) for row in rows)
    }
    return RunsPage(
        [group for group in groups if group.lines],
        headline(rows),
        len(rows),
        sum(row.live for row in rows),
        sum(row.findings > 0 or row.finding is not None for row in rows),
        sum(row.state == "failed" for row in rows),
        frozenset(has),
    )


def headline(rows: Sequence[RunRow]) -> list[Said]:
    """One sentence over the list: how many live, how many of them are well, whom the others wait for."""
    live = [row for row in rows if row.live]
    if not rows:
        return [Said("No runs yet.")]
    if not live:
        newest = max(rows, key=lambda row: row.began or "")
        many = f"{len(rows)} run{'s' * (len(rows) > 1)}, none live."
        ended = {"failed": "failed", "killed": "was killed"}.get(newest.state, "ended")
        said = [Said(f"{many} The newest, {newest.name or newest.run}, {ended}")]
        if newest.finding is not None and owner_class(newest.finding.owner) != "none":
            return [
                *said,
                Said("; its largest cost is "),
                Said(
                    {"you": "your own code", "network": "the network", "tinker": "Tinker"}[
                        owner_class(newest.finding.owner)
                    ],
                    owner_class(newest.finding.owner),
                ),
                Said("."),
            ]
        if newest.is_without_calls:
            return [*said, Said("; no Tinker call was recorded.")]
        return [*said, Said(" and was healthy." if newest.healthy else ".")]
    well = [row for row in live if row.healthy]
    said = [Said(f"{len(live)} run{'s' * (len(live) > 1)} live: ")]
    said.append(
        Said(
            ("all healthy." if len(live) > 1 else "healthy.")
            if len(well) == len(live)
            else f"{len(well)} healthy. "
            if well
            else ""
        )
    )
    waiting = Counter(_waits_for(row) or "none" for row in live if row not in well)
    for at, owner in enumerate(sorted(waiting, key=lambda owner: (owner in ("none", *QUIET), -waiting[owner]))):
        number = waiting[owner]
        verb = ("waits" if number == 1 else "wait") if owner == "none" or (at == 0 and owner not in QUIET) else ""
        said += [Said(", ")] * (at > 0) + [
            Said(" ".join(word for word in (str(number), verb, WAITS[owner]) if word), "" if owner in QUIET else owner)
        ]
    return [*said, Said(".")] if waiting else said


def _waits_for(row: RunRow) -> str:
    """Whom a live run waits for; "" for nobody, as far as is known; of `QUIET`: too early to know."""
    if row.finding is not None:
        return owner_class(row.finding.owner)
    if row.state in ("paused", "stuck"):
        return "tinker"
    if row.is_without_calls:
        return "silent"
    return "early" if row.lead.startswith("Too early") else ""


def _line(row: RunRow, now: datetime) -> Line:
    last = moment(row.last_event) or moment(row.ended) or moment(row.began)
    began = moment(row.began)
    wall_s = row.wall_s or ((last - began).total_seconds() if last and began else None)
    share = share_bar(row.parts, row.over_s)
    owner = owner_class(row.finding.owner) if row.finding else "none"
    return Line(
        row,
        STATES.get(row.state, "Unknown"),
        owner,
        owner_name(owner),
        count(row.steps),
        rate(row.steps, wall_s) if row.steps else "",
        _cost(row.finding) if row.finding else "",
        _found(row),
        _answer(row),
        last,
        _ago(last, now) if row.live else "",
        share,
        _spark(row),
    )


def _answer(row: RunRow) -> str:
    """Where nothing was found: the answer in two or three words; "" where the state says it."""
    if row.is_untold:
        return "cannot say"
    if row.is_without_calls:
        return "no Tinker call"
    if row.healthy:
        return "healthy"
    return "" if row.state in ("failed", "killed") else row.lead.rstrip(".:").lower().replace("tinker", "Tinker")


def _found(row: RunRow) -> str:
    """The top finding in few words, `2.4 s at step 8`: its cause stands before them, and its sentence is long."""
    finding = row.finding
    if finding is None:
        return ""
    steps = [step for step in finding.steps if step is not None]
    if not steps:
        return finding.summary
    where = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
    return f"{_cost(finding)} at {where}" if finding.cost_s else f"at {where}"


def _cost(finding: TopFinding) -> str:
    return marked(seconds(finding.cost_s), "inferred" if finding.estimate and finding.cost_s else "measured")


def _begun(line: Line) -> str:
    return line.row.began or ""


def _spark(row: RunRow) -> Spark | None:
    walls = [wall for wall in row.step_walls if wall is not None][-SPARK_BARS:]
    if not walls:
        return None
    top = max(quantile(walls, 0.5) * 2.1, 1e-9)
    slot = min(SPARK_WIDTH / len(walls), 12.0)
    bars = [
        (
            round(at * slot, 2),
            round(max(min(wall / top, 1) * (SPARK_HEIGHT - 2), 1), 2),
            round(max(slot - 1, 1), 2),
            wall > top,
        )
        for at, wall in enumerate(walls)
    ]
    return Spark(bars, f"step time: usually {seconds(quantile(walls, 0.5))}, last {seconds(walls[-1])}")


def _ago(last: datetime | None, now: datetime) -> str:
    if last is None:
        return "–"
    passed = (now - last).total_seconds()
    return "now" if passed < 1 else f"{seconds(float(int(passed))).replace('.0', '')} ago"


def _day(last: datetime | None, now: datetime) -> str:
    if last is None:
        return "Without a time"
    day, today = last.astimezone(now.tzinfo).date(), now.date()
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day.day} {day:%B}" + (f" {day.year}" if day.year != today.year else "")
