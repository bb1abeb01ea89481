"""rate-limit-self: this run sent more at once than the service takes, was answered 429, and waited.

Rule      submissions were answered 429, and waited 1 s or more in sum until they were sent again; answers within 30 s
          of each other are one finding. It says how many calls were in flight, and how many of them the service had
          taken. The cost is what the run waited for them: `wait_local` for samples, `send` for all else.
Source    facts/partition.md §8 and §2: 429 on `/asample`, and the time until it is sent again: 1 s, 5 s where the
          prompt is large. facts/sdk.md §4: what else is answered 429 is sent again after a back-off.
Wrong if  another run of the same account used the limit up: then few calls of this one were in flight: it is told
          with less confidence, and as nobody's. Samples that the SDK held back because others were answered 429 are
          not counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tinkertape.context import Event
from tinkertape.diagnosis.book import SETTLED, Book
from tinkertape.diagnosis.findings import Evidence, Finding
from tinkertape.diagnosis.losses import SETTLED_NS, Interval, is_due, within
from tinkertape.diagnosis.parts import SDK_LOOP, SEND, WAIT_LOCAL
from tinkertape.diagnosis.process import Process
from tinkertape.diagnosis.records import OperationKey
from tinkertape.diagnosis.segments import Cutter
from tinkertape.diagnosis.tallies import Costs
from tinkertape.diagnosis.words import count

LISTENS = ("tinker.submit.exception", "tinker.retry", "clock.tick", "telemetry.session.stop", SETTLED)
WAITED_MIN_NS = 1_000_000_000
SAME_STRETCH_NS = 30_000_000_000
COUNT_EACH_NS = 500_000_000
COUNTED_MAX = 4096  # of the newest calls
ANSWERS_MAX = 256  # of the newest
STAMPED_WITHIN_NS = 50_000_000  # answers to one burst come in any order
FEW = 2  # in flight: with no more it is not this run's number of calls
ADVICE = "Keep fewer requests in flight at once."
ADVICE_OF_FEW = "See whether another run uses the same account; if none does, ask Tinker for its limit."
PARTS = (WAIT_LOCAL, SDK_LOOP, SEND)


@dataclass
class _Stretch:
    """Answers of 429 close to each other."""

    process: str
    began_ns: int
    last_ns: int
    costs: Costs  # of operations that are over for long
    answers: int = 0
    answered_ns: deque[int] = field(default_factory=lambda: deque(maxlen=ANSWERS_MAX))  # not yet counted at
    in_flight: int = 0
    taken: int = 0
    counted_ns: int = 0
    told_ns: int = 0
    waits: dict[int, list[Interval]] = field(default_factory=dict)  # by operation: until it was sent again
    open: dict[int, int] = field(default_factory=dict)  # operations that wait, since
    waited: int = 0  # how often the operations that are over for long waited
    waited_ns: int = 0
    names: Counter[str] = field(default_factory=Counter)  # of those operations

    def spans(self, now: int) -> dict[int, list[Interval]]:
        """By operation, with the waits that are not over."""
        found = {number: list(waits) for number, waits in self.waits.items()}
        for number, since in self.open.items():
            found.setdefault(number, []).append((since, max(since, now)))
        return found


class Detector:
    """Keeps the last stretch of each process."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._stretches: dict[str, _Stretch] = {}

    def held(self) -> Iterator[OperationKey]:
        """The operations that it may still ask for."""
        for process, stretch in self._stretches.items():
            yield from ((process, number) for number in (*stretch.waits, *stretch.open))

    def detect(self, event: Event) -> Iterator[Finding]:
        """A finding when the waits are long enough, again as they grow, and as what they cost gets known."""
        process = self._book.fold.processes[event.process]
        if event.metadata.get("status_code") == 429 and event.metadata.get("operation_id") is not None:
            if event.name == "tinker.submit.exception":
                self._answered(process, event)
            elif event.name == "tinker.retry" and event.metadata.get("layer") != "poll":
                self._sent_again(process, event)
        stretch = self._stretches.get(event.process)
        if stretch is None:
            return
        is_over, now = event.name == "telemetry.session.stop", process.last_ns
        is_told = is_over or is_due(stretch.told_ns, stretch.began_ns, now)
        if stretch.answered_ns and (is_told or now - stretch.counted_ns >= COUNT_EACH_NS):
            _count(process, stretch, now)
        if is_told:
            yield from self._told(process, stretch, now)
        if now - stretch.last_ns > 2 * SAME_STRETCH_NS and not stretch.open:
            del self._stretches[event.process]

    def _answered(self, process: Process, event: Event) -> None:
        at, number = _stamp(event), event.metadata["operation_id"]
        stretch = self._stretch(process, at)
        stretch.answers += 1
        stretch.answered_ns.append(at)
        stretch.open[number] = at

    def _sent_again(self, process: Process, event: Event) -> None:
        at, number = _stamp(event), event.metadata["operation_id"]
        began = at - int(event.measurements.get("delay") or 0)
        stretch = self._stretch(process, began)
        if stretch.open.pop(number, None) is None:
            stretch.answers += 1  # it was sent again inside the HTTP client: only now is it known
            stretch.answered_ns.append(began)
        stretch.waits.setdefault(number, []).append((began, at))
        stretch.last_ns = max(stretch.last_ns, at)

    def _stretch(self, process: Process, at: int) -> _Stretch:
        stretch = self._stretches.get(process.id)
        if stretch is None or at - stretch.last_ns > SAME_STRETCH_NS:
            stretch = self._stretches[process.id] = _Stretch(process.id, at, at, Costs(self._book.most_named))
        stretch.last_ns = max(stretch.last_ns, at)
        return stretch

    def _told(self, process: Process, stretch: _Stretch, now: int) -> Iterator[Finding]:
        stretch.told_ns = now
        for number in [number for number in stretch.open if _is_over(process, number)]:
            stretch.waits.setdefault(number, []).append(
                (stretch.open.pop(number), process.operations[number].ended_ns or 0)
            )
        cutter = self._book.cutter(process)
        _forget(process, stretch, cutter, now)
        spans = stretch.spans(now)
        if stretch.waited_ns + sum(high - low for each in spans.values() for low, high in each) < WAITED_MIN_NS:
            return
        known = {number: process.operations[number] for number in spans if number in process.operations}
        costs = {each.key: within(cutter.cut(each), PARTS, spans[number]) for number, each in known.items()}
        yield _finding(stretch, costs, stretch.names + Counter(each.name for each in known.values()))


