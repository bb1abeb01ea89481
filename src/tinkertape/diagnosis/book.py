"""What the detectors share: the fold of the run, what is usual in it, and the cut of any operation.

`Book.feed` takes each event once, before the detectors see it. An operation is *settled* a moment after it ended, when
the busy runs that held its last stamps are known too: then it is cut, and counts for what is usual. `settled` lists
those that this event settled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from tinkertape.context import Event
from tinkertape.diagnosis.connections import FOLLOWED
from tinkertape.diagnosis.fold import Fold
from tinkertape.diagnosis.forgetting import forget
from tinkertape.diagnosis.history import History, is_usual
from tinkertape.diagnosis.parts import COMPUTE
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import Operation, OperationKey
from tinkertape.diagnosis.sdk_faults import SdkEvents
from tinkertape.diagnosis.segments import Cutter, OperationCut

SETTLE_NS = 100_000_000
SETTLED = "operation.settled"
"""No event: in a detector's `LISTENS` it stands for any event that settled operations, which `Book.settled` lists."""


class Book:
    """The records of a run, and one history a process. `most_named`: so many operations are named in one finding, with
    what it cost each of them (None: all).
    """

    def __init__(self, *, most_named: int | None = None) -> None:
        self.fold = Fold()
        self.sdk = SdkEvents()
        self.settled: Sequence[OperationCut] = ()
        self.most_named = most_named
        self._histories: dict[str, History] = {}

    def feed(self, event: Event) -> None:
        """Take one event, and settle what it lets settle."""
        process = self.fold.feed(event)
        self.sdk.feed(event)
        if event.name in FOLLOWED or process.connections.unjudged:
            process.connections.follow(event, process.last_ns, process.sdk_busy)
        self.settled = ()
        if process.ended and _is_settled(process, process.ended[0]):
            self.settled = list(self._settle(process))

    def forget(self, held: Collection[OperationKey] = ()) -> None:
        """Drop what is settled, but for the operations that a detector may still ask for."""
        self.sdk.forget()
        for process in self.fold.processes.values():
            forget(process, {number for of, number in held if of == process.id})

    @property
    def only_sdk(self) -> bool:
        """Is all that is known of the run what the SDK itself told: no operation was recorded?"""
        return self.sdk.events > 0 and not any(process.order for process in self.fold.processes.values())

    def history(self, process: Process) -> History:
        """What is usual in a process."""
        known = self._histories.get(process.id)
        if known is None:
            known = self._histories[process.id] = History()
        return known

    def cutter(self, process: Process, now_ns: int | None = None) -> Cutter:
        """Cuts a process's operations as of `now_ns`, by default its last event."""
        return Cutter(process, self.history(process), process.last_ns if now_ns is None else now_ns)

    def _settle(self, process: Process) -> Iterator[OperationCut]:
        while process.ended and _is_settled(process, process.ended[0]):
            operation = process.ended.popleft()
            cut = self.cutter(process).cut(operation)
            if is_usual(operation):
                self.history(process).add(operation, cut.nanoseconds(COMPUTE))
            yield cut


def _is_settled(process: Process, operation: Operation) -> bool:
    ended = operation.ended_ns or 0
    return process.last_ns >= ended + SETTLE_NS or process.session_ended_ns is not None
