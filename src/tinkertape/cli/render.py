"""A report for a terminal: the answer first, then where the time went, then the evidence.

One drawing language with the page: the same owners in the same order, each with its shape (■ you, ▲ network, ●
Tinker, ○ idle), so that nothing is said by colour alone. An inferred figure carries ≈, a bounded one ≤ and its
bounds. Every text of the run is escaped (`text.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tinkertape import figures
from tinkertape.cli.estimates import cost_said, lasted_said, pause_cells, pauses_said, told_as_one
from tinkertape.cli.figures import MARKS, bounds, count, moment, plural, seconds, share
from tinkertape.cli.text import escaped, shortened
from tinkertape.diagnosis.report import ErrorRow, FindingRow, OperationRow, Part, PauseRow, Report, RetryRow
from tinkertape.diagnosis.run_state import LIVE
from tinkertape.diagnosis.words import first_line
from tinkertape.tape import Ledger

SHAPES = {"you": "■", "network": "▲", "service": "●", "idle": "○"}
STYLES = {"you": "blue", "network": "yellow", "service": "magenta", "idle": "bright_black"}
NAMES = {"you": "you", "network": "network", "service": "Tinker", "idle": "idle", "none": "none"}
STATES = {"running": "◉", "paused": "❚❚", "stuck": "◇", "failed": "×", "ended": "✓", "killed": "▨"}
PARTS = {
    "your_code": "your code",
    "your_loss_fn": "your loss function",
    "wait_local": "waiting locally",
    "wait_local:sdk_loop": "waiting: SDK loop busy",
    "send:resubmit": "send: once more",
    "compute:behind": "compute: behind another",
    "queue:capacity": "queue: capacity",
    "queue:rate_limit": "queue: rate limit",
    "queue:unknown": "queue: no reason given",
}
BAR, BAR_NARROW, NARROW = 24, 8, 100  # columns of the longest bar; the same in a terminal under 100
NOTE_BESIDE, WITH_BARS = 80, 60  # columns; in fewer a note stands under its row, and there is no bar
NAME_MAX = 60  # characters of a run's name
ROWS_MAX = 8  # of pauses, errors and retries each; what is left out is said


def print_report(console: Console, report: Report) -> None:
    """Print the whole report."""
    for block in _blocks(report, console.width):
        console.print(block)


def _blocks(report: Report, width: int) -> Iterator[RenderableType]:
    yield ""
    yield answer(report)
    if report.verdict.under:
        yield Text(f"  {escaped(report.verdict.under)}", style="dim")
    yield _about(report)
    models = figures.models([model.steps for model in report.models])
    if models:
        yield Text(f"  {figures.plain(models)}", style="dim")
    if report.parts:
        yield _heading("Where the time went", f"{seconds(report.wall_s)}{_steps_said(report)}")
        yield _parts(report, width)
    if report.operations:
        yield _heading("Operations")
        yield _operations(report.operations, width)
    yield from _evidence(report, width)
    yield _ledger(report)


def print_diagnosis(console: Console, report: Report) -> None:
    """Print the answer and the findings behind it, with what was looked for in vain."""
    console.print(answer(report))
    for finding in report.findings:
        console.print("")
        console.print(_finding(finding, live=report.state in LIVE))
    if report.checked:
        console.print(_not_seen(report))


def answer(report: Report) -> Text:
    """The verdict in one sentence, beginning with the owner."""
    mark, style = _mark(report)
    text = Text(f"{mark} ", style=f"bold {style}")
    text.append(escaped(report.verdict.lead), style=f"bold {style}")
    text.append(f" {escaped(report.verdict.sentence)}" if report.verdict.sentence else "", style="bold")
    return text


def _mark(report: Report) -> tuple[str, str]:
    """The shape and colour of the owner, or of the state where it is nobody's; ✓ for what is known to be well only."""
    owner = report.verdict.owner
    if owner in SHAPES:
        return SHAPES[owner], STYLES[owner]
    if report.state != "ended":
        return STATES.get(report.state, "?"), "red" if report.state in ("failed", "killed") else ""
    return ("✓", "green") if report.verdict.well else ("?", "")


def state_said(state: str) -> str:
    """A state with its shape: `✓ ended`."""
    return f"{STATES.get(state, '·')} {escaped(state)}"


def _about(report: Report) -> Text:
    state = state_said(report.state) + (f", exit status {report.exit_status}" if report.exit_status else "")
    facts = [shortened(report.name, NAME_MAX), state, escaped(report.model), moment(report.began)]
    facts += [f"tinker {escaped(report.sdk_version)}" if report.sdk_version else "", plural(report.events, "event")]
    return Text(f"  {'  ·  '.join(fact for fact in facts if fact)}\n  run {escaped(report.run)}", style="dim")


