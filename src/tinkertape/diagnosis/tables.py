"""The tables of a report: steps, operations, spans, pauses, errors, retries. From a view, each in one function."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from tinkertape.diagnosis.partition import Partition
from tinkertape.diagnosis.parts import PARTS, QUEUE, owner_of
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Failure, Operation, OperationKey, Pause
from tinkertape.diagnosis.report import ErrorRow, ModelRow, OperationRow, Part, PauseRow, RetryRow, Span, Step
from tinkertape.diagnosis.sdk_faults import Kind, kind_of
from tinkertape.diagnosis.segments import Cutter, claimed
from tinkertape.diagnosis.steps import main_thread, steps_taken
from tinkertape.diagnosis.verdict import FAULTS
from tinkertape.diagnosis.view import View

AT_ONCE_S = 0.05  # a pause that comes back so soon is the same one


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile of sorted values, by linear interpolation."""
    place = (len(values) - 1) * q
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def part_rows(total: Partition) -> list[Part]:
    """Every part that took time, in the order of the parts."""
    wall = total.wall_ns
    rows = []
    for part in PARTS:
        value = total.parts[part]
        if value <= 0:
            continue
        quality, method = total.quality(part)
        low, high = total.bounds_ns(part)
        share = value / wall if wall else 0.0
        rows.append(Part(part, owner_of(part), value / 1e9, share, quality, low / 1e9, high / 1e9, method))
    return rows


def step_rows(view: View, over_ns: dict[OperationKey, int]) -> list[Step]:
    """The steps, in order."""
    rows = []
    for stretch, partition in zip(view.stretches, view.partitions, strict=True):
        if stretch.step is None:
            continue
        over = sum(min(cost, partition.waited[key]["compute"]) for key, cost in _known(over_ns, partition) if cost > 0)
        wall = partition.wall_ns
        rows.append(
            Step(
                stretch.step,
                view.seconds(view.process, stretch.began_ns),
                view.seconds(view.process, stretch.ended_ns),
                wall / 1e9,
                {part: partition.parts[part] / 1e9 for part in PARTS if partition.parts[part]},
                over / 1e9,
                stretch.failed,
                stretch.open,
                stretch.inferred,
                loss_of(stretch.operations),
                partition.covered_ns / wall if wall else 0.0,
            )
        )
    return rows


def model_rows(view: View) -> list[ModelRow]:
    """How many steps each model took, in whichever process it was trained; those of the run first."""
    rows = []
    for process in sorted(view.book.fold.processes.values(), key=lambda process: process is not view.process):
        is_main = process is view.process
        thread = view.thread if is_main else main_thread(process)
        taken = steps_taken(process, thread, view.now_of(process), view.live)
        rows += [ModelRow(each.model_id, each.steps, each.is_main and is_main) for each in taken]
    return rows


def _known(over_ns: dict[OperationKey, int], partition: Partition) -> Iterable[tuple[OperationKey, int]]:
    return ((key, over_ns[key]) for key in partition.waited if key in over_ns)


def loss_of(operations: Sequence[Operation]) -> float | None:
    """The loss that a step's calls returned: their mean, where there were several."""
    values = []
    for operation in operations:
        measured = operation.measurements
        named = [key for key in measured if "loss" in key and isinstance(measured[key], int | float)]
        for key in ("loss:mean", "loss", *sorted(named, key=lambda each: (not each.startswith("loss"), each))):
            value = measured.get(key)
            if isinstance(value, int | float) and math.isfinite(value):
                values.append(float(value))
                break
    return sum(values) / len(values) if values else None


def operation_rows(view: View) -> list[OperationRow]:
    """Every operation of the run, with each of its calls; quantiles are of those that ended well."""
    groups: dict[tuple[str, str], list[tuple[Process, Operation]]] = {}
    for process in view.book.fold.processes.values():
        for operation in process.order:
            groups.setdefault((operation.family, operation.name), []).append((process, operation))
    return [_operation_row(view, family, name, calls) for (family, name), calls in groups.items()]


def _operation_row(view: View, family: str, name: str, calls: list[tuple[Process, Operation]]) -> OperationRow:
    walls, rows = [], []
    for process, operation in calls:
        ended = view.now_of(process) if operation.ended_ns is None else operation.ended_ns
        wall = (ended - operation.began_ns) / 1e9
        ok = operation.error is None
        if operation.failure is None and operation.ended_ns is not None:
            walls.append(wall)
        rows.append((view.seconds(process, operation.began_ns), wall, int(ok), view.step_of(operation)))
    walls.sort()
    operations = [operation for _, operation in calls]
    return OperationRow(
        name,
        family,
        len(operations),
        sum(operation.error is not None for operation in operations),
        sum(operation.ended_ns is None for operation in operations),
        quantile(walls, 0.5) if walls else None,
        quantile(walls, 0.95) if walls else None,
        walls[-1] if walls else None,
        sum(operation.retries for operation in operations),
        sum(operation.poll_count for operation in operations),
        rows,
    )


def span_rows(view: View) -> list[Span]:
    """Every call with its segments, by begin."""
    rows = []
    for process in view.book.fold.processes.values():
        now = view.now_of(process)
        cutter = view.cutter if process is view.process else view.book.cutter(process, now)
        rows += [_span(view, process, cutter, operation, now) for operation in process.order]
    return sorted(rows, key=lambda row: row.began_s)


