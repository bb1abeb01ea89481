"""Carries what is on tape to a collector, at least once, in a thread of its own.

It reads the tape, never memory, and remembers beside it how far the collector acknowledged: a restart goes on where it
stopped. First the files of its own run, its forked children's among them, then what other runs of this machine left
behind. A dead collector costs a connection attempt now and then, and nothing else.

Threads  "tinkertape-delivery" does all of it; `drain` and `close` wait in the caller's, bounded.
Locks    none: the thread alone touches the segments; four events carry signals.
Fork     a child has no delivery thread; its parent carries what it records.
Exit     `close` waits `timeout_s` at most for the acknowledgement of what is on tape; the tape keeps the rest.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tinkertape.delivery.post import Collector
from tinkertape.delivery.removals import Removals
from tinkertape.delivery.segments import Batch, Segment
from tinkertape.delivery.sender import BACKOFF_MAX_S, OURS_MAX_EVENTS, Sender
from tinkertape.errors import DeliveryError
from tinkertape.guard import guarded
from tinkertape.tape.forms import segment_files
from tinkertape.tape.removal import process_of

OURS_INTERVAL_S = 1.0
LOOK_AGAIN_S = 0.2  # how often it looks whether the tape grew
HELD_AGAIN_S = 0.02  # and whether a segment was let go of, while somebody waits

_log = logging.getLogger("tinkertape")


class Delivery:
    """Delivers the tapes of `run_folder`, then the other runs beside it, to the collector at `url`.

    To a collector of ours whole lines go out, 500 events, 256 kB or 1 s at a time, and 1 MB where more than that waits;
    to a foreign server the specification's events, `flush_threshold` events or `flush_interval_s` seconds at a time.
    Raises `DeliveryError` for an address that cannot be used; later failures are retried for ever, with a growing
    delay.
    """

    def __init__(
        self,
        run_folder: Path,
        url: str,
        *,
        key: str | None = None,
        flush_threshold: int = 100,
        flush_interval_s: float = 60.0,
    ) -> None:
        self._run_folder = run_folder
        self._collector = Collector(url, key=key)
        self._sender = Sender(self._collector, threshold=flush_threshold)
        self._threshold, self._interval_s = flush_threshold, flush_interval_s
        self._removals = Removals(run_folder)
        self._held: dict[Path, Segment] = {}
        self._finished: set[Path] = set()
        self._elsewhere = False  # is one of our segments compressed, or sent by another process, just now?
        self._began_s = self._last_sent_s = time.monotonic()
        self._others = _left_beside(run_folder)
        self._unsettled: list[Path] = []  # of those: at their ends something was refused, nobody knows yet whose fault
        self._wake, self._draining, self._idle, self._closing = (threading.Event() for _ in range(4))
        self._thread = threading.Thread(target=self._run, name="tinkertape-delivery", daemon=True)
        if self._collector.withheld_key:
            _log.warning("tinkertape: no key is sent to %s over plain http; use https", url)

    @property
    def skipped(self) -> int:
        """How many events are none that this collector is sent."""
        return self._sender.skipped

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything on tape now is acknowledged.

        False after `timeout_s`, or at once while the collector does not answer.
        """
        if not self._thread.is_alive():
            return False
        self._idle.clear()
        self._draining.set()
        self._wake.set()
        deadline_s = time.monotonic() + timeout_s
        while not self._sender.failed and not self._sender.stopped and time.monotonic() < deadline_s:
            if self._idle.wait(0.02):
                return not self._sender.undecided
        return False

    def close(self, timeout_s: float = 2.0) -> bool:
        """Deliver what is on tape for `timeout_s` at most, then stop.

        True if all of it was acknowledged; the tape keeps the rest.
        """
        deadline_s = time.monotonic() + timeout_s
        delivered = self.drain(timeout_s)
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return delivered

    def _run(self) -> None:
        while not self._closing.is_set():
            delay_s = LOOK_AGAIN_S
            with guarded("delivery"):
                delay_s = self._turn()
            if delay_s > 0:
                self._release()  # while it waits others may compress a segment, or make room
            self._wake.wait(delay_s)
        self._release()
        self._collector.close()

    def _release(self) -> None:
        for segment in self._held.values():
            segment.release()
        self._held.clear()

    def _turn(self) -> float:
        """Send one batch if one is due; the seconds until the next look come back."""
        self._wake.clear()
        draining = self._draining.is_set()
        if self._sender.stopped:
            return BACKOFF_MAX_S
        try:
            due = self._next_batch(draining)
            if due is not None:
                return self._send(*due)
            delay_s = self._tell_removals()
            if delay_s is not None:
                return delay_s
        except DeliveryError as error:
            return self._sender.back_off(str(error))
        if draining and self._elsewhere:
            return HELD_AGAIN_S
        if draining:
            self._draining.clear()
            self._idle.set()
        return LOOK_AGAIN_S

    def _tell_removals(self) -> float | None:
        """A collector of ours learns what of our run was removed for lack of room, whatever it was told before."""
        for said in self._removals.untold():
            delay_s = self._sender.tell(said.header, said.end) if self._sender.ours else None
            if delay_s is not None:
                return delay_s
        return None

    def _next_batch(self, draining: bool) -> tuple[Segment, Batch] | None:
        """The first batch that is large or old enough to go, or any while draining.

        Of other runs any, when our own has none at all, or had its turn already.
        """
        waiting = False
        for segment in self._own_segments():
            batch = self._read(segment)
            if batch is not None:
                if draining or self._is_due(batch):
                    return segment, batch
                waiting = time.monotonic() - self._began_s < OURS_INTERVAL_S  # our own come first, not alone
        return None if waiting or draining else self._left_behind()

    def _left_behind(self) -> tuple[Segment, Batch] | None:
        self._settle_others()
        while self._others:
            path = self._others[-1]
            segment = self._hold(path)
            batch = self._read(segment) if segment is not None else None
            if segment is not None and batch is not None:
                return segment, batch
            self._others.pop()
            if self._sender.is_undecided(path):
                self._unsettled.append(path)
            else:
                self._finish(path)
        return None

    def _settle_others(self) -> None:
        """Set aside what was refused at the end of another run's segment, once the collector took something of ours."""
        for path in [path for path in self._unsettled if self._sender.can_settle(path)]:
            segment = self._hold(path)
            if segment is not None:
                self._sender.settle(segment)
                self._unsettled.remove(path)
                self._finish(path)

    def _read(self, segment: Segment) -> Batch | None:
        batch = self._sender.read(segment)
        if batch.next_offset > self._sender.place(segment.path, segment.acknowledged.offset):
            return batch
        self._sender.settle(segment, last=self._draining.is_set())  # what is there is not complete yet, if anything is
        return None

    def _send(self, segment: Segment, batch: Batch) -> float:
        if batch.lines and segment.path.parent == self._run_folder:
            self._last_sent_s = time.monotonic()
        delay_s = self._sender.send(segment, batch)
        if batch.ledger is not None and segment.acknowledged.offset >= batch.next_offset:
            self._finish(segment.path)
        return delay_s

    def _is_due(self, batch: Batch) -> bool:
        if batch.ledger is not None or batch.is_large:
            return True
        usual = (self._threshold, self._interval_s)
        limit, interval_s = (OURS_MAX_EVENTS, OURS_INTERVAL_S) if self._sender.ours else usual
        return len(batch.lines) >= limit or time.monotonic() - self._last_sent_s >= interval_s

    def _own_segments(self) -> Iterator[Segment]:
        """In order; what follows one that another process holds waits for it."""
        self._elsewhere = False
        waiting: set[str] = set()
        for path in segment_files(self._run_folder) if self._run_folder.exists() else ():
            if path in self._finished or process_of(path) in waiting:
                continue
            segment = self._hold(path)
            if segment is not None:
                yield segment
            else:
                waiting.add(process_of(path))
                self._elsewhere = True

    def _hold(self, path: Path) -> Segment | None:
        """Take a segment for this process; None while another process delivers it, or when it is done."""
        if path in self._finished:
            return None
        segment = self._held.get(path)
        if segment is None:
            segment = Segment(path, self._collector.address)
            if not segment.acquire():
                return None
            self._held[path] = segment
        return segment

    def _finish(self, path: Path) -> None:
        self._finished.add(path)
        segment = self._held.pop(path, None)
        if segment is not None:
            segment.release()


def _left_beside(run_folder: Path) -> list[Path]:
    """The segments of the other runs."""
    folders = run_folder.parent.iterdir() if run_folder.parent.exists() else ()
    return [
        path
        for folder in sorted(folders)
        if folder != run_folder and folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
        for path in segment_files(folder)
    ]
