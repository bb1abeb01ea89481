"""The store gives back what it was given, each event once."""

from __future__ import annotations

import math
import queue

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.conftest import BEGAN_NS, events_of

from tinkertape.config import new_ulid
from tinkertape.context import Event
from tinkertape.errors import StoreError
from tinkertape.store import LedgerRow, ProcessRow, Rejected, Store, Summary, unfit
from tinkertape.store.engine import READERS

HOSTILE = [
    "'; DROP TABLE events; --",
    "\\' OR 1=1",
    "../../etc/passwd",
    "a\nb\tc\r",
    "{x:String}",
    "%(run)s",
    "\u2028é🙂",
    '"quoted"',
    "\\N",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_events_come_back_as_they_were_stored(store: Store, run):
    events = events_of(run, 50)

    store.insert(events)

    assert [event for _, event in store.events(run)] == events


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(max_size=8), JSON, max_size=4),
    st.dictionaries(st.text(max_size=8), st.integers(0, 2**60) | st.floats(), max_size=4),
)
def test_any_data_comes_back_as_it_was_stored(store: Store, metadata, measurements):
    [event] = events_of(new_ulid(), 1)
    event = msgspec.structs.replace(event, metadata=metadata, measurements=measurements, scope={"step": 3})

    store.insert([event])

    [(_, found)] = store.events(event.run)
    assert {key: repr(value) for key, value in found.measurements.items()} == {
        key: repr(value) for key, value in measurements.items()
    }
    assert (found.metadata, found.scope) == (metadata, {"step": 3})


def test_a_measurement_that_is_no_number_comes_back(store: Store, run):
    store.insert([msgspec.structs.replace(events_of(run, 1)[0], measurements={"loss": math.nan, "most": math.inf})])

    [(_, found)] = store.events(run)
    assert math.isnan(found.measurements["loss"])
    assert found.measurements["most"] == math.inf


def test_a_duplicate_is_counted_once_in_every_query(store: Store, run):
    events = events_of(run, 200)

    for first in (0, 0, 50, 150):
        store.insert(events[first:])

    assert store.count(run) == 200
    assert [event.index for _, event in store.events(run)] == list(range(200))
    assert [event.index for _, event in store.event_stream(run)] == list(range(200))
    assert [event.index for event in store.last_events(run, 300)] == list(reversed(range(200)))
    [process] = store.stored_by_process(run)
    assert (process.stored, process.ours, process.highest) == (200, 200, 199)
    assert store.stored_among(run, {(process.process, 7, ""), (process.process, 999, "")}) == {(process.process, 7, "")}


def copies_of(events: list[Event], **changes: object) -> list[Event]:
    """The same events, each a second later, or otherwise."""
    return [msgspec.structs.replace(event, **{"time_ns": event.time_ns + 10**9, **changes}) for event in events]


@pytest.mark.parametrize("event_id", ["", "e"], ids=["ours", "a plain SDK's"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"time_ns": BEGAN_NS - 10**9}, {"time_ns": BEGAN_NS + 40 * 86_400 * 10**9}, {"project": "other"}],
    ids=["later", "earlier", "another month", "another project"],
)
def test_a_copy_that_says_another_time_is_counted_once_and_the_first_stays(store: Store, run, event_id, changes):
    events = [msgspec.structs.replace(event, event_id=event_id and f"e{event.index}") for event in events_of(run, 10)]
    store.insert(events[:8])
    store.insert(copies_of(events[3:8], **changes))
    cursor = store.events(run)[-1][0]
    store.insert(copies_of(events[:8], **changes))
    store.insert(events[8:])

    assert store.count(run) == 10
    assert [event for _, event in store.events(run)] == events
    assert [event for _, event in store.event_stream(run)] == events
    assert [event for _, event in store.events(run, after=cursor)] == events[8:]
    assert [event for _, event in store.events(run, after=cursor, limit=1)] == events[8:9]
    assert store.last_events(run, 4) == events[:5:-1]
    [process] = store.stored_by_process(run)
    assert (process.stored, process.ours, process.highest) == ((10, 10, 9) if not event_id else (10, 0, -1))


