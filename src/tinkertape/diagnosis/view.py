"""A run as of one moment: the main process's time cut into stretches, and what every table of the report needs.

The run's wall time is that of one thread of one process: the one that trains. It begins with the recording (or the
first operation) and ends with it, or now. Other processes' operations are placed on it by wall time, for the eye; no
part is computed from two clocks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.findings import Finding
from tinkertape.diagnosis.partition import Partition
from tinkertape.diagnosis.parts import COMPUTE, RESUBMIT, SEND
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Operation, OperationKey
from tinkertape.diagnosis.segments import Cutter
from tinkertape.diagnosis.steps import Stretch, main_process, main_thread, stretches
from tinkertape.diagnosis.waited import Charged, Cost, Waited
from tinkertape.diagnosis.windows import Windows


@dataclass
class View:
    """The cut run. `process` is the main one; `now_ns` and the stretches are on its clock."""

    book: Book
    process: Process
    thread: int
    began_ns: int
    ended_ns: int
    now_ns: int
    live: bool
    cutter: Cutter
    stretches: list[Stretch]
    partitions: list[Partition]
    total: Partition
    step_of_operation: dict[OperationKey, int] = field(default_factory=dict)
    waited: dict[OperationKey, Counter[str]] = field(default_factory=dict)

    @property
    def wall_s(self) -> float:
        return (self.ended_ns - self.began_ns) / 1e9

    def seconds(self, process: Process, at_ns: int) -> float:
        """A stamp of a process, in seconds since the run's begin."""
        if process is self.process:
            return (at_ns - self.began_ns) / 1e9
        return (process.wall_ns(at_ns) - self.process.wall_ns(self.began_ns)) / 1e9

    def now_of(self, process: Process) -> int:
        """Now, on a process's own clock."""
        if process is self.process:
            return self.now_ns
        return (
            max(process.last_ns, self.process.wall_ns(self.now_ns) - process.offset_ns)
            if self.live
            else process.last_ns
        )

    def step_at(self, at_ns: int) -> int | None:
        """The step of an instant of the main process."""
        index = bisect_right(self.stretches, at_ns, key=lambda each: each.began_ns) - 1
        return self.stretches[index].step if index >= 0 and at_ns <= self.stretches[index].ended_ns else None

    def step_of(self, operation: Operation) -> int | None:
        """The step that an operation belongs to."""
        if operation.process != self.process.id:
            return operation.step if isinstance(operation.step, int) else None
        known = self.step_of_operation.get(operation.key)
        return self.step_at(operation.began_ns) if known is None else known

    def steps_of(self, finding: Finding) -> tuple[int, ...]:
        """The steps that a finding touches: those of its operations, else those it overlaps. A call beside the steps,
        as a sample is, touches all that it overlaps.
        """
        if finding.evidence.process != self.process.id:
            return ()
        began, ended = self.span_of(finding)
        if not finding.evidence.costs_ns:
            return tuple(self._overlapped(began, ended))
        found: set[int] = set()
        for _, number in finding.evidence.costs_ns:
            operation = self.process.operations.get(number)
            step = self.step_of(operation) if operation is not None else None
            if step is not None:
                found.add(step)
            if operation is not None and operation.key not in self.step_of_operation:
                over = ended if operation.ended_ns is None else operation.ended_ns
                found.update(self._overlapped(max(began, operation.began_ns), min(ended, over)))
        return tuple(sorted(found))

    def _overlapped(self, began: int, ended: int) -> Iterator[int]:
        """The steps of which more than a hundredth lies between two instants of the main process."""
        first = bisect_right(self.stretches, began, key=lambda each: each.began_ns) - 1
        for stretch in islice(self.stretches, max(first, 0), None):
            if stretch.began_ns >= ended:
                return
            inside = min(ended, stretch.ended_ns) - max(began, stretch.began_ns)
            if stretch.step is not None and inside > 0.01 * (stretch.ended_ns - stretch.began_ns):
                yield stretch.step

    def cost(self, finding: Finding, outages: Sequence[Finding] = ()) -> Cost | None:
        """What a finding cost: the union of what any thread waited for it, never more than the wall. None: what it made
        longer is not known, and its own figure has to do.

        A second is charged once: what lies in one of the `outages` is the network's, and no error of the service's.
        """
        evidence = finding.evidence
        process = self.book.fold.processes.get(evidence.process)
        if process is None or not process.order or not (evidence.part or evidence.costs_ns):
            return None
        charged = [
            Charged(each.evidence.parts, *self.span_of(each)) for each in outages if each.evidence.process == process.id
        ]
        cost = self._waited(process).cost(evidence, charged)
        wall = self.ended_ns - self.began_ns
        return cost._replace(any_ns=min(cost.any_ns, wall))

    def waited_beside(self, finding: Finding) -> tuple[int, ...]:
        """The threads that waited for anything while what the finding tells of went on."""
        process = self.book.fold.processes[finding.evidence.process]
        return self._waited(process).threads_in(*self.span_of(finding))

    def thread_names(self, finding: Finding, threads: Iterable[int]) -> list[str]:
        """What the threads of a finding's process are called."""
        names = self.book.fold.processes[finding.evidence.process].thread_names
        return list(dict.fromkeys(names.get(thread) or f"{thread:#x}" for thread in threads))

    def _waited(self, process: Process) -> Waited:
        if process is self.process:
            return Waited(self.cutter, self.thread, self.partitions)
        return Waited(self.book.cutter(process, self.now_of(process)), None, ())

    def in_send_s(self, finding: Finding) -> float:
        """What of the cost of the service's refusals lies in `send`: the attempts that failed, and the waits after."""
        is_refusal = finding.owner == "service" or finding.cause == "billing-hold"
        if (
            not is_refusal
            or not finding.evidence.figures.get("statuses")
            or finding.evidence.part
            or finding.evidence.process != self.process.id
        ):
            return 0.0
        total = 0
        for key, cost in finding.evidence.costs_ns.items():
            waited = self.waited.get(key, Counter())
            total += min(cost, waited[SEND] + waited[RESUBMIT])
        return total / 1e9

    def span_of(self, finding: Finding) -> tuple[int, int]:
        """When it began and ended, on its process's clock; what goes on, now."""
        ended = finding.evidence.ended_ns
        process = self.book.fold.processes.get(finding.evidence.process, self.process)
        return finding.evidence.began_ns, self.now_of(process) if ended is None else ended

    def over_ns(self, findings: Sequence[Finding]) -> dict[OperationKey, int]:
        """Compute above usual, by operation."""
        over: dict[OperationKey, int] = {}
        for finding in findings:
            if finding.evidence.part == COMPUTE:
                for key, cost in finding.evidence.costs_ns.items():
                    over[key] = max(over.get(key, 0), cost)
        return over


