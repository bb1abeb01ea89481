"""The reports of runs, kept up to date: what is new in the store is fed to a run's diagnosis, and the list's row is
made from it.

Threads  any may ask; "tinkertape-reports" follows what the loader stored, writes the rows of the list, and tells the
         hub. One lock a run.
Rules    a row is stored with the name of the rules that made it; one that other rules made is made anew.
Memory   the diagnoses of the `KEPT` runs that were asked for last are kept, while somebody asks: each grows with the
         calls of its run, as the report does, and not with its events. Another begins anew from the store.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from tinkertape.collector.run_row import row_of, without_calls
from tinkertape.context import Event
from tinkertape.diagnosis import Diagnoser, as_dict
from tinkertape.diagnosis.report import State
from tinkertape.diagnosis.rule import rule_now
from tinkertape.diagnosis.run_state import LIVE, ProcessView, Signs, run_state, views_of
from tinkertape.errors import StoreError
from tinkertape.guard import guarded
from tinkertape.store import Store, Summary
from tinkertape.tape.ledger import UNEXPLAINED, Ledger, total

KEPT = 16
IDLE_S = 60.0  # a diagnosis that nobody asked for so long is given back
ROOMS = ("diagnosis", "collector")  # what a row says is decided there
LIVE_MAX = 1_000  # of the newest runs: those that went on when the collector ended may be over by now
PERIOD_S = 0.25  # the news of a run, at most so often
REST, REST_RECEIVING = 4, 30  # times the processor time that a report took, it is not made again
REST_MAX_S = 5.0  # nor longer than this
ROW_PERIOD_S = 2.0  # the row of a run that goes on is written at most so often
LOOK_AGAIN_S = 1.0  # a run that is silent may have been killed: its state is looked at so often
LONG = 5_000  # events: more are not read to their end when the collector ends, which would wait for that
SILENT_ROW_S = 10.0  # the row of a live run that is silent is made again so often: its time goes on

Publish = Callable[[str, int, str], None]
LedgerOf = Callable[[str], Ledger]

_log = logging.getLogger("tinkertape")


class Followed:
    """One run's diagnosis, and how far it has read. Held under `lock`."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.lock = threading.Lock()
        self.diagnoser = Diagnoser()
        self.cursor = 0
        self.events = 0
        self.last_event_ns = 0  # as the next: an event's time, but not after it arrived, whatever its clock says
        self.signs = Signs()
        self.sessions: dict[str, None] = {}  # of a plain SDK's events, in order
        self.report: dict[str, Any] = {}  # the last one, without its calls
        self.asked_s = 0.0  # monotonic

    def catch_up(self, store: Store, is_ending: Callable[[], bool]) -> bool:
        """Feed what is new; True if there was anything. Raises `StoreError` where that is much, and all is to end."""
        before = self.events
        for cursor, event in store.event_stream(self.run, self.cursor):
            if self.events - before >= LONG and is_ending():
                raise StoreError("the collector ends")
            self.cursor = cursor
            self.events += 1
            self._note(event, min(event.time_ns, cursor))
            with guarded("collector.diagnosis"):
                self.diagnoser.feed(event)
        return self.events != before

    def _note(self, event: Event, sign_ns: int) -> None:
        self.last_event_ns = max(self.last_event_ns, sign_ns)
        self.signs.note(event, sign_ns)
        if event.event_id and event.session_id:
            self.sessions[event.session_id] = None


class Made(msgspec.Struct, frozen=True):
    """A run's report and row, how far into its events they have seen, and of which processes, when (monotonic)."""

    report: dict[str, Any]
    row: dict[str, Any]
    cursor: int
    views: list[ProcessView]
    made_s: float

    def is_old(self, now_s: float, now_ns: int) -> bool:
        """Has its state changed without an event, or its time gone on? Asks no store."""
        state, _status = run_state(self.views, self.report, now_ns)
        return state != self.row["state"] or now_s - self.made_s > SILENT_ROW_S