def test_a_move_takes_the_first_copy_of_each_event(store: Store, run):
    session = f"session_{run}"
    events = [msgspec.structs.replace(event, event_id=f"e{event.index}") for event in events_of(session, 5)]
    store.insert(events)
    store.insert(copies_of(events))
    store.note_session(session, "default", run)

    assert store.refile(session, "default", run) == 5

    assert [event.time_ns for _, event in store.events(run)] == [event.time_ns for event in events]
    assert (store.count(session), store.count(run)) == (0, 5)


def test_a_process_is_complete_only_without_a_hole(store: Store, run):
    events = events_of(run, 3)
    store.insert([events[0], *copies_of(events[:1]), events[2]])

    assert ("default", run, events[0].process) not in store.complete_processes()

    store.insert([events[1]])

    assert store.complete_processes()["default", run, events[0].process] == 3


def test_a_follower_never_meets_a_duplicate(store: Store, run):
    store.insert(events_of(run, 10))
    cursor = store.events(run)[-1][0]

    store.insert(events_of(run, 12))

    assert [event.index for _, event in store.events(run, after=cursor)] == [10, 11]


def test_pages_follow_each_other_without_a_gap(store: Store, run):
    store.insert(events_of(run, 25))
    after, met = 0, []

    while page := store.events(run, after, limit=7):
        met += [event.index for _, event in page]
        after = page[-1][0]

    assert met == list(range(25))


def test_two_foreign_events_with_one_index_are_two(store: Store, run):
    twins = [msgspec.structs.replace(events_of(run, 1)[0], event_id=event_id) for event_id in ("a", "b")]

    store.insert(twins)
    store.insert(twins)

    assert store.count(run) == 2
    assert store.stored_by_process(run)[0].ours == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_id_is_only_a_value(store: Store, text):
    run = f"{new_ulid()}{text}"
    store.insert([msgspec.structs.replace(event, process=text, event_id=text) for event in events_of(run, 3)])
    store.reject([Rejected(run, text, text, text, text, text)])
    store.note_processes([ProcessRow("default", run, text, text, BEGAN_NS, {text: text})])
    store.note_ledgers("default", [LedgerRow(run, text, 3, {text: 1}, text)])
    store.note_summary(Summary(run, 5, 5, {text: text}))

    assert store.count(run) == 3
    assert store.count(text) == 0
    assert store.events(run)[0][1].event_id == text
    assert store.rejected_by_process(run) == [(run, text, 1)]
    assert store.processes(run)[0].header == {text: text}
    assert store.ledgers(run) == [LedgerRow(run, text, 3, {text: 1}, text)]
    assert store.run(run) == Summary(run, 5, 5, {text: text})


def test_a_line_set_aside_twice_is_counted_once(store: Store, run):
    rejected = Rejected(run, "p", "id", "no JSON", "tape:10", "{")

    store.reject([rejected])
    store.reject([rejected])

    assert store.rejected_by_process(run) == [(run, "p", 1)]


def test_the_latest_word_of_a_process_is_the_largest(store: Store, run):
    store.note_ledgers("default", [LedgerRow(run, "p", 20, {"exit": 1}, "success")])
    store.note_ledgers("default", [LedgerRow(run, "p", 20, {}, ""), LedgerRow(run, "p", 7, {}, "")])

    assert store.ledgers(run) == [LedgerRow(run, "p", 20, {"exit": 1}, "success")]


def test_a_sessions_events_move_to_its_run_once(store: Store, run):
    session = f"session_{run}"
    store.insert([msgspec.structs.replace(event, event_id=f"e{event.index}") for event in events_of(session, 5)])
    store.insert(events_of(run, 3, process="fedcba9876543210"))
    cursor = store.events(run)[-1][0]
    store.note_session(session, "default", run)

    moved = [store.refile(session, "default", run), store.refile(session, "default", run)]

    assert moved == [5, 0]
    assert (store.count(session), store.count(run)) == (0, 8)
    assert [event.event_id for _, event in store.events(run, after=cursor)] == [f"e{index}" for index in range(5)]
    assert store.sessions()[session] == ("default", run)
    assert session not in store.sessions_unfiled()


