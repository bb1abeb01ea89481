"""A live fold forgets what is settled: it finds the same, and stays as small as what is open."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnosis.broken import REFUSED, RESET, exchange
from tests.diagnosis.builder import MS, Script, training_run
from tests.diagnosis.test_laws import any_run

from tinkertape.context import Event
from tinkertape.diagnosis import Diagnoser, causes, live
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.findings import Finding
from tinkertape.diagnosis.live import LiveDiagnoser
from tinkertape.diagnosis.runner import Runner
from tinkertape.diagnosis.steps import step_now

Cuts = list[tuple[Any, ...]]


def folded(events: Iterable[Event], forget_every: int | None) -> tuple[list[Finding], Cuts, int]:
    """What was found, each operation's cut when it settled, and how many operations are left."""
    book = Book(most_named=None if forget_every is None else live.NAMED_KEPT)
    runner = Runner(book)
    cuts: Cuts = []
    for number, event in enumerate(events, 1):
        book.feed(event)
        runner.feed(event)
        cuts += [(cut.operation.key, cut.segments, cut.cut.doubts, cut.final) for cut in book.settled]
        if forget_every is not None and number % forget_every == 0:
            book.forget(runner.held())
    return runner.findings, cuts, sum(len(process.order) for process in book.fold.processes.values())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_what_is_forgotten_changes_no_finding_and_no_cut(seed: int, forget_every: int) -> None:
    events = any_run(seed, calls=40)

    forgot, whole = folded(events, forget_every), folded(events, None)

    assert forgot[:2] == whole[:2]
    assert forgot[2] < whole[2]


def broken_run() -> Script:
    """Connections of calls break every second or so, and are made again."""
    script = Script()
    script.start(0)
    at = 10.0
    for number in range(200):
        call = script.call("forward_backward", at, send=80)
        known = {"operation_id": call.operation_id, "operation": "forward_backward", "submission_id": call.operation_id}
        if number % 4 == 0:
            exchange(script, at + 5, at + 30, "/api/v1/forward_backward", error=RESET, **known)
            exchange(script, at + 60, at + 70, "/api/v1/forward_backward", **known)
        script.claim(call, at + 1, call.ended + 0.2)
        script.tick(call.ended + 1)
        at = call.ended + 200
    script.stop(at)
    return script


def limited_run() -> Script:
    """Every third sample is answered 429 at first, for minutes."""
    script = Script()
    script.start(0)
    for number in range(400):
        at = 10.0 + number * 300
        call = script.call("sample", at, family="sampling", send=250)
        known = {"operation_id": call.operation_id, "operation": "sample", "submission_id": call.operation_id}
        if number % 3 == 0:
            limited = {**known, "status_code": 429}
            script.event("tinker.submit.exception", at + 20, {"duration": 5 * MS}, limited)
            script.event("tinker.retry", at + 200, {"delay": 180 * MS}, {**limited, "layer": "sampling"})
        script.tick(at + 290)
    script.stop(125_000)
    return script


def unreachable_run() -> Script:
    """Nothing gets through for a while, twice, and there is much else to do before and after."""
    script = training_run([100.0] * 200)
    for outage in (5_000.0, 15_000.0):
        for number in range(4):
            exchange(script, outage + 600 * number, outage + 600 * number + 5, error=REFUSED)
    for number in range(34):
        script.tick(1000.0 * number)
    return script


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(training_run([100.0] * 30 + [350.0] * 30 + [100.0] * 30, hold=500), id="slow"),
        pytest.param(training_run([100.0] * 60, pauses={7: (0, 9000), 40: (50, 3000)}, hold=300), id="paused"),
        pytest.param(
            training_run([100.0] * 60, failures={9: {"error_type": "ValueError", "fault_owner": "user"}}), id="mistaken"
        ),
        pytest.param(broken_run(), id="broken"),
        pytest.param(unreachable_run(), id="unreachable"),
        pytest.param(limited_run(), id="limited"),
    ],
)
def test_a_run_with_trouble_has_the_same_findings(run: Script) -> None:
    forgot, whole = folded(run.events(), 20), folded(run.events(), None)

    assert whole[0] and forgot[:2] == whole[:2]
    assert forgot[2] < whole[2] / 2


def test_the_step_is_known_when_its_operations_are_forgotten() -> None:
    book = Book(most_named=1)
    told = []
    for event in training_run([100.0] * 50).events():
        book.feed(event)
        book.forget()
        process = next(iter(book.fold.processes.values()))
        if event.name == "tinker.training.forward_backward.start":
            told.append(step_now(process))

    assert told == list(range(1, 51))
    assert len(process.order) < 40


def test_a_call_that_waits_for_hours_keeps_few_polls() -> None:
    script = Script()
    script.start(0)
    script.call("sample", 10, family="sampling", compute=100, paused=(0, 3_600_000), hold=1000)
    script.call("sample", 11, family="sampling", compute=3_600_000, hold=1000)

    forgot, whole = folded(script.events(), 500), folded(script.events(), None)

    assert forgot[:2] == whole[:2]
    book = Book(most_named=1)
    for event in script.events()[:-20]:
        book.feed(event)
    book.forget()
    [process] = book.fold.processes.values()
    assert [len(request.polls) for operation in process.order for request in operation.requests.values()] < [100, 100]


