"""The loader goes on after any crash, wherever it comes: nothing is lost, and nothing is there twice.

Here the crash is an exception that nothing catches, at each place in turn where a turn changes something, and a new
loader then; in test_crash.py it is SIGKILL, of the loader and the store together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.collector.conftest import NOTHING, WrittenTape, wire_body, wire_event

from tinkertape.collector.batch import Batch
from tinkertape.collector.books import Books
from tinkertape.collector.inbox import Inbox, Introduction
from tinkertape.collector.intake import take_in
from tinkertape.collector.loader import ROWS_MAX, Loader
from tinkertape.collector.tape_file import TapeFile
from tinkertape.config import new_ulid
from tinkertape.store import Store
from tinkertape.tape.format import encode_line
from tinkertape.tape.ledger import Ledger

CHANGES = [  # in the order of a turn
    (Store, "note_processes"),
    (Store, "note_session"),
    (Store, "refile"),
    (Store, "insert"),
    (Store, "reject"),
    (Store, "note_ledgers"),
    (TapeFile, "advance"),
]


class Crash(BaseException):
    """As little caught as SIGKILL."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"chdb://{tmp_path_factory.mktemp('crash') / 'store'}") as opened:
        yield opened


class Written:
    """An inbox and tapes of a run here, a run elsewhere and a session of the first, with something set aside."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.tapes = folder / "inbox", folder / "tapes"
        self.session = f"session_{new_ulid()}"
        self.local, self.far = WrittenTape(self.tapes), WrittenTape(folder / "far")
        self.local.append(7)
        self.local.write(encode_line(self.local.event("tinker.session.create", session_id=self.session)))
        self.local.end(dropped={"exit": 2})

    async def receive(self) -> None:
        inbox = Inbox(self.inbox)
        wire = json.dumps(wire_body(self.session, [wire_event(0), "bad", wire_event(1)])).encode()
        lines = [encode_line(self.far.event()) for _ in range(5)]
        ours = self.far.body(lines, ledger={"recorded": 5, "closed": "success"})
        for body in (wire, ours, wire):  # the last comes twice
            intake = take_in(body)
            introduction = Introduction(intake.process, intake.header) if intake.header else None
            await inbox.append(intake.lines, introduction)
        inbox.close()


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "change"), CHANGES, ids=[name for _, name in CHANGES])
async def test_a_crash_at_any_place_loses_nothing_and_stores_nothing_twice(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, change: str, done: bool
):
    written = Written(tmp_path)
    await written.receive()
    with monkeypatch.context() as crashing:
        crashing.setattr(owner, change, crash_at(getattr(owner, change), done))
        with pytest.raises(Crash):
            load(Loader(store, written.inbox, written.tapes))

    loader = Loader(store, written.inbox, written.tapes)
    load(loader)

    books, local, far = Books(store, loader), written.local.run, written.far.run
    nothing = Ledger(**NOTHING)
    assert books.ledger(far) == Ledger(recorded=5, stored=5)
    whole = books.ledger(local) + books.ledger(written.session)  # what was set aside stays where it was met
    assert whole == nothing + Ledger(recorded=13, stored=10, rejected=1, dropped={"exit": 2})
    assert [event.index for _, event in store.events(far)] == list(range(5))
    assert sorted((bool(event.event_id), event.index) for _, event in store.events(local)) == [
        *[(False, index) for index in range(8)],
        (True, 0),
        (True, 1),
    ]
    assert loader.turn() == 0


def load(loader: Loader) -> None:
    loader._ask_store()
    while loader.turn():
        pass


def crash_at(change: Callable[..., object], done: bool) -> Callable[..., object]:
    """The change, and the crash before or after it."""

    def crashing(*arguments: object) -> object:
        if done:
            change(*arguments)
        raise Crash

    return crashing


def test_a_batch_has_ten_thousand_rows_at_most_and_each_is_remembered(store: Store, tmp_path: Path, monkeypatch):
    tape = WrittenTape(tmp_path / "tapes")
    tape.append(25_000)
    tape.end()
    sizes: list[int] = []
    stored = Loader._store_batch
    monkeypatch.setattr(
        Loader, "_store_batch", lambda self, batch: (sizes.append(rows_of(batch)), stored(self, batch))[1]
    )

    for _ in range(3):  # a loader that is killed after each turn
        Loader(store, tmp_path / "inbox", tmp_path / "tapes").turn()

    assert ROWS_MAX == 10_000
    assert ROWS_MAX - 10 < sizes[0] <= max(sizes) <= ROWS_MAX
    assert store.count(tape.run) == sum(sizes)
    loader = Loader(store, tmp_path / "inbox", tmp_path / "tapes")
    load(loader)
    assert Books(store, loader).ledger(tape.run) == Ledger(recorded=25_000, stored=25_000)


def rows_of(batch: Batch) -> int:
    return len(batch.events)