def _forget(process: Process, stretch: _Stretch, cutter: Cutter, now: int) -> None:
    """Add up what the operations waited that are over for long: nothing more gets known of them."""
    for number in list(stretch.waits):
        operation = process.operations.get(number)
        if operation is not None and (operation.ended_ns is None or now < operation.ended_ns + SETTLED_NS):
            continue
        waits = stretch.waits.pop(number)
        stretch.waited += len(waits)
        stretch.waited_ns += sum(high - low for low, high in waits)
        if operation is not None:
            stretch.names[operation.name] += 1
            stretch.costs.add(operation.key, within(cutter.cut(operation), PARTS, waits))


def _is_over(process: Process, number: int) -> bool:
    operation = process.operations.get(number)
    return operation is not None and operation.ended_ns is not None


def _count(process: Process, stretch: _Stretch, now: int) -> None:
    """Keep the most calls in flight when one was answered 429, and the most of them that the service had taken by then.

    The answers of the last moment are counted at again: those to one burst are stamped in any order.
    """
    stretch.counted_ns = now
    flights: list[Interval] = []
    taken: list[Interval] = []
    for operation in process.order[-COUNTED_MAX:]:
        ended = now if operation.ended_ns is None else operation.ended_ns
        flights.append((operation.began_ns, ended))
        accepted = [submit.accepted_ns for line in operation.lines.values() for submit in line.submits]
        taken += [(at, ended) for at in accepted[-1:] if at is not None]
    stretch.in_flight = max(stretch.in_flight, _most(flights, stretch.answered_ns, 0))
    stretch.taken = max(stretch.taken, _most(taken, stretch.answered_ns, STAMPED_WITHIN_NS))
    while stretch.answered_ns and stretch.answered_ns[0] < now - STAMPED_WITHIN_NS:
        stretch.answered_ns.popleft()


def _most(intervals: list[Interval], instants: Iterable[int], late_ns: int) -> int:
    """How many intervals an instant lies in, at most; one that begins `late_ns` after it counts."""
    begins, ends = sorted(began for began, _ in intervals), sorted(ended for _, ended in intervals)
    return max((bisect_right(begins, at + late_ns) - bisect_right(ends, at) for at in instants), default=0)


def _finding(stretch: _Stretch, newest: dict[OperationKey, int], names: Counter[str]) -> Finding:
    costs = Counter(stretch.costs.by_operation)
    costs.update(newest)
    figures = {
        "answers": stretch.answers,
        "in_flight": stretch.in_flight,
        "taken": stretch.taken,
        "waits": stretch.waited + sum(map(len, stretch.waits.values())) + len(stretch.open),
    }
    by_number = stretch.in_flight > FEW
    most = f"it took {stretch.taken} at once" if by_number else "another run may have used the limit up"
    fewer = f"Keep fewer in flight at once: about {stretch.taken}." if stretch.taken else ADVICE
    return Finding(
        "you" if by_number else "none",
        summary=(
            f"Tinker answered 429 to {count(stretch.answers, 'attempt')} while {count(stretch.in_flight, 'call')}"
            f" {'was' if stretch.in_flight == 1 else 'were'} in flight; {most}."
        ),
        evidence=Evidence(
            began_ns=stretch.began_ns,
            ended_ns=None if stretch.open else stretch.last_ns,
            process=stretch.process,
            operations=tuple(name for name, _ in names.most_common()),
            figures=figures,
            costs_ns=costs,
            parts=PARTS,
        ),
        confidence=0.9 if by_number else 0.5,
        cost_s=(stretch.costs.total_ns + sum(newest.values())) / 1e9,
        advice=fewer if by_number else ADVICE_OF_FEW,
    )


def _stamp(event: Event) -> int:
    value = event.measurements.get("monotonic_time")
    return int(value) if isinstance(value, int | float) else event.monotonic_ns