class Viewer:
    """Makes a view of a run at any moment; keeps what is over."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._windows: Windows | None = None

    def view(self, now_ns: int | None, live: bool | None) -> View | None:
        """The run as of `now_ns` (wall time; None: its last event). `live` None: until its recording stopped."""
        process = main_process(list(self.book.fold.processes.values()))
        if process is None:
            return None
        live = process.session_ended_ns is None if live is None else live
        began = _began_ns(process)
        now = process.last_ns
        if now_ns is not None and live:
            now = max(now, now_ns - process.offset_ns)
        if self.book.only_sdk:  # they carry no clock but the wall's
            began = min(began, self.book.sdk.first_ns - process.offset_ns)
            now = max(now, self.book.sdk.last_ns - process.offset_ns)
        ended = now if process.session_ended_ns is None else max(process.session_ended_ns, began)
        thread = main_thread(process)
        if self._windows is None or self._windows.process is not process or self._windows.thread != thread:
            self._windows = Windows(process, thread)
        cutter = self.book.cutter(process, now)
        tiles = stretches(process, thread, began, ended, live)
        partitions = self._windows.cut(tiles, cutter)
        total = Partition(began, ended)
        view = View(self.book, process, thread, began, ended, now, live, cutter, tiles, partitions, total)
        for stretch, partition in zip(tiles, partitions, strict=True):
            total.add(partition)
            for key, waited in partition.waited.items():
                view.waited.setdefault(key, Counter()).update(waited)
            if stretch.step is not None:
                view.step_of_operation.update({operation.key: stretch.step for operation in stretch.operations})
        return view


def _began_ns(process: Process) -> int:
    first = process.order[0].began_ns if process.order else process.first_ns
    return first if process.session_began_ns is None else min(first, process.session_began_ns)
