"""Whatever a collector answers, an event is accepted once, refused, or left; none is set aside that was not refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinkertape.config import new_ulid
from tinkertape.delivery import push
from tinkertape.delivery.post import Answer, Collector
from tinkertape.errors import DeliveryError
from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.refused import refused_in

COUNT = 60
URL = "http://collector.example"
Trouble = list[int]  # what the first posts meet: 0 nothing, 1 no answer, 2 an answer that was lost, else a status


class Scripted(Collector):
    """A collector without a network: it refuses bodies that hold poison, and has trouble as told."""

    def __init__(self, poison: set[int], trouble: Trouble, *, ours: bool) -> None:
        super().__init__(URL)
        self._ours, self._poison, self._trouble = ours, poison, iter(trouble)
        self.accepted: list[int] = []
        self.posts = 0

    def is_ours(self) -> bool:
        return self._ours

    def post(self, body: bytes) -> Answer:
        self.posts += 1
        events = msgspec.json.decode(body)["events"]
        numbers = [event.get("event_data", event.get("measurements"))["number"] for event in events]
        trouble = next(self._trouble, 0)
        if trouble == 1:
            raise DeliveryError("no answer")
        if trouble > 2:
            return Answer(trouble, retry_after_s=0.0)
        if self._poison.intersection(numbers):
            return Answer(422)
        self.accepted += numbers
        if trouble == 2:
            raise DeliveryError("the answer was lost")
        return Answer(200)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("laws") / new_ulid()
    recorder = Recorder(folder, folder.name, segment_max=6_000)
    for number in range(COUNT):
        recorder.record("my.event", {"number": number}, {}, None)
        recorder.flush()
    recorder.close()
    return folder


def refused_of(run: Path) -> Iterator[int]:
    for segment in open_tape(run).segments:
        yield from (refused.index for refused in refused_in(segment).values())


@given(
    poison=st.sets(st.integers(0, COUNT - 1), max_size=30),
    trouble=st.lists(st.sampled_from([0, 0, 0, 1, 2, 503, 429]), max_size=12),
    ours=st.booleans(),
)
@settings(max_examples=20)
def test_every_event_is_accepted_in_order_or_refused_or_left(
    run: Path, poison: set[int], trouble: Trouble, ours: bool
) -> None:
    for mark in (*run.glob("*.ack"), *run.glob("*.refused")):
        mark.unlink()
    collector = Scripted(poison, trouble, ours=ours)

    pushed = push([run], collector, patience_s=1e6, wait=lambda seconds: None)
    refused = set(refused_of(run))
    left = sum(each.events for each in pushed.left)

    assert refused <= poison
    assert list(dict.fromkeys(collector.accepted)) == [number for number in range(COUNT) if number not in poison]
    assert len(collector.accepted) == COUNT - len(poison) or 2 in trouble  # twice only what it gave no answer to
    assert pushed.refused == len(refused) == len(poison) - left
    ledger = open_tape(run).ledger()
    assert (ledger.recorded, ledger.rejected, ledger.balanced) == (COUNT, len(refused), True)
    assert left == 0 or not collector.accepted or max(poison) > max(collector.accepted)  # nothing came after it