@functools.cache
def troubled(calls: int) -> list[Event]:
    """Much of everything: pauses, errors of both sides, broken connections, slow calls, and calls that never end."""
    script = Script()
    script.start(0)
    at = 10.0
    for number in range(calls):
        family = "sampling" if number % 3 else "training"
        call = script.call(
            "sample" if family == "sampling" else "forward_backward",
            at,
            family=family,
            compute=100 if number // 40 % 2 else 260,
            paused=(0, 2000) if number % 50 == 9 else None,
            hold=500,
            failure=failure_of(number),
            model=f"model-{number // 100}",
        )
        script.claim(call, at + 1, call.ended + 0.2)
        metadata = {"operation_id": call.operation_id, "operation": "sample", "http_id": 10**6 + number, "path": "/x"}
        broke = {"error_type": "ReadError", "reason": "broken"}
        if number % 20 == 3:
            script.event("tinker.http.request.exception", at + 40, {"duration": 30 * MS}, {**metadata, **broke})
        if number % 20 == 4:
            script.event("tinker.http.request.stop", at + 40, {"duration": 30 * MS}, {**metadata, "status_code": 503})
        if number % 20 == 5:
            script.event("tinker.submit.exception", at + 30, {"duration": MS}, {**metadata, "status_code": 429})
            again = {**metadata, "status_code": 429, "layer": "sampling"}
            script.event("tinker.retry", at + 80, {"delay": 50 * MS}, again)
        script.busy(at + 2, at + 9)
        script.tick(at + 50)
        at = call.ended + 5 if number % 7 == 0 else at + 60
    script.tick(at + 300_000)
    return script.events()


def failure_of(number: int) -> dict[str, Any] | None:
    if number % 20 == 11:
        return {"error_type": "RequestFailedError", "reason": f"datum {number:x} is bad", "fault_owner": "user"}
    if number % 20 == 12:
        return {"error_type": "RequestFailedError", "reason": "worker lost", "fault_owner": "service"}
    return None


def size_of(root: object) -> int:
    """How many objects it leads to, classes, functions and modules left out."""
    seen: dict[int, object] = {}
    waiting: list[object] = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen[id(one)] = one
        waiting += gc.get_referents(one)
    return len(seen)


def size_after(calls: int, only: str) -> int:
    """The size of a live diagnosis of a run full of trouble, five quiet minutes later."""
    diagnoser = LiveDiagnoser(only)
    for event in troubled(calls):
        diagnoser.feed(event)
    diagnoser.forget()
    return size_of(diagnoser)


CAPS = {"tallies.IDS_KNOWN": 20, "tallies.PIECES_MAX": 20, "history.KEPT": 50, "live.FINDINGS_KEPT": 5}
CAPS |= {"live.NAMED_KEPT": 20, "connections.SPELLS_KEPT": 20, "detectors.user_error.KINDS_MAX": 5}
CAPS |= {"forgetting.HELD_KEPT": 50, "forgetting.TROUBLES_KEPT": 10, "detectors.flaky_network.SPELLS_KEPT": 10}
CAPS |= {"connections.OPEN_KEPT": 20, "history.GROUPS_KEPT": 4, "detectors.slow_service.ABOVE_MAX": 20}


@pytest.mark.parametrize("cause", causes())
def test_every_detector_stays_small_in_a_run_full_of_trouble(cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, cap in CAPS.items():
        monkeypatch.setattr(f"tinkertape.diagnosis.{name}", cap)

    short, long = size_after(1000, cause), size_after(2000, cause)

    assert long < short * 1.2, (short, long)


def test_a_hundred_thousand_events_are_remembered_in_the_space_of_a_few_hundred_calls() -> None:
    events = training_run([100.0] * 4200).events()
    diagnoser = LiveDiagnoser()
    most = 0
    for event in events:
        diagnoser.feed(event)
        most = max(most, diagnoser.kept)

    assert len(events) > 100_000
    assert most < 250
    assert size_of(diagnoser) < 25_000


def eventful_run(events: int) -> list[Event]:
    """A few calls, and between them much that the program says of itself, the same exceptions among it."""
    script = training_run([100.0] * 3)
    for number in range(events):
        script.event("my.event", 100.0 + number / 100, {"loss": 1.5}, {"batch": f"batch-{number}"})
        raised = {"exception_type": "ValueError", "exception_message": f"bad record in shard {number % 3}"}
        script.event("telemetry.exception", 100.0 + number / 100, {}, {**raised, "traceback": "Traceback …"})
        script.tick(100.0 + number / 100)
    return script.events()


def test_events_that_are_no_calls_leave_no_objects_for_the_report_of_a_run() -> None:
    sizes, errors = [], []
    for events in (300, 600):
        diagnoser = Diagnoser()
        for event in eventful_run(events):
            diagnoser.feed(event)
        sizes.append(size_of(diagnoser))
        errors.append([(row.type, row.count, row.message) for row in diagnoser.report().errors])

    assert sizes[1] <= sizes[0] + 10
    assert errors == 2 * [[("ValueError", 3, "bad record in shard 0")]]