def _steps_said(report: Report) -> str:
    if not report.steps:
        calls = sum(operation.count for operation in report.operations)
        return f" in {plural(calls, 'call')}" if calls else ""
    usual = f", usually {seconds(report.usual_step_s)} each" if report.usual_step_s else ""
    found = " (found by the rhythm of optim_step)" if any(step.inferred for step in report.steps) else ""
    return f" in {plural(report.steps_completed, 'step')}{usual}{found}"


def _heading(title: str, note: str = "") -> Text:
    text = Text(f"\n{title}", style="bold")
    return text.append(f"   {note}", style="not bold dim") if note else text


def table_of(*columns: str, sides: str = "") -> Table:
    """A table without lines. `sides` has a letter a column: `>` a figure, `|` never narrower, `~` folds, else shortens.

    Where the terminal is narrow, texts give way, and figures never do.
    """
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.show_header = any(columns)
    for column, side in zip(columns, sides.ljust(len(columns)), strict=False):
        table.add_column(
            column,
            justify="right" if side == ">" else "left",
            no_wrap=side in ">|",
            overflow="fold" if side == "~" else "ellipsis",
        )
    return table


def _indented(table: Table) -> Padding:
    return Padding(table, (0, 0, 0, 2), expand=False)


def _owner(owner: str) -> Text:
    return Text(f"{SHAPES.get(owner, '·')} {NAMES.get(owner, escaped(owner))}", style=STYLES.get(owner, ""))


def _noted(rows: Sequence[tuple[str | Text, ...]], sides: str, width: int) -> Padding:
    """Rows whose last column is a note; in a terminal that is no wider than `NOTE_BESIDE`, it stands under its row."""
    if width >= NOTE_BESIDE:
        table = table_of(*("" for _ in sides), sides=sides)
        for row in rows:
            table.add_row(*row)
        return _indented(table)
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in line] for line in rows]
    columns = [max(len(row[column]) if column < len(row) else 0 for row in cells) for column in range(len(sides) - 1)]
    lines: list[RenderableType] = []
    for texts in cells:
        line = Text()
        for cell, side, most in zip(texts, sides, columns, strict=False):
            gap = Text(" " * (most - len(cell)))
            line.append_text(gap + cell if side == ">" else cell + gap).append("  " if most else "")
        line.rstrip()
        lines.append(line)
        if len(texts) == len(sides) and texts[-1]:
            lines.append(Padding(texts[-1], (0, 0, 0, 4), expand=False))
    return Padding(Group(*lines), (0, 0, 0, 2), expand=False)


def _parts(report: Report, width: int) -> Padding:
    bar = BAR if width >= NARROW else BAR_NARROW
    rows: list[tuple[str | Text, ...]] = []
    longest = max((part.seconds for part in report.parts), default=0.0)
    for owner in report.owners:
        say = Text(escaped(owner.say), style="dim")
        spent = Text(f"{_owner_mark(report, owner.owner)}{seconds(owner.seconds)}", style="bold")
        rows.append((_owner(owner.owner), "", spent, Text(share(owner.share), style="bold"), "", say))
        for part in (part for part in report.parts if part.owner == owner.owner and part.seconds > 0):
            drawn = _bar(part, longest, bar) if width >= WITH_BARS else ""
            note = Text(_quality(part), style="dim")
            rows.append(("", _part_name(part), _part_time(part), share(part.share), drawn, note))
    if width < WITH_BARS:  # a part is below its owner, not beside it
        rows = [(owner or Text("  ").append(part), *rest) for owner, part, *rest in rows]
        return _noted(rows, "|>>|~", width)
    return _noted(rows, "| >>|~", width)


def _owner_mark(report: Report, owner: str) -> str:
    mine = [(part.seconds, _marked_as(part)) for part in report.parts if part.owner == owner]
    return MARKS.get(figures.sum_marked_as(mine), "")


def _part_name(part: Part) -> str:
    return PARTS.get(part.part, escaped(part.part))


def _part_time(part: Part) -> str:
    return f"{MARKS.get(_marked_as(part), '')}{seconds(part.seconds)}"


def _marked_as(part: Part) -> str:
    return figures.marked_as(part.quality, part.seconds, part.min_s, part.max_s)


def _bar(part: Part, longest: float, most: int) -> Text:
    width = 0.0 if longest <= 0 else part.seconds / longest * most
    fill = "▒" if part.part.startswith("queue") else "█"
    bar = fill * int(width) if width >= 1 else "▏"
    return Text(bar, style=STYLES.get(part.owner, ""))


def _quality(part: Part) -> str:
    quality = _known_as(part)
    if quality == "bounded":
        return f"bounded {bounds(part.min_s, part.max_s)}"
    return f"inferred: {escaped(part.method)}" if quality == "inferred" and part.method else quality


def _known_as(part: Part) -> str:
    return figures.known_as(part.quality, part.min_s, part.max_s)


