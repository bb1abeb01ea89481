"""Programs, a collector and their disks, with everything in it real but the loss of power, and what a witness knows."""

from __future__ import annotations

import random
from pathlib import Path

from tests.conservation.disk import Machine, ModelledDisk
from tests.conservation.door import Door
from tests.conservation.kept import KeptStore

from tinkertape.collector.books import Books
from tinkertape.collector.inbox import Inbox
from tinkertape.collector.loader import Loader
from tinkertape.config import new_ulid
from tinkertape.delivery import Delivery
from tinkertape.tape import Ledger, Recorder, Tape
from tinkertape.tape.removal import removed_in
from tinkertape.tape.writer import Durability

SEGMENT_MAX = 2_500  # bytes
PENDING_MAX = 40  # events in memory
WAIT_S = 10.0


class Program:
    """A process that records. `logged` events, of which `kept` were on its tape for certain at the last look;
    `closed`: its tape says how many it recorded."""

    def __init__(self, world: World, durability: Durability, max_bytes: int | None) -> None:
        self.durability = durability
        self.disk = ModelledDisk(world.programs_machine)
        self.recorder = Recorder(
            world.folder,
            world.run,
            max_pending=PENDING_MAX,
            durability=durability,
            max_bytes=max_bytes,
            segment_max=SEGMENT_MAX,
            disk=self.disk,
        )
        self.process = self.recorder.process
        self.logged = 0
        self.kept: set[int] = set()
        self.closed = False

    def log(self, count: int, padding: int) -> None:
        for _ in range(count):
            assert self.recorder.log("my.event", {"n": self.logged, "padding": "x" * padding})
            self.logged += 1

    def flush(self) -> bool:
        is_flushed = self.recorder.flush(1.0)
        assert self.recorder._upkeep.wait(WAIT_S)
        return is_flushed

    def end(self, *, kill: bool) -> None:
        """Close it, or kill it: then nothing more of it reaches the disk."""
        self.disk.is_dead = self.disk.is_dead or kill
        is_full = self.disk.room is not None and not self.disk.is_dead
        is_whole = self.recorder.close("success", 0.3 if is_full else WAIT_S)
        assert self.recorder._upkeep.wait(WAIT_S)
        self.closed = is_whole and not self.disk.is_dead and self.logged > 0


class World:
    """One run. `is_local`: the collector is on the programs' machine, reads their tapes, and loses its power with
    them."""

    def __init__(self, root: Path, door: Door, *, is_local: bool, max_bytes: int | None) -> None:
        self.run = new_ulid()
        self.tapes, self.inbox_folder = root / "tapes", root / "collector" / "inbox"
        self.folder = self.tapes / self.run
        self.is_local = is_local
        self.max_bytes = max_bytes
        self.programs_machine = Machine(self.tapes)
        self.collectors_machine = self.programs_machine if is_local else Machine(self.inbox_folder)
        if is_local:
            self.programs_machine.folders += (self.inbox_folder,)
        self.store = KeptStore()
        self.programs: list[Program] = []
        self.running: Program | None = None
        self.taken_by_power = 0  # events that were on a tape
        self.door = door
        self.door.faults, self.door.promised = [], set()
        self.inbox_disk = ModelledDisk(self.collectors_machine)
        self.start_collector()

    # what happens

    def start_program(self, durability: Durability) -> None:
        self.running = Program(self, durability, self.max_bytes)
        self.programs.append(self.running)

    def look(self) -> None:
        """What the running program flushed is there, with what earlier ones left."""
        program = self.running
        if program is not None and program.flush() and program.logged:
            program.kept = self.numbers_on_tape(program)
        self.programs_machine.remember()
        self.collectors_machine.remember()

    def end_program(self, *, kill: bool) -> None:
        if self.running is not None:
            self.running.end(kill=kill)
            if self.running.closed:
                self.running.kept = self.numbers_on_tape(self.running)
            self.running = None

    def start_collector(self) -> None:
        self.inbox_disk = ModelledDisk(self.collectors_machine)
        self.door.inbox = Inbox(self.inbox_folder, segment_max=SEGMENT_MAX, disk=self.inbox_disk)

    def end_collector(self, *, kill: bool) -> None:
        self.inbox_disk.is_dead = self.inbox_disk.is_dead or kill
        inbox, self.door.inbox = self.door.inbox, None
        if inbox is not None:
            inbox.close()

    def deliver(self) -> bool:
        """Is everything on the tapes acknowledged?"""
        delivery = Delivery(self.folder, self.door.url)
        delivery.start()
        return delivery.close(WAIT_S)

    def load(self) -> None:
        loader = self.a_loader()
        loader.start()
        loader.close()

    def a_loader(self) -> Loader:
        return Loader(self.store, self.inbox_folder, self.tapes if self.is_local else None)  # type: ignore[arg-type]

    def cut_power(self, chance: random.Random, *, of_programs: bool) -> None:
        """Of the programs' machine, or of the collector's; both where they are one."""
        if of_programs or self.is_local:
            self.end_program(kill=True)
        if not of_programs or self.is_local:
            self.end_collector(kill=True)
        machine = self.programs_machine if of_programs else self.collectors_machine
        before = [self.numbers_on_tape(program) for program in self.programs]
        machine.cut_power(chance)
        if machine is self.programs_machine:
            for program, was_there in zip(self.programs, before, strict=True):
                there = self.numbers_on_tape(program)
                self.taken_by_power += len(was_there - there)
                if program.durability == "kill":  # what was not synced may be gone
                    program.kept &= there
                    program.closed = program.closed and program.process in Tape.of(self.folder).ends

    def settle(self) -> None:
        """The faults stop: everything that is pending comes into the store."""
        self.door.faults, self.store.refusals = [], []
        if self.running is not None:
            self.running.disk.room, self.running.disk.refuses_sync = None, False
            self.running.disk.is_dead = self.running.disk.dies_after == 0 or self.running.disk.is_dead
            self.running.disk.dies_after = None
            self.end_program(kill=False)
        self.end_collector(kill=False)
        self.start_collector()
        if self.folder.exists():
            assert self.deliver(), "a collector that works was not told everything"
        self.end_collector(kill=False)
        self.load()

    # what is known

    def numbers_on_tape(self, program: Program) -> set[int]:
        numbers = [event.metadata["n"] for event in self.events() if event.process == program.process]
        assert len(numbers) == len(set(numbers)), "twice on the tape"
        assert set(numbers) <= set(range(program.logged)), "never logged"
        return set(numbers)

    def events(self) -> list[object]:
        return list(Tape.of(self.folder)) if self.folder.exists() else []

    def books(self) -> Ledger:
        return Books(self.store, self.a_loader()).ledger(self.run)  # type: ignore[arg-type]

    def dropped_for_space(self, program: Program) -> int:
        return sum(each.dropped for each in removed_in(self.folder, program.process).values())

    def close(self) -> None:
        self.end_program(kill=True)
        self.end_collector(kill=True)
