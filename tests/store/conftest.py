"""One store for all tests of this folder: the engine takes one folder a process. Each test has runs of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tinkertape.config import new_ulid
from tinkertape.context import Event
from tinkertape.store import Store

BEGAN_NS = 1_795_000_000_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"chdb://{tmp_path_factory.mktemp('held') / 'store'}") as opened:
        yield opened


@pytest.fixture
def run() -> str:
    return new_ulid()


def events_of(run: str, count: int, *, process: str = "0123456789abcdef", first: int = 0) -> list[Event]:
    """Events of one process, a millisecond apart."""
    return [
        Event(
            name="tinker.request.stop",
            measurements={"duration": index},
            metadata={"request_id": f"r{index}", "operation": "forward_backward"},
            time_ns=BEGAN_NS + index * 1_000_000,
            monotonic_ns=index * 1_000_000,
            run=run,
            process=process,
            index=index,
        )
        for index in range(first, first + count)
    ]
