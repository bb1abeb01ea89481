"""Hands batches to one collector, and decides what its answer means for the events in them.

Accepted: the segment's mark moves on. Not now (no answer, 5xx, 429, 3xx, an address that knows no telemetry): the same
batch again, after the collector's own wish or a growing delay with jitter. Not us (401, 402, 403, 407): nothing more is
sent, and that is said once. Not this body (400, 413, 415, 422, or `x-should-retry: false`): one of its events is at
fault, and halving finds it.

An event that is refused alone is set aside only when the collector is seen to take others: one was accepted since the
first refusal, or one that comes after it is, or it took others before and, after `REFUSED_BY_A_TAKER` in a row, a body
without events. A collector that refuses everything, since it is another version or no collector at all, so loses
nothing: after `REFUSED_IN_A_ROW`, or `REFUSED_BY_A_TAKER`, it is left alone for a while, and all of it is tried again.

No thread, no lock: whoever sends owns it.
"""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.delivery.foreign import body, foreign_line, is_for_others
from tinkertape.delivery.post import Answer, Collector
from tinkertape.delivery.segments import READ_AT_ONCE, Batch, Segment
from tinkertape.structs import made_ready
from tinkertape.tape.format import End, Header
from tinkertape.tape.refused import Refused
from tinkertape.wire import UNREADABLE

OURS_MAX_EVENTS = 500
BACKLOG_EVENTS, BACKLOG_BYTES = 5_000, 1 << 20  # a body where more waits; a collector takes 20,000 and 4 MB
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0
REFUSED_IN_A_ROW = 20  # events, each alone, and none accepted: it is not they that are at fault
REFUSED_BY_A_TAKER = 200  # where the collector took others of the segment, or of this process, before

_log = logging.getLogger("tinkertape")


class _Hunt:
    """The search for what the collector refused in one segment.

    `suspects` lines at its place hold a refused one; `sent` is how many events it had taken when the search began.
    `aside` were refused alone while it took no other; `asked` is how many they were when it was asked to take none.
    """

    def __init__(self, suspects: int, sent: int) -> None:
        self.suspects = suspects
        self.sent = sent
        self.aside: list[Refused] = []
        self.asked = 0