def test_a_move_that_was_cut_off_is_found_again(store: Store, run):
    session = f"session_{run}"
    store.note_session(session, "default", run)
    store.insert([msgspec.structs.replace(event, event_id="e") for event in events_of(session, 1)])

    assert session in store.sessions_unfiled()


def test_the_newest_run_comes_first_page_by_page(store: Store):
    runs = [new_ulid() for _ in range(5)]
    far = 2**52
    for place, run in enumerate(runs):
        store.note_summary(Summary(run, far + place, 1, {"place": place}))
        store.note_summary(Summary(run, far + place, 2, {"place": place}))

    first = store.runs(limit=3)
    second = store.runs(limit=2, before=(first[-1].began_us, first[-1].run))

    assert [row.summary["place"] for row in first + second] == [4, 3, 2, 1, 0]


def test_a_run_that_grew_since_it_was_summed_up_is_known(store: Store, run):
    store.insert(events_of(run, 3))
    assert run in store.runs_behind()

    store.note_summary(Summary(run, 1, store.events(run)[-1][0], {}))

    assert run not in store.runs_behind()


def test_a_run_that_other_rules_summed_up_is_known_newest_first(store: Store):
    rules = {"a": "these", "b": "others", "c": None, "d": "others"}
    for began, (name, rule) in enumerate(rules.items()):
        store.note_summary(Summary(f"rules-{name}", began, 1, {"rule": rule} if rule else {}))

    assert [run for run in store.runs_made_otherwise("these") if run.startswith("rules-")] == [
        "rules-d",
        "rules-c",
        "rules-b",
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"time_ns": 0}, "time out of range"),
        ({"time_ns": 2**63}, "time out of range"),
        ({"index": -1}, "index out of range"),
        ({"index": 2**64}, "index out of range"),
        ({"monotonic_ns": 2**70}, "monotonic_ns out of range"),
    ],
)
def test_what_no_row_can_hold_is_told(run, changes, reason):
    assert unfit(msgspec.structs.replace(events_of(run, 1)[0], **changes)) == reason


def test_events_of_many_months_are_inserted_at_once(store: Store, run):
    month_ns = 31 * 86_400 * 1_000_000_000
    events = [
        msgspec.structs.replace(event, time_ns=BEGAN_NS - index * month_ns)
        for index, event in enumerate(events_of(run, 150))
    ]
    assert [event for event in events if unfit(event)] == []

    store.insert(events)

    assert store.count(run) == 150


def test_an_event_of_odd_numbers_is_stored(store: Store, run):
    event = Event(
        name="x", measurements={"duration": -1}, metadata={}, time_ns=BEGAN_NS, monotonic_ns=-5, run=run, index=0
    )

    store.insert([event])

    assert [found for _, found in store.events(run)] == [event]


def test_readers_that_cannot_connect_are_tried_again(store: Store, run, monkeypatch):
    store.insert(events_of(run, 1))
    engine = store._engine
    monkeypatch.setattr(engine, "_readers", queue.LifoQueue())
    for _ in range(READERS):
        engine._readers.put(None)

    def refuse(_settings: object) -> None:
        raise OSError("no memory")

    with monkeypatch.context() as away:
        away.setattr(engine, "_connect", refuse)
        for _ in range(READERS + 1):
            with pytest.raises(StoreError, match="no memory"):
                store.count(run)

    assert store.count(run) == 1


def test_the_engine_s_pools_for_reading_hold_few_threads(store: Store) -> None:
    rows = store._engine.read("SELECT name, value FROM system.server_settings WHERE name LIKE '%threadpool%pool_size'")
    sizes = dict(rows)

    read = ("prefetch_threadpool_pool_size", "load_marks_threadpool_pool_size", "threadpool_local_fs_reader_pool_size")
    assert [sizes[name] for name in read] == ["4", "4", "4"]
