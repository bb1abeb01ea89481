"""What one program removes of another's tape, for lack of room, is counted before a loader tells the store."""

from __future__ import annotations

from pathlib import Path

from tests.conservation.door import Door
from tests.conservation.world import World

from tinkertape.tape.removal import removed_in


def test_the_books_balance_before_the_store_was_told_what_another_program_removed(tmp_path: Path) -> None:
    door = Door()
    world = World(tmp_path, door, is_local=True, max_bytes=12_000)
    try:
        for _ in range(4):
            world.start_program("kill")
            assert world.running is not None
            for _ in range(3):  # a segment each
                world.running.log(20, 100)
                world.running.flush()
            world.end_program(kill=False)
            books = world.books()

            assert books.balanced, books
            assert books.recorded == sum(program.logged for program in world.programs)
        assert books.dropped == {"space": sum(removed.dropped for removed in removed_in(world.folder).values())} != {}
    finally:
        world.close()
        door.close()