def _span(view: View, process: Process, cutter: Cutter, operation: Operation, now: int) -> Span:
    segments = claimed(cutter.cut(operation), now)
    ended = operation.ended_ns if operation.ended_ns is not None else max(now, operation.began_ns)
    return Span(
        operation.operation_id,
        operation.name,
        process.id,
        view.seconds(process, operation.began_ns),
        view.seconds(process, ended),
        operation.ended_ns is None,
        view.step_of(operation),
        operation.error.error_type if operation.error is not None else None,
        list(operation.request_ids),
        [(part, view.seconds(process, low), view.seconds(process, high)) for part, low, high in segments],
    )


def pause_rows(view: View) -> list[PauseRow]:
    """Every pause, its length as the partition has it, between what the answers prove and what they allow."""
    rows = []
    for process in view.book.fold.processes.values():
        now = view.now_of(process)
        cutter = view.cutter if process is view.process else view.book.cutter(process, now)
        for pause in process.pauses:
            rows.append(_pause_row(view, process, cutter, pause, now))
    return _numbered(sorted(rows, key=lambda row: row.began_s))


def _numbered(rows: list[PauseRow]) -> list[PauseRow]:
    """Those of one reason that overlap, or follow each other at once, get the same number."""
    out: list[PauseRow] = []
    reached: dict[str, tuple[int, float]] = {}
    for row in rows:
        number, until = reached.get(row.reason, (0, -math.inf))
        ended = math.inf if row.ended_s is None else row.ended_s
        if row.began_s > until + AT_ONCE_S:
            number, until = max((each for each, _ in reached.values()), default=0) + 1, -math.inf
        reached[row.reason] = (number, max(until, ended))
        out.append(msgspec.structs.replace(row, pause=number))
    return out


def _pause_row(view: View, process: Process, cutter: Cutter, pause: Pause, now: int) -> PauseRow:
    ended = now if pause.ended_ns is None else pause.ended_ns
    longest = max(0, ended - pause.since_ns if pause.max_ns is None else pause.max_ns)
    shortest = max(0, now - pause.seen_ns if pause.min_ns is None else pause.min_ns)
    length = longest if pause.duration_ns is None else pause.duration_ns
    if pause.operation is not None and len(pause.operation.requests) == 1:
        held = [
            min(high, ended) - max(low, pause.since_ns)
            for part, low, high in cutter.cut(pause.operation).segments
            if part == QUEUE + pause.reason and low < ended and high > pause.since_ns
        ]
        length = sum(held) or length
    return PauseRow(
        view.seconds(process, pause.since_ns),
        None if pause.ended_ns is None else view.seconds(process, pause.ended_ns),
        length / 1e9,
        min(shortest, length) / 1e9,
        max(longest, length) / 1e9,
        pause.reason,
        pause.text,
        pause.operation_name or (pause.operation.name if pause.operation is not None else ""),
        pause.request_id,
        view.step_of(pause.operation) if pause.operation is not None else None,
    )


def error_rows(view: View) -> list[ErrorRow]:
    """Errors of operations and of the program, the same ones as one row, the latest traceback with it."""
    rows: dict[Kind, ErrorRow] = {}
    for process in view.book.fold.processes.values():
        for operation in process.order:
            error = operation.error
            if error is not None:
                at_s = view.seconds(process, error.at_ns)
                _count_error(rows, error, operation.name, at_s, view.step_of(operation), operation.request_ids)
        told = {(row.type, row.message) for row in rows.values()}
        for kind, failure in process.failures.items():
            if kind not in told:
                step = view.step_at(failure.at_ns) if process is view.process else None
                _count_error(rows, failure, "", view.seconds(process, failure.at_ns), step)
    began_ns = view.process.wall_ns(view.began_ns)
    for same in view.book.sdk.faults if view.book.only_sdk else ():  # beside records of ours they tell the same again
        first_s, last_s = (same.first_ns - began_ns) / 1e9, (same.last_ns - began_ns) / 1e9
        _count_error(rows, same.failure, same.operation, first_s, None, list(same.request_ids), same.count, last_s)
    return sorted(rows.values(), key=lambda row: row.first_s)


def _count_error(
    rows: dict[Kind, ErrorRow],
    failure: Failure,
    name: str,
    at_s: float,
    step: int | None,
    request_ids: Sequence[str] = (),
    count: int = 1,
    last_s: float = -math.inf,
) -> None:
    key = kind_of(failure, name)
    known = rows.get(key)
    ids = [] if known is None else known.request_ids
    new = [each for each in request_ids if each not in ids]
    rows[key] = ErrorRow(
        FAULTS.get(failure.owner, "none"),
        failure.error_type,
        failure.message if known is None else known.message,
        failure.status_code,
        failure.category,
        name,
        count if known is None else known.count + count,
        at_s if known is None else min(known.first_s, at_s),
        max(at_s, last_s) if known is None else max(known.last_s, at_s, last_s),
        [*ids, *new],
        step if known is None else known.step,
        failure.traceback or ("" if known is None else known.traceback),
    )


def retry_rows(view: View) -> list[RetryRow]:
    """Every retry, in the order of what failed: the event comes when the wait after it is over."""
    rows = [
        RetryRow(
            view.seconds(process, retry.at_ns - retry.delay_ns),
            retry.operation,
            retry.layer,
            retry.attempt,
            retry.delay_ns / 1e9,
            retry.error_type,
            retry.status_code,
        )
        for process in view.book.fold.processes.values()
        for retry in process.retries
    ]
    return sorted(rows, key=lambda row: row.at_s)
