"""Rows and states from what is stored, over a store made by hand."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from typing import ClassVar

import msgspec
import pytest
from tests.diagnosis.builder import WALL, training_run
from tests.waiting import wait_until

from tinkertape.collector import reports as module
from tinkertape.collector.reports import Reports
from tinkertape.collector.run_row import STEP_WALLS, row_of, without_calls
from tinkertape.context import Event
from tinkertape.diagnosis import Diagnoser, as_dict
from tinkertape.diagnosis.rule import rule_now
from tinkertape.diagnosis.run_state import ProcessView, run_state
from tinkertape.errors import StoreError
from tinkertape.store import LedgerRow, ProcessRow, Summary
from tinkertape.tape.format import timestamp
from tinkertape.tape.ledger import Ledger

MINUTE_NS = 60 * 10**9
FUTURE_NS = 4_070_908_800 * 10**9  # 2099


class MadeStore:
    """Events by run, with their arrivals, and the summaries that were noted."""

    def __init__(self) -> None:
        self.events: dict[str, list[tuple[int, Event]]] = {}
        self.noted: list[Summary] = []
        self.outdated: list[str] = []  # runs that other rules summed up
        self.asked = 0

    def add(self, run: str, time_ns: int, arrival: int, **changes: object) -> None:
        rows = self.events.setdefault(run, [])
        event = Event(
            name="user_event",
            measurements={},
            metadata={},
            time_ns=time_ns,
            monotonic_ns=0,
            run=run,
            index=len(rows),
            event_id=f"e{len(rows)}",
            session_id=run,
        )
        rows.append((arrival, msgspec.structs.replace(event, **changes)))

    def event_stream(self, run: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        self.asked += 1
        return iter([(arrival, event) for arrival, event in self.events.get(run, []) if arrival > after])

    def give_back_memory(self) -> None:
        pass

    def ledgers(self, run: str) -> list[LedgerRow]:
        return []

    def rejected_by_process(self, run: str) -> list[tuple[str, str, int]]:
        return []

    def processes(self, run: str) -> list[ProcessRow]:
        return []

    def runs_behind(self) -> list[str]:
        return list(self.events)

    def runs_made_otherwise(self, rule: str) -> list[str]:
        return self.outdated

    def runs(self, limit: int) -> list[Summary]:
        return []

    def note_summary(self, row: Summary, project: str) -> None:
        self.noted.append(row)


@pytest.fixture
def store() -> MadeStore:
    return MadeStore()


def reports_of(store: MadeStore) -> Reports:
    return Reports(store, lambda run: Ledger(), lambda run, events, state: None)


@pytest.mark.parametrize(
    ("event_ns", "arrived_ago_ns", "state"),
    [
        (FUTURE_NS, 2 * MINUTE_NS, "ended"),
        (FUTURE_NS, 0, "running"),
        (FUTURE_NS - 73 * 365 * 24 * 60 * MINUTE_NS, 0, "ended"),
    ],
    ids=["it came long ago", "it came just now", "an old one that comes now"],
)
def test_a_run_goes_on_by_the_earlier_of_event_and_arrival(store, event_ns, arrived_ago_ns, state):
    arrival = time.time_ns() - arrived_ago_ns
    store.add("r", event_ns, arrival)

    row = reports_of(store).run("r")["run"]

    assert row["state"] == state
    assert row["last_event"] == timestamp(min(event_ns, arrival))


def test_a_run_that_is_put_aside_meanwhile_keeps_its_cursor_and_its_last_event(store, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 1)
    now_ns = time.time_ns()
    store.add("r", now_ns, now_ns)

    def ledger_of(run: str) -> Ledger:
        if run == "r":
            reports.report("another")  # takes the only place
        return Ledger()

    reports = Reports(store, ledger_of, lambda run, events, state: None)
    assert reports.run("r")["run"]["last_event"] == timestamp(now_ns)
    reports.start()
    wait_until(lambda: store.noted)
    reports.close()

    assert {summary.arrival for summary in store.noted} == {now_ns}
    assert {summary.summary["last_event"] for summary in store.noted} == {timestamp(now_ns)}


def test_what_the_store_refuses_is_one_line_in_the_log_and_is_written_later(store, monkeypatch, caplog):
    monkeypatch.setattr(module, "ROW_PERIOD_S", 0.01)
    now_ns = time.time_ns()
    store.add("r", now_ns, now_ns)
    refusals = iter(range(3))

    def note(row: Summary, project: str) -> None:
        if next(refusals, None) is not None:
            raise StoreError("cannot insert into the store: the disk is full")
        store.noted.append(row)

    monkeypatch.setattr(store, "note_summary", note)
    reports = reports_of(store)
    reports.start()
    wait_until(lambda: store.noted)
    reports.close()

    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("tinkertape: cannot insert into the store: the disk is full; the rows of runs are written again later", None)
    ]


def test_a_run_of_many_events_does_not_hold_up_the_end_of_the_collector(store, monkeypatch):
    monkeypatch.setattr(module, "LONG", 2)
    for number in range(5):
        store.add("r", WALL + number, time.time_ns() + number)
    store.add("short", WALL, time.time_ns())
    reports = reports_of(store)

    reports.close()

    with pytest.raises(StoreError, match="the collector ends"):
        reports.sum_up("r")
    reports.sum_up("short")
    assert [row.run for row in store.noted] == ["short"]


def test_the_report_of_an_ended_run_has_what_was_stored_while_it_was_made(store, monkeypatch):
    """A page that shows an ended run with nothing on its way asks no more."""
    events = [msgspec.structs.replace(event, run="r", process="p") for event in training_run([100.0] * 6).events()]
    rows = [(WALL + place, event) for place, event in enumerate(events)]
    store.events["r"] = rows[: len(rows) // 2]
    header = {"wall_ns": WALL}
    monkeypatch.setattr(store, "processes", lambda run: [ProcessRow("default", run, "p", "train", WALL, header)])

    def ledger_of(run: str) -> Ledger:
        store.events["r"] = rows  # the loader stores the rest, and that the process closed its tape
        monkeypatch.setattr(store, "ledgers", lambda run: [LedgerRow(run, "p", len(rows), {}, "success")])
        return Ledger()

    report = Reports(store, ledger_of, lambda run, events, state: None).report("r")

    assert (report["state"], len(report["steps"]), report["events"]) == ("ended", 6, len(rows))


def test_a_row_that_other_rules_made_is_made_anew_though_the_run_did_not_grow(store, monkeypatch):
    now_ns = time.time_ns()
    store.add("old", now_ns - 3_600_000_000_000, now_ns - 3_600_000_000_000)
    store.outdated = ["old"]
    monkeypatch.setattr(store, "runs_behind", list)

    reports = reports_of(store)
    reports.start()
    wait_until(lambda: store.noted)
    reports.close()

    [summary] = store.noted
    assert (summary.run, summary.summary["rule"]) == ("old", rule_now(*module.ROOMS))


def test_a_silent_run_is_looked_at_without_the_store_until_its_state_changes(store, monkeypatch):
    looks: list[None] = []
    is_over = threading.Event()

    def state_of(*_: object) -> tuple[str, str]:
        looks.append(None)
        return ("ended" if is_over.is_set() else "running"), ""

    monkeypatch.setattr(module, "run_state", state_of)
    monkeypatch.setattr(module, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(module, "PERIOD_S", 0.01)
    store.add("r", time.time_ns(), time.time_ns())
    reports = reports_of(store)
    reports.start()
    wait_until(lambda: store.noted)
    asked, looked = store.asked, len(looks)
    wait_until(lambda: len(looks) > looked + 5)
    silent = store.asked
    is_over.set()
    wait_until(lambda: store.noted[-1].summary["state"] == "ended")
    reports.close()

    assert silent == asked


def test_a_report_that_was_late_keeps_no_later_news_waiting(store, monkeypatch):
    monkeypatch.setattr(module, "PERIOD_S", 0.01)
    store.add("r", time.time_ns(), time.time_ns())
    looked = threading.Event()
    quick, told = store.processes, []

    def processes(run: str) -> list[ProcessRow]:
        if not looked.is_set():
            looked.set()
            time.sleep(1.0)  # a busy machine, a slow disk
        return quick(run)

    monkeypatch.setattr(store, "processes", processes)
    reports = Reports(store, lambda run: Ledger(), lambda run, events, state: told.append(events), lambda: True)
    reports.start()
    try:
        assert wait_until(lambda: told == [1])
        store.add("r", time.time_ns(), time.time_ns())
        reports.grown(["r"])
        assert wait_until(lambda: told == [1, 2], within_s=20.0)  # not after 30 s, 30 times as long
    finally:
        reports.close()


class Watched(Diagnoser):
    """A diagnosis; `alive` are those that somebody has."""

    alive: ClassVar[weakref.WeakSet[Diagnoser]] = weakref.WeakSet()

    def __init__(self) -> None:
        super().__init__()
        self.alive.add(self)


def test_a_diagnosis_that_nobody_asks_for_is_given_back_and_the_report_is_the_same(store, monkeypatch):
    monkeypatch.setattr(module, "Diagnoser", Watched)
    monkeypatch.setattr(module, "PERIOD_S", 0.01)
    for place, event in enumerate(training_run([100.0] * 20).events()):
        store.events.setdefault("r", []).append((WALL + place, msgspec.structs.replace(event, run="r")))
    reports = reports_of(store)
    reports.start()
    try:
        wait_until(lambda: store.noted)
        told = reports.report("r")
        monkeypatch.setattr(module, "IDLE_S", 0.0)
        assert wait_until(lambda: not Watched.alive)
        monkeypatch.setattr(module, "IDLE_S", 60.0)

        again = reports.report("r")
    finally:
        reports.close()

    assert len(told["spans"]) == 40
    assert told == again


@pytest.mark.parametrize(("until", "state"), [(None, "running"), (-50, "paused")])
def test_a_row_and_a_state_need_no_calls(until, state):
    diagnoser = Diagnoser()
    for event in training_run([100.0] * 100, pauses={99: (0, 9000)}, hold=500).events()[:until]:
        diagnoser.feed(event)
    report = {**as_dict(diagnoser.report()), "run": "r"}
    views = [ProcessView("p", {"pid": 1}, "", time.time_ns())]

    small = without_calls(report)

    assert row_of(small, 0) == row_of(report, 0)
    assert [run_state(views, each, time.time_ns())[0] for each in (small, report)] == [state, state]
    assert (len(small["steps"]), small["operations"]) == (STEP_WALLS, [])
