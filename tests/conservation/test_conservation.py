"""Recorded = stored + pending + rejected + dropped, for every history; and after the faults stop, what is pending is
stored, once. `--hypothesis-profile=long` tries for minutes.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.conservation.door import FAULTS, Door
from tests.conservation.world import World

from tinkertape.tape import Ledger, open_tape, writer
from tinkertape.tape.forms import segment_files
from tinkertape.tape.writer import Durability

EXAMPLES = hypothesis.settings().max_examples // 2
STEPS = 20
IN_MEMORY = Path("/dev/shm")  # where a sync costs nothing: what one is worth is modelled
durabilities = st.sampled_from(["kill", "power"])
few_bytes = st.integers(0, 3_000)
counts = st.sampled_from([20, 7, 3, 1, 60])  # events; 60 do not fit into memory
paddings = st.sampled_from([100, 400, 0, 1_500])  # bytes


class History(RuleBasedStateMachine):
    """What may happen to programs, collector, disks and network, in any order."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="tinkertape-history-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.door = door

    @initialize(
        is_local=st.booleans(), max_bytes=st.sampled_from([None, 12_000]), durability=durabilities, padding=paddings
    )
    def begin(self, is_local: bool, max_bytes: int | None, durability: Durability, padding: int) -> None:
        self.world = World(self.root, self.door, is_local=is_local, max_bytes=max_bytes)
        self.world.start_program(durability)
        for count in (20, 20, 5):
            self.world.running.log(count, padding)
            self.world.look()

    def is_recording(self) -> bool:
        return self.world.running is not None

    # programs

    @rule(durability=durabilities, count=counts, padding=paddings)
    def a_program_records(self, durability: Durability, count: int, padding: int) -> None:
        if self.world.running is None:
            self.world.start_program(durability)
        self.world.running.log(count, padding)
        self.world.look()

    @precondition(is_recording)
    @rule(counts=st.lists(counts, min_size=1, max_size=6), padding=paddings)
    def it_goes_on(self, counts: list[int], padding: int) -> None:
        for count in counts:
            self.world.running.log(count, padding)
            self.world.look()

    @precondition(is_recording)
    @rule()
    def it_ends(self) -> None:
        self.world.end_program(kill=False)

    @precondition(is_recording)
    @rule(after=few_bytes, count=counts)
    def it_is_killed_in_the_middle_of_a_write(self, after: int, count: int) -> None:
        self.world.look()
        self.world.running.disk.dies_after = after
        self.world.running.log(count, 50)
        self.world.running.flush()
        self.world.end_program(kill=True)

    @precondition(is_recording)
    @rule(room=few_bytes)
    def its_disk_fills_up(self, room: int) -> None:
        self.world.running.disk.room = room

    @precondition(is_recording)
    @rule(refuses_sync=st.booleans())
    def its_disk_has_room_again(self, refuses_sync: bool) -> None:
        self.world.running.disk.room = None
        self.world.running.disk.refuses_sync = refuses_sync
        self.world.look()

    # the collector and its network

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=3))
    def it_is_delivered(self, faults: list[str]) -> None:
        self.door.faults = list(faults)
        if self.world.folder.exists():
            self.world.deliver()

    @rule(refusals=st.lists(st.sampled_from(["before", "after"]), max_size=2))
    def it_is_loaded(self, refusals: list[str]) -> None:
        self.world.store.refusals = list(refusals)
        self.world.load()

    @rule(after=few_bytes)
    def the_collector_is_killed_in_the_middle_of_a_write(self, after: int) -> None:
        self.world.inbox_disk.dies_after = after
        if self.world.folder.exists():
            self.world.deliver()
        self.world.end_collector(kill=True)

    @rule()
    def the_collector_starts_again(self) -> None:
        self.world.end_collector(kill=False)
        self.world.start_collector()

    @rule(room=st.one_of(st.none(), few_bytes), refuses_sync=st.booleans())
    def the_collectors_disk_changes(self, room: int | None, refuses_sync: bool) -> None:
        self.world.inbox_disk.room = room
        self.world.inbox_disk.refuses_sync = refuses_sync

    # power

    @rule(of_programs=st.booleans(), seed=st.integers(0, 2**16))
    def the_power_fails(self, of_programs: bool, seed: int) -> None:
        self.world.look()
        self.world.cut_power(random.Random(seed), of_programs=of_programs)

    # what holds

    @invariant()
    def the_ledgers_balance(self) -> None:
        world = self.world
        if world.running is not None:
            ledger = world.running.recorder.ledger()
            assert ledger.recorded == world.running.logged or world.running.disk.is_dead, ledger
        if world.folder.exists() and segment_files(world.folder):
            assert open_tape(world.folder).ledger().balanced, open_tape(world.folder).ledgers()
        self._balances(world.books())

    def _balances(self, books: Ledger) -> None:
        """What a collector was told of and never got shows: a loss of power took it from the middle of a tape, or it
        was removed for lack of room after its process had ended, elsewhere."""
        world = self.world
        removed = 0 if world.is_local else sum(map(world.dropped_for_space, world.programs))
        assert 0 <= books.recorded - books.accounted <= world.taken_by_power + removed, books

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.world.settle()
                self._everything_is_stored_once()
        finally:
            if hasattr(self, "world"):
                self.world.close()
            shutil.rmtree(self.root)

    def _everything_is_stored_once(self) -> None:
        world = self.world
        stored = {(process, event.metadata["n"]) for (process, _, _), event in world.store.events.items()}
        assert len(stored) == len(world.store.events), f"one event twice: {sorted(world.store.events)}"
        assert {(event.process, event.metadata["n"]) for event in world.events()} <= stored
        assert self.door.promised <= {(process, index) for process, index, _ in world.store.events}
        for program in world.programs:
            numbers = {number for process, number in stored if process == program.process}
            assert numbers <= set(range(program.logged)), "never logged"
            assert len(program.kept - numbers) <= world.dropped_for_space(program), "it was on the tape"
        books = world.books()
        self._balances(books)
        assert books.stored == len(stored), books
        assert books.pending <= world.taken_by_power, books  # it was told of them, and they never came
        if not world.taken_by_power and all(program.closed for program in world.programs if program.logged):
            logged = sum(program.logged for program in world.programs)
            assert books.recorded == logged, books


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr(writer, "RETRY_S", 0.001)  # how long a disk that refuses is left alone
    monkeypatch.setattr(writer, "RETRY_MAX_S", 0.001)
    made = Door()
    yield made
    made.close()


@pytest.mark.timeout(900)
def test_for_every_history_the_ledger_balances_and_what_is_pending_is_stored_once(door: Door) -> None:
    settings = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(lambda: History(door), settings=settings)
    assert door.promised is not None