class Reports:
    """Reports by run."""

    def __init__(
        self,
        store: Store,
        ledger_of: LedgerOf,
        publish: Publish,
        is_receiving: Callable[[], bool] = lambda: False,
        is_loading: Callable[[str], bool] = lambda run: False,
    ) -> None:
        self._store = store
        self._ledger_of = ledger_of
        self._publish = publish
        self._is_receiving = is_receiving
        self._is_loading = is_loading
        self._followed: OrderedDict[str, Followed] = OrderedDict()
        self._table_lock = threading.Lock()
        self._rows: dict[str, Made] = {}  # of runs that go on: newer than in the store
        self._grown: set[str] = set()
        self._not_before_s: dict[str, float] = {}  # by run, as the next two, in monotonic seconds
        self._written_s: dict[str, float] = {}
        self._moved: set[str] = set()
        self._write_lock = threading.Lock()  # held while a row is written
        self._wake = threading.Event()
        self._outdated: list[str] = []  # runs whose rows were made by other rules, the newest last
        self._closing = False
        self._has_said = False  # that the store refuses
        self._thread = threading.Thread(target=self._follow_loop, name="tinkertape-reports", daemon=True)

    # asked from outside

    def start(self) -> None:
        """Start to follow; runs that grew while nobody looked come first."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and write the rows that are newer than the store's."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def grown(self, runs: Sequence[str]) -> None:
        """The loader stored events of these runs."""
        with self._table_lock:
            self._grown.update(runs)
        self._wake.set()

    def forget(self, run: str) -> None:
        """A session whose events are about to be filed under another run: from now on it gets no row."""
        with self._write_lock:
            self._moved.add(run)
        with self._table_lock:
            self._grown.discard(run)
            for table in (self._followed, self._rows, self._not_before_s, self._written_s):
                table.pop(run, None)

    def report(self, run: str) -> dict[str, Any] | None:
        """A run's report as plain data, with everything that is stored; None: no such run. Raises `StoreError`."""
        made = self._made(run, with_ledger=True)
        return None if made is None else made.report

    def run(self, run: str) -> dict[str, Any] | None:
        """A run as the list shows it, and its report: `{"run", "report"}`."""
        made = self._made(run, with_ledger=True)
        return None if made is None else {"run": made.row, "report": made.report}

    def sum_up(self, run: str) -> None:
        """Make the row of a run that grew while nobody looked, in the caller's thread, and write it. Raises
        `StoreError`.
        """
        self._sum_up(run)

    def live_rows(self) -> dict[str, dict[str, Any]]:
        """The rows that are newer than the store's, by run."""
        with self._table_lock:
            return {run: made.row for run, made in self._rows.items()}

    # the work

    def _follow(self, run: str) -> Followed:
        with self._table_lock:
            followed = self._followed.get(run)
            if followed is None:
                followed = self._followed[run] = Followed(run)
            self._followed.move_to_end(run)
            followed.asked_s = time.monotonic()
            while len(self._followed) > KEPT:
                self._followed.popitem(last=False)
            return followed

    def _made(self, run: str, *, with_ledger: bool) -> Made | None:
        """What is to be said of a run, with everything that is stored. The ledger costs most, and a row shows none."""
        followed = self._follow(run)
        with followed.lock:  # all of it from this one: another may stand in the table the next time
            self._catch_up(followed)
            if not followed.events:
                return None
            report, views = self._looked(followed, with_ledger)
            if report["state"] not in LIVE and self._catch_up(followed):  # its end was stored since, and more
                report, views = self._looked(followed, with_ledger)
            row = row_of(report, followed.last_event_ns)
            return Made(report, row, followed.cursor, views, time.monotonic())

    def _catch_up(self, followed: Followed) -> bool:
        return followed.catch_up(self._store, lambda: self._closing)

    def _looked(self, followed: Followed, with_ledger: bool) -> tuple[dict[str, Any], list[ProcessView]]:
        run = followed.run
        ledger = msgspec.structs.asdict(self._ledger_of(run)) if with_ledger else self._said_ledger(run)
        return self._report(followed, ledger, self._damaged(run))

    def _damaged(self, run: str) -> int:
        """The lines that were set aside, but for those that a full disk cut short and whose events are counted as
        dropped: `tape verify` calls those no damage either (`tape/verify.py`).
        """
        set_aside = sum(number for *_, number in self._store.rejected_by_process(run))
        cut = self._store.cut_lines(run) if set_aside else 0
        if cut and any(row.dropped for row in self._store.ledgers(run)):
            ledger = self._ledger_of(run)
            if ledger.balanced and not ledger.rejected and not UNEXPLAINED.intersection(ledger.dropped):
                return set_aside - cut
        return set_aside

    def _said_ledger(self, run: str) -> dict[str, Any]:
        """What the processes of a run say that they recorded and lost."""
        said = [Ledger(recorded=row.recorded, dropped=row.dropped) for row in self._store.ledgers(run)]
        summed = total(said)
        return {"recorded": summed.recorded, "dropped": summed.dropped}

    def _report(
        self, followed: Followed, ledger: Mapping[str, Any], set_aside: int
    ) -> tuple[dict[str, Any], list[ProcessView]]:
        """The report of a run that has caught up, and its processes. Under its lock."""
        now_ns = time.time_ns()
        before = followed.report
        views, loading = self._looked_at(followed, now_ns)
        state, status = run_state(views, before, now_ns)
        until_ns = now_ns if state in LIVE else None
        report = dict(before)
        with guarded("collector.report"):
            told = "running" if loading else state
            report = _reported(followed.diagnoser, views, until_ns, ledger, told, set_aside)
            state, status = run_state(views, report, now_ns)  # paused and stuck are told by the report itself
        state = "running" if loading else state
        report |= {"run": followed.run, "state": state, "status": status or report.get("status")}
        report |= {"ledger": ledger, "set_aside": set_aside, "events": followed.events}
        report.setdefault("name", "")
        report["sessions"] = list(dict.fromkeys([*(report.get("sessions") or []), *followed.sessions]))
        report["project"] = report.get("project") or "default"
        followed.report = without_calls(report)
        return report, views

    def _looked_at(self, followed: Followed, now_ns: int) -> tuple[list[ProcessView], bool]:
        """The processes of a run; and does it seem killed only because its end, which stands on its tape, is not
        loaded yet?"""
        views = self._views(followed)
        if run_state(views, {}, now_ns)[0] != "killed":
            return views, False
        loading = self._is_loading(followed.run)
        views = self._views(followed)  # the end may have come between the two looks
        return views, loading and run_state(views, {}, now_ns)[0] == "killed"

    def _views(self, followed: Followed) -> list[ProcessView]:
        closed = {row.process: row.closed for row in self._store.ledgers(followed.run)}
        rows = {row.process: row.header for row in self._store.processes(followed.run)}
        return views_of(rows, closed, followed.signs)

    def _follow_loop(self) -> None:
        with self._trying():
            self.grown(self._store.runs_behind())
            self.grown([row.run for row in self._store.runs(LIVE_MAX) if row.summary.get("state") in LIVE])
            self._outdated = self._store.runs_made_otherwise(rule_now(*ROOMS))[::-1]
        looked_s, given_back_s = 0.0, time.monotonic()
        while not self._closing:
            self._wake.wait(PERIOD_S)
            self._wake.clear()
            now_s = time.monotonic()
            if now_s - looked_s > LOOK_AGAIN_S:
                looked_s = now_s
                self._look_again()
            if now_s - given_back_s > IDLE_S:
                given_back_s = now_s
                self._give_back(now_s)
            due = self._due(now_s)
            if not due and self._outdated:  # one at a time: what is new comes first
                due = [self._outdated.pop()]
            for run in due:
                with self._trying():
                    self._sum_up(run)
        with self._table_lock:
            rows = dict(self._rows)
        for run, made in rows.items():
            with self._trying():
                self._write_row(run, made)

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        """What the store refuses is said in a line, once, and comes again; whatever else fails is a mistake of ours."""
        with guarded("collector.reports"):
            try:
                yield
            except StoreError as error:
                if not self._has_said and not self._closing:
                    _log.warning("tinkertape: %s; the rows of runs are written again later", error)
                self._has_said = True

    def _look_again(self) -> None:
        """Runs that go on are looked at without an event too: a process that is gone writes none."""
        now_s, now_ns = time.monotonic(), time.time_ns()
        with self._table_lock:
            rows = dict(self._rows)
        old = [run for run, made in rows.items() if made.is_old(now_s, now_ns)]
        with self._table_lock:
            self._grown.update(old)

    def _give_back(self, now_s: float) -> None:
        with self._table_lock:
            idle = [run for run, followed in self._followed.items() if now_s - followed.asked_s > IDLE_S]
            for run in idle:
                del self._followed[run]
        if idle:
            gc.collect()  # its records know each other
            self._store.give_back_memory()

    def _due(self, now_s: float) -> list[str]:
        with self._table_lock:
            due = [run for run in self._grown if self._not_before_s.get(run, 0.0) <= now_s]
            self._grown.difference_update(due)
            return due

    def _sum_up(self, run: str) -> None:
        used_s = time.thread_time()  # a busy machine makes a report late, and not dear
        made = self._made(run, with_ledger=False)
        if made is None:
            return
        row = made.row
        used_s, ended_s = time.thread_time() - used_s, time.monotonic()
        rest = REST_RECEIVING if self._is_receiving() else REST
        with self._table_lock:
            before = self._rows.get(run)
            if run not in self._moved:
                self._rows[run] = msgspec.structs.replace(made, report=without_calls(made.report))
            self._not_before_s[run] = ended_s + min(REST_MAX_S, max(PERIOD_S, rest * used_s))
        changed = before is None or before.row["state"] != row["state"]
        if changed or (before is not None and before.row["events"] != row["events"]):
            self._publish(run, row["events"], row["state"])
        live = row["state"] in LIVE
        if changed or not live or ended_s - self._written_s.get(run, 0.0) > ROW_PERIOD_S:
            self._write_row(run, made)
        if not live:
            with self._table_lock:
                for table in (self._rows, self._not_before_s, self._written_s):
                    table.pop(run, None)

    def _write_row(self, run: str, made: Made) -> None:
        row = made.row
        self._written_s[run] = time.monotonic()
        try:
            with self._write_lock:
                if run not in self._moved:
                    kept = {**row, "rule": rule_now(*ROOMS)}
                    self._store.note_summary(Summary(run, row["began_us"], made.cursor, kept), row["project"])
        except StoreError:
            with self._table_lock:
                self._grown.add(run)
                self._not_before_s[run] = time.monotonic() + ROW_PERIOD_S
            raise


def _reported(
    diagnoser: Diagnoser,
    views: Sequence[ProcessView],
    until_ns: int | None,
    ledger: Mapping[str, Any],
    state: str,
    set_aside: int,
) -> dict[str, Any]:
    for view in views:
        diagnoser.describe(view.header)
    return as_dict(diagnoser.report(now_ns=until_ns, ledger=ledger, state=cast(State, state), set_aside=set_aside))