class Sender:
    """Sends to one collector. `sent` events were accepted, `skipped` are none that a foreign server is sent, `refused`
    were set aside. `stopped` says why nothing more is sent, `why` what went wrong last; `failed` counts since it last
    went well.
    """

    def __init__(self, collector: Collector, *, threshold: int = 100) -> None:
        self.collector = collector
        self.sent = self.skipped = self.refused = self.failed = 0
        self.stopped = self.why = ""
        self._threshold = threshold
        self._ours: bool | None = None
        self._asks_again = False
        self._hunts: dict[Path, _Hunt] = {}
        self._places: dict[Path, tuple[int, int]] = {}  # beyond the mark: offset, events accepted up to there
        self._said: set[str] = set()
        self._jitter = random.Random()  # one of our own: the program's may be seeded

    @property
    def ours(self) -> bool:
        """Is it a collector of ours? Asked once; of one that is none, after a failure again: it may have been a proxy
        that answered while nobody stood behind it. Raises `DeliveryError` when nobody answers.
        """
        if self._ours is None or self._asks_again:
            self._ours, self._asks_again = self.collector.is_ours(), False
        return self._ours

    @property
    def is_foreign(self) -> bool:
        """Did it say that it is none of ours?"""
        return self._ours is False

    @property
    def reached(self) -> bool:
        """Did the collector ever answer?"""
        return self._ours is not None

    @property
    def undecided(self) -> int:
        """Events that were refused, and for which it is not known yet whether they are at fault."""
        return sum(len(hunt.aside) for hunt in self._hunts.values())

    def place(self, segment: Path, acknowledged: int) -> int:
        """Where the next batch of a segment begins."""
        return max(acknowledged, self._places.get(segment, (0, 0))[0])

    def read(self, segment: Segment) -> Batch:
        """The next batch of a segment; one that goes no further than its `place` has nothing. Raises `DeliveryError`
        when nobody answers.
        """
        place = self.place(segment.path, segment.acknowledged.offset)
        waiting_bytes = segment.size - place
        if waiting_bytes <= 0:
            return _nothing(place)
        if not self.ours:
            return segment.read(self._batch_max(segment.path, self._threshold), place, is_for_others)
        if waiting_bytes <= READ_AT_ONCE:
            return segment.read(self._batch_max(segment.path, OURS_MAX_EVENTS), place)
        return segment.read(self._batch_max(segment.path, BACKLOG_EVENTS), place, max_bytes=BACKLOG_BYTES)

    def _batch_max(self, segment: Path, usual: int) -> int:
        hunt = self._hunts.get(segment)
        if hunt is None:
            return usual
        return 1 if hunt.aside else max(1, min(usual, hunt.suspects // 2))

    def send(self, segment: Segment, batch: Batch) -> float:
        """Send one batch; the seconds to wait before the next come back. Raises `DeliveryError` when nobody answers:
        then `back_off` says how long.
        """
        events, ends, extra = self._outgoing(segment, batch)
        if events or extra:
            answer = self.collector.post(body(events, segment.header, extra))
            if answer.ours and not self._ours:
                return self._begin_again()
            if not answer.accepted:
                return self._not_accepted(segment, batch, ends, answer)
        self.failed = 0
        self.sent += len(events)
        self.skipped += batch.skipped + len(batch.lines) - len(events)
        return self._accepted(segment, batch, len(events))

    def tell(self, header: Header, end: End) -> float | None:
        """Tell a collector of ours what a process says of itself; if it does not take it, how long to wait. Raises
        `DeliveryError` when nobody answers.
        """
        who: dict[str, Any] = msgspec.to_builtins(header)
        answer = self.collector.post(body([], who, {"tape": who, "ledger": msgspec.to_builtins(end)}))
        if answer.accepted:
            return None
        return self.back_off(f"{self.collector.address} answers {answer.reason}", answer.retry_after_s)

    def is_undecided(self, segment: Path) -> bool:
        """Was something of this segment refused alone, and is not set aside?"""
        hunt = self._hunts.get(segment)
        return hunt is not None and bool(hunt.aside)

    def can_settle(self, segment: Path) -> bool:
        """Did the collector take others since?"""
        return self.is_undecided(segment) and self.sent > self._hunts[segment].sent

    def settle(self, segment: Segment, *, last: bool = False) -> None:
        """Set aside what was refused alone at the end of a segment, if the collector took others meanwhile; or, where
        nothing may ever follow (`last`), if it took others before, and a body without events now: then it is not the
        collector that is at fault. Raises `DeliveryError`.
        """
        if self.can_settle(segment.path) or (last and self._takes_others(segment)):
            aside = self._hunts.pop(segment.path).aside
            self._remember(segment, self.place(segment.path, segment.acknowledged.offset), 0, aside)

    def _takes_others(self, segment: Segment) -> bool:
        hunt = self._hunts.get(segment.path)
        if hunt is None or hunt.asked == len(hunt.aside) or not (self.sent or segment.acknowledged.events):
            return False
        hunt.asked = len(hunt.aside)
        return self.collector.post(body([], segment.header, {})).accepted

    def back_off(self, reason: str, wish_s: float | None = None) -> float:
        """How long to wait after a failure: as the collector wishes, else longer each time; never all at once."""
        self.failed += 1
        self.why = reason
        self._asks_again = not self._ours
        _log.debug("tinkertape: delivery waits: %s", reason)
        if wish_s is not None:
            return wish_s * self._jitter.uniform(1.0, 1.1)
        grown_s = min(BACKOFF_FIRST_S * (1 << min(self.failed - 1, 10)), BACKOFF_MAX_S)
        return grown_s * self._jitter.uniform(0.5, 1.0)

    def _begin_again(self) -> float:
        """It is one of ours after all, and was not when it was asked: nothing is remembered of what it was sent, and
        all of it goes whole.
        """
        self._ours = True
        self._hunts.clear()
        self._places.clear()
        return 0.0

    def _outgoing(self, segment: Segment, batch: Batch) -> tuple[list[bytes], list[int], dict[str, Any]]:
        """The events as this collector takes them, where the line of each ends, and what only one of ours is told."""
        if self.ours:
            extra: dict[str, Any] = {"tape": segment.header} if segment.header else {}
            return batch.lines, batch.offsets, {**extra, "ledger": batch.ledger} if batch.ledger else extra
        pairs = zip(map(foreign_line, batch.lines), batch.offsets, strict=True)
        chosen = [(line, end) for line, end in pairs if line is not None]
        return [line for line, _ in chosen], [end for _, end in chosen], {}

    def _accepted(self, segment: Segment, batch: Batch, events: int) -> float:
        hunt = self._hunts.get(segment.path)
        if hunt is None:
            return self._remember(segment, batch.next_offset, events, [])
        if self.sent == hunt.sent:  # nothing but lines that are not for this collector
            return self._pass_over(segment, batch.next_offset, events)
        hunt.suspects -= len(batch.lines)
        if hunt.aside or hunt.suspects <= 0:
            self._hunts.pop(segment.path)
        return self._remember(segment, batch.next_offset, events, hunt.aside)

    def _pass_over(self, segment: Segment, offset: int, events: int) -> float:
        """Go on behind events for which nothing may be remembered yet."""
        self._places[segment.path] = (offset, self._places.get(segment.path, (0, 0))[1] + events)
        return 0.0

    def _remember(self, segment: Segment, offset: int, events: int, refused: list[Refused]) -> float:
        """Move the mark on. A disk that refuses it stops nothing: what is sent once is not sent again by this process,
        and the mark is written with the next batch.
        """
        before = self._places.pop(segment.path, (0, 0))[1]
        try:
            segment.acknowledge(offset, before + events, refused)
        except OSError as error:
            self._places[segment.path] = (offset, before + events)
            if refused:
                self._hunts[segment.path] = hunt = _Hunt(0, -1)
                hunt.aside = refused
            self._say(f"cannot remember beside the tape what was delivered: {error.strerror}; it goes on")
            return 0.0
        self.refused += len(refused)
        return 0.0

    def _not_accepted(self, segment: Segment, batch: Batch, ends: list[int], answer: Answer) -> float:
        if answer.refuses_us:
            self.stopped = self.why = f"{self.collector.address} refused the key ({answer.reason})"
            self._say(f"{self.stopped}; the tape keeps everything, delivery stops")
            return BACKOFF_MAX_S
        if answer.refuses_content:
            return self._hunt(segment, batch, ends, answer)
        if 300 <= answer.status < 500 and answer.status not in (408, 409, 425, 429):
            self._say(f"{self.collector.address} answers {answer.reason}: is this the address of a collector?")
        return self.back_off(f"{self.collector.address} answers {answer.reason}", answer.retry_after_s)

    def _hunt(self, segment: Segment, batch: Batch, ends: list[int], answer: Answer) -> float:
        hunt = self._hunts.setdefault(segment.path, _Hunt(len(batch.lines), self.sent))
        hunt.suspects, self.failed = len(batch.lines), 0  # it is there, and answers
        if len(ends) > 1:
            return 0.0  # a smaller one next
        culprits = [_refused(batch, end, self.collector.address, answer) for end in ends]
        if self.sent > hunt.sent:
            self._hunts.pop(segment.path)
            return self._remember(segment, batch.next_offset, 0, [*hunt.aside, *culprits])
        hunt.aside += culprits
        self._pass_over(segment, batch.next_offset, 0)
        took = self.sent or segment.acknowledged.events
        if len(hunt.aside) >= (REFUSED_BY_A_TAKER if took else REFUSED_IN_A_ROW):
            return self._many_refused(segment, hunt, answer)
        self.why = f"{self.collector.address} refused it: {answer.reason}"
        return 0.0

    def _many_refused(self, segment: Segment, hunt: _Hunt, answer: Answer) -> float:
        """So many in a row: they are at fault if it took others before, and a body without events now."""
        if self._takes_others(segment):
            self._hunts.pop(segment.path)
            return self._remember(segment, self.place(segment.path, 0), 0, hunt.aside)
        self._hunts.pop(segment.path)
        self._places.pop(segment.path, None)
        self._say(f"{self.collector.address} refuses every event ({answer.reason}); the tape keeps them")
        return max(self.back_off(f"{self.collector.address} refuses every event: {answer.reason}"), BACKOFF_MAX_S)

    def _say(self, line: str) -> None:
        """In the program's log, once."""
        if line not in self._said:
            self._said.add(line)
            _log.warning("tinkertape: %s", line)


def _nothing(place: int) -> Batch:
    return Batch([], [], place)


class _Name(msgspec.Struct):
    event: str = ""
    event_name: str = ""
    event_session_index: int = -1


made_ready(_Name)


def _refused(batch: Batch, end: int, collector: str, answer: Answer) -> Refused:
    line = batch.lines[batch.offsets.index(end)]
    try:
        known = msgspec.json.decode(line, type=_Name)
    except UNREADABLE:
        known = _Name()
    return Refused(
        end=end,
        collector=collector,
        index=known.event_session_index,
        event_name=known.event_name or known.event,
        status=answer.status,
        said=answer.said,
    )