def _operations(operations: Sequence[OperationRow], width: int) -> Padding:
    if width < WITH_BARS:
        return _noted([(escaped(operation.operation), _operation_said(operation)) for operation in operations], " ~", 0)
    table = table_of("", "calls", "p50", "p95", "longest", "polls", "retries", "errors", sides=" >>>>>>>")
    for operation in operations:
        errors = Text(count(operation.errors), style="red" if operation.errors else "")
        calls = f"{count(operation.count)}{f' + {operation.open} open' if operation.open else ''}"
        times = [seconds(value) for value in (operation.p50_s, operation.p95_s, operation.max_s)]
        table.add_row(
            escaped(operation.operation), calls, *times, count(operation.polls), count(operation.retries), errors
        )
    return _indented(table)


def _operation_said(operation: OperationRow) -> str:
    calls = f"{count(operation.count)}{f' + {operation.open} open' if operation.open else ''} calls"
    named = (("p50", operation.p50_s), ("p95", operation.p95_s), ("longest", operation.max_s))
    times = [f"{name} {seconds(value)}" for name, value in named]
    met = [
        f"{count(operation.polls)} polls",
        f"{count(operation.retries)} retries",
        f"{count(operation.errors)} errors",
    ]
    return ", ".join([calls, *times, *met])


def _evidence(report: Report, width: int) -> Iterator[RenderableType]:
    if report.pauses:
        yield _heading("Pauses", pauses_said(report.pauses))
        yield _pauses(report.pauses, width, live=report.state in LIVE)
    if report.retries:
        yield _heading("Retries")
        yield _retries(report.retries, width)
    if report.errors:
        yield _heading("Errors")
        yield _errors(report.errors, width)
    yield _heading("Findings", "" if report.findings else "none")
    for finding in report.findings:
        yield _finding(finding, live=report.state in LIVE)
    if report.checked:
        yield _not_seen(report)


def _not_seen(report: Report) -> Text:
    return Text(f"  looked for and not seen: {', '.join(escaped(cause) for cause in report.checked)}", style="dim")


def _pauses(pauses: Sequence[PauseRow], width: int, *, live: bool) -> Padding:
    rows: list[tuple[str | Text, ...]] = []
    told = told_as_one(pauses)
    for held in told[:ROWS_MAX]:
        at, length, limits, where, reason = pause_cells(held, live=live)
        rows.append((at, length, Text(limits, style="dim"), where, reason))
    return _noted([*rows, *_left_out(len(told))], "|>| ~", width)


def _retries(retries: Sequence[RetryRow], width: int) -> Padding:
    rows: list[tuple[str | Text, ...]] = []
    for retry in retries[:ROWS_MAX]:
        why = " ".join(str(word) for word in (retry.status_code, retry.error_type) if word)
        again = f"again after {seconds(retry.delay_s)}" if retry.delay_s is not None else "again"
        rows.append((f"at {seconds(retry.at_s)}", escaped(retry.operation or ""), escaped(why), again))
    return _noted([*rows, *_left_out(len(retries))], "|  ~", width)


def _errors(errors: Sequence[ErrorRow], width: int) -> Padding:
    rows: list[tuple[str | Text, ...]] = []
    for error in errors[:ROWS_MAX]:
        times = f" ({error.count} times)" if error.count > 1 else ""
        kind = " ".join(str(word) for word in (error.type, error.status_code, error.category) if word)
        where = _where(error.step, error.operation or "")
        rows.append(
            (
                _owner(error.owner),
                where,
                escaped(f"{kind}{times}"),
                shortened(first_line(error.message or "", 200), 200),
            )
        )
    return _noted([*rows, *_left_out(len(errors))], "|  ~", width)


def _where(step: object, operation: str) -> str:
    return f"step {escaped(str(step))}, {escaped(operation)}" if step is not None else escaped(operation)


def _left_out(total: int) -> list[tuple[Text]]:
    return [(Text(f"and {total - ROWS_MAX} more", style="dim"),)] if total > ROWS_MAX else []


def _finding(finding: FindingRow, *, live: bool) -> Padding:
    cost = cost_said(finding)
    text = _owner(finding.owner).append(f"  {escaped(finding.cause)}", style="bold default")
    text.append(f"  {cost}" if cost else "", style="not bold default").append(
        f"\n{escaped(finding.summary)}{lasted_said(finding, live=live)}", style="not bold default"
    )
    if finding.advice:
        text.append(f"\n{escaped(finding.advice)}", style="not bold italic default")
    return Padding(text, (0, 0, 0, 2), expand=False)


def _ledger(report: Report) -> Text:
    ledger = msgspec.convert(report.ledger or {}, Ledger)
    text = Text("\nLedger   ", style="bold")
    words = f"{count(ledger.recorded)} recorded {'=' if ledger.balanced else '≠'} {count(ledger.stored)} stored"
    lost = sum(ledger.dropped.values())
    words += f" + {count(ledger.pending)} pending + {count(ledger.rejected)} rejected + {count(lost)} dropped"
    text.append(words, style="not bold")
    reasons = ", ".join(f"{escaped(reason)} {count(number)}" for reason, number in ledger.dropped.items() if number)
    return text.append(f" ({reasons})" if reasons else "", style="not bold red")
